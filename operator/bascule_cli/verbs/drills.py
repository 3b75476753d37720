"""`bascule drill …`: what recovery drills measured."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from bascule_api import dr_drills
from bascule_cli import terminal
from bascule_cli.cluster import Cluster
from bascule_cli.errors import CliError, ExitCode
from bascule_cli.options import complete_kind, verb
from bascule_cli.resources import Item, find
from bascule_cli.verbs.drill_reports import report
from bascule_cli.views import documents, drills

KIND = dr_drills.KIND
_PAGE = "500"
app = typer.Typer(help="Look at recovery drills.", no_args_is_help=True, rich_markup_mode="markdown")


class Format(StrEnum):
    """Formats of `drill history -o`."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    YAML = "yaml"


def register(parent: typer.Typer) -> None:
    verb(app, "history")(history)
    verb(app, "report")(report)
    parent.add_typer(app, name="drill")


def history(
    cluster: Cluster,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="Name of the DRDrill; default: all of them.", autocompletion=complete_kind(KIND)
        ),
    ] = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    output: Annotated[Format, typer.Option("--output", "-o", help="Another format.")] = Format.TABLE,
) -> None:
    """Show what the last twenty drills measured, newest first: verdict, recovery time and age of the recovered data.

    GROSS is the recovery time with the time that people took to decide. `-o csv` has these columns: namespace, name,
    number, finished, verdict, reason, rto_seconds, rto_gross_seconds, rpo_seconds, recovery_point, report. Times are
    UTC (RFC 3339), lengths whole seconds; what is not known is empty.

    **Examples:** `bascule drill history shop-database` · `bascule drill history -A -o csv > drills.csv`
    """
    found = drills.held(_items(cluster, name, everywhere=all_namespaces))
    match output:
        case Format.CSV:
            typer.echo(drills.as_csv(found), nl=False)
        case Format.JSON:
            typer.echo(documents.as_json(drills.document(found)))
        case Format.YAML:
            typer.echo(documents.as_yaml(drills.document(found)))
        case Format.TABLE:
            _print(found, name, namespaces=all_namespaces)


def _items(cluster: Cluster, name: str | None, *, everywhere: bool) -> list[Item]:
    if name is not None:
        if everywhere:
            raise CliError(ExitCode.USAGE, "a name is looked up in one namespace: leave out -A, or the name")
        return [find(cluster, name if "/" in name else f"{KIND.short_names[0]}/{name}", (KIND,))]
    items: list[Item] = []
    query = {"limit": _PAGE}
    while True:
        page = cluster.list(KIND, "" if everywhere else cluster.namespace, query)
        items += [Item.of(KIND, body) for body in page["items"]]
        if not (more := page["metadata"].get("continue")):
            return sorted(items, key=lambda item: (item.namespace, item.name))
        query = {"limit": _PAGE, "continue": more}


def _print(found: list[drills.Held], name: str | None, *, namespaces: bool) -> None:
    console = terminal.console()
    width = console.width if console.is_terminal else None
    lines = drills.table(
        found, datetime.now(UTC), named=name is not None, namespaces=namespaces, width=width
    )  # fmt: skip
    for line in lines:
        console.print(line)
    if not lines:
        terminal.note(f"{name} has not been rehearsed yet" if name else "no drill was held yet")
