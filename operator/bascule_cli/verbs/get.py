"""`bascule get`: the tree of resources, runs and steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.live import Live
from rich.text import Text

from bascule_api.base import Kind
from bascule_cli import kinds, terminal
from bascule_cli.cluster import Cluster
from bascule_cli.errors import CliError, ExitCode, ForbiddenError, NotFoundError
from bascule_cli.options import Output, complete_names, verb
from bascule_cli.resources import Item, Reference, cleaned, find
from bascule_cli.views import documents, trees
from bascule_cli.views.marks import ASCII, UNICODE
from bascule_cli.watching import Mirror, Scope

_PAGE = "500"


def register(app: typer.Typer) -> None:
    verb(app, "get")(get)


def get(
    cluster: Cluster,
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KIND] [NAME…]",
            help="Nothing for all; a kind (`ib`); names (`web`, `ib/web`); or a kind and names (`ib web`).",
            autocompletion=complete_names,
        ),
    ] = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on and show changes.")] = False,
    steps: Annotated[bool, typer.Option("--steps", "-s", help="The steps of runs that are over as well.")] = False,
    output: Annotated[Output | None, typer.Option("--output", "-o", help="Another format.")] = None,
) -> None:
    """Show resources with their runs and the runs' steps, as a tree.

    What goes on or went wrong is shown step by step; what is done takes one line, unless it is named or `--steps` is
    given. With `--watch` a terminal redraws the tree, and a pipe gets a line per change, until Ctrl-C or until all that
    were named are gone: one watch of the cluster, whatever the number of resources.

    **Examples:** `bascule get` · `bascule get ib -A -o wide` · `bascule get web -w` · `bascule get ib/web -o yaml`
    """
    scope, items = _asked(cluster, what or [], all_namespaces)
    look = trees.Look(
        now=datetime.now(UTC),
        glyphs=UNICODE if terminal.unicode_fits() else ASCII,
        namespaces=all_namespaces,
        steps=steps or bool(scope.names),
        wide=output is Output.WIDE,
    )
    if watch:
        _follow(cluster, scope, look, output)
    elif output in (Output.JSON, Output.YAML):
        _print_documents(items, output, single=bool(scope.names) and len(items) == 1)
    elif not items:
        where = "any namespace" if all_namespaces else f"the namespace {cluster.namespace}"
        terminal.note(f"no resources in {where}")
    else:
        _print_tree(items, look)


def _asked(cluster: Cluster, words: list[str], everywhere: bool) -> tuple[Scope, list[Item]]:
    """What is meant, and the resources as they are now."""
    kind = kinds.named(words[0]) if words and "/" not in words[0] else None
    names = words[1:] if kind else words
    namespace = "" if everywhere else cluster.namespace
    if not names:
        chosen = (kind,) if kind else kinds.RUN_KINDS
        return Scope(chosen, namespace), _listed(cluster, chosen, namespace)
    if everywhere:
        raise CliError(ExitCode.USAGE, "a name is looked up in one namespace: leave out -A, or the name")
    prefix = f"{kinds.short(kind)}/" if kind else ""
    items = [find(cluster, prefix + name if "/" not in name else name) for name in names]
    wanted = frozenset((item.kind.kind, Reference.parse(item.name).name) for item in items)
    return Scope(tuple(dict.fromkeys(item.kind for item in items)), namespace, wanted), items


def _listed(cluster: Cluster, chosen: tuple[Kind, ...], namespace: str) -> list[Item]:
    """All resources of the kinds. A kind that is not installed, or may not be seen, is no error beside another."""
    items: list[Item] = []
    refused: list[CliError] = []
    for kind in chosen:
        try:
            items += _pages(cluster, kind, namespace)
        except (NotFoundError, ForbiddenError) as error:
            refused.append(error)
    if len(refused) == len(chosen):
        raise refused[0]
    return items


def _pages(cluster: Cluster, kind: Kind, namespace: str) -> Iterable[Item]:
    query = {"limit": _PAGE}
    while True:
        page = cluster.list(kind, namespace, query)
        yield from (Item.of(kind, body) for body in page["items"])
        if not (more := page["metadata"].get("continue")):
            return
        query = {"limit": _PAGE, "continue": more}


def _print_documents(items: list[Item], output: Output, *, single: bool) -> None:
    bodies = [cleaned(item.body) for item in items]
    document = bodies[0] if single else documents.as_list(bodies)
    typer.echo(documents.as_json(document) if output is Output.JSON else documents.as_yaml(document))


def _print_tree(items: list[Item], look: trees.Look) -> None:
    console = terminal.console()
    width = console.width if console.is_terminal and not look.wide else None
    for line in trees.tree(_sorted(items), replace(look, width=width)):
        console.print(line)


def _sorted(items: Iterable[Item]) -> list[Item]:
    return sorted(items, key=lambda item: (item.namespace, item.kind.kind, item.name))


def _follow(cluster: Cluster, scope: Scope, look: trees.Look, output: Output | None) -> None:
    """Show changes until the user has seen enough."""
    console = terminal.console()
    mirror = Mirror(cluster, scope)
    if output in (Output.JSON, Output.YAML):
        for change in mirror.changes():
            if change.gone:
                continue
            body = cleaned(change.item.body)
            as_json = output is Output.JSON
            typer.echo(documents.as_json(body, indent=None) if as_json else f"---\n{documents.as_yaml(body)}")
        return
    if not console.is_terminal:
        _lines(mirror, look)
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for changes in mirror.views(seconds=1.0):
            now = replace(look, now=datetime.now(UTC), width=console.width)
            there = _sorted(change.item for change in changes if not change.gone)
            gone = [change.item for change in changes if change.gone]
            live.update(_fitting(trees.tree(there, now, gone), console.height), refresh=True)


def _fitting(lines: list[Text], height: int) -> Text:
    """As many lines as the terminal has, and how many there are besides."""
    if len(lines) >= height:
        kept = lines[: max(1, height - 2)]
        lines = [*kept, Text(f"… {len(lines) - len(kept)} more lines: name a resource, or enlarge the terminal", "dim")]
    return Text("\n", no_wrap=True, overflow="crop").join(lines)


def _lines(mirror: Mirror, look: trees.Look) -> None:
    """A line per change: for logs and scripts."""
    said: dict[str, str] = {}
    for change in mirror.changes():
        now = replace(look, now=datetime.now(UTC))
        text = f"{change.item.namespace}/{change.item.reference}  gone" if change.gone else trees.line(change.item, now)
        if said.get(change.item.meta.uid) != text:
            said[change.item.meta.uid] = text
            typer.echo(text)
