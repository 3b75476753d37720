"""`bascule history`: the last runs of a resource."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from bascule_cli import terminal
from bascule_cli.cluster import Cluster
from bascule_cli.options import Document, NameArgument, verb
from bascule_cli.resources import find
from bascule_cli.views import documents, histories


def register(app: typer.Typer) -> None:
    verb(app, "history")(history)


def history(
    cluster: Cluster,
    name: NameArgument,
    output: Annotated[Document | None, typer.Option("--output", "-o", help="Another format.")] = None,
) -> None:
    """Show the last runs of a resource: why each started, how long it took, and what came of it.

    **Example:** `bascule history web`
    """
    item = find(cluster, name)
    if output is None:
        console = terminal.console()
        lines = histories.table(item, datetime.now(UTC), console.width if console.is_terminal else None)
        for line in lines:
            console.print(line)
        if not lines:
            terminal.note(f"{item.reference} has not run yet")
        return
    past = [run.to_wire() for run in item.status.history]
    typer.echo(documents.as_json(past) if output is Document.JSON else documents.as_yaml(past))
