"""`bascule explain`: why a resource waits or fails, since when, and what to do."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from bascule_cli import kinds, terminal
from bascule_cli.cluster import Cluster
from bascule_cli.errors import CliError, ExitCode
from bascule_cli.explanations import Verdict
from bascule_cli.explanations import explain as explained
from bascule_cli.options import Document, NameArgument, done, speech, verb
from bascule_cli.resources import Item, find
from bascule_cli.rights import Right
from bascule_cli.views import documents, explanations
from bascule_cli.views.explanations import News

_EVENTS = 6


def register(app: typer.Typer) -> None:
    verb(app, "explain")(explain)


def explain(
    cluster: Cluster,
    name: NameArgument,
    output: Annotated[Document | None, typer.Option("--output", "-o", help="Another format.")] = None,
) -> None:
    """Say why a resource waits or fails, since when, and what to do: with the very command.

    Exit code 0: it is done, or goes on by itself or when what it waits for comes. 1: it does not go on without you.
    Tenants can be explained as well: `bascule explain tenant/acme`.

    **Examples:** `bascule explain web` · `bascule explain ib/web -o json`
    """
    item, now = find(cluster, name, kinds.RUN_KINDS + kinds.CONDITION_KINDS), datetime.now(UTC)
    explanation = explained(item, speech(cluster), now)
    news = _news(cluster, item)
    if output is None:
        console = terminal.console()
        width = console.width if console.is_terminal else None
        for line in explanations.paragraphs(item, explanation, news, now, width):
            console.print(line)
    else:
        document = explanations.document(item, explanation, news)
        typer.echo(documents.as_json(document) if output is Document.JSON else documents.as_yaml(document))
    if explanation.verdict is Verdict.STALLED:
        done(ExitCode.FAILED)


def _news(cluster: Cluster, item: Item) -> list[News]:
    """The last Events of the resource; none where the user may not read them, or nobody answers in time."""
    namespace = item.namespace or "default"
    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    right = Right("list", "events", namespace, group="events.k8s.io")
    query = {"fieldSelector": f"regarding.uid={item.meta.uid}", "limit": "100"}
    found: list[dict[str, Any]] = []
    with suppress(CliError):
        found = cluster.request("GET", path, right, query=query)["items"]
    news = [_one(event) for event in found if event.get("eventTime")]
    return sorted(news, key=lambda item: item.when)[-_EVENTS:]


def _one(event: dict[str, Any]) -> News:
    series = event.get("series") or {}
    return News(
        when=datetime.fromisoformat(series.get("lastObservedTime") or event["eventTime"]),
        reason=str(event.get("reason") or ""),
        note=str(event.get("note") or ""),
        warning=event.get("type") == "Warning",
        count=int(series.get("count") or 1),
    )
