"""`bascule campaign …`: the picture of a PatchCampaign, and its plan."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bascule_api import patch_campaigns
from bascule_api.conditions import CompensationState, Phase
from bascule_api.patch_campaign_status import PatchCampaignStatus
from bascule_cli import files, kept_logs, kinds, terminal
from bascule_cli.cluster import Cluster
from bascule_cli.errors import CliError, ExitCode, NotFoundError
from bascule_cli.options import Document, complete_kind, done, speech, verb
from bascule_cli.resources import Item, find
from bascule_cli.views import campaigns, documents, drawings, pages, plans
from bascule_cli.views.pictures import Picture, picture
from bascule_cli.watching import Mirror, Scope

KIND = patch_campaigns.KIND
app = typer.Typer(help="Look at patch campaigns.", no_args_is_help=True, rich_markup_mode="markdown")

CampaignArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Name of the PatchCampaign.", autocompletion=complete_kind(KIND)),
]
OutputOption = Annotated[Document | None, typer.Option("--output", "-o", help="Another format.")]


def register(parent: typer.Typer) -> None:
    verb(app, "show")(show)
    verb(app, "plan")(plan)
    parent.add_typer(app, name="campaign")


def show(
    cluster: Cluster,
    name: CampaignArgument,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until the run is over.")] = False,
    timeout: Annotated[
        int | None,
        typer.Option(
            "--timeout", min=1, help="With `--watch`: seconds at most; then exit code 5, and the run goes on."
        ),
    ] = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write the picture as SVG as well.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the picture as an HTML page as well.")] = None,
    output: OutputOption = None,
) -> None:
    """Draw waves and targets: what is patched, what goes on where, what failed and why, and what it waits for.

    Without `--watch`: as it is now, exit code 0. With it a terminal redraws the picture and a pipe gets a line per
    change until the run is over. Exit code 0 then: it succeeded; 1: it failed, was cancelled or rejected, was deleted,
    or something could not be taken back; 5: none of that within `--timeout` seconds. The run goes on.

    `--svg` and `--html` write the last picture: no script in them, nothing fetched, for mails, tickets and archives.

    **Examples:** `bascule campaign show web-nodes -w --timeout 3600` ·
    `bascule campaign show web-nodes --html campaign.html`
    """
    if timeout is not None and not watch:
        raise CliError(ExitCode.USAGE, "--timeout is for --watch")
    item = find(cluster, name, (KIND,))
    gone, late = False, None
    if watch:
        try:
            item, gone = _follow(cluster, item, output, timeout)
        except CliError as error:
            if error.code is not ExitCode.TIMED_OUT:
                raise
            # The picture of how far it came is worth having.
            item, late = find(cluster, name, (KIND,)), error
    elif output is not None:
        _print_document(item, output)
    made = _picture(cluster, item)
    if output is None and not (watch and terminal.console().is_terminal):
        _print(made)
    _write(svg, drawings.drawing(made))
    _write(html, pages.page(made))
    if late is not None:
        raise late
    if gone:
        raise CliError(ExitCode.FAILED, f"{item.reference} was deleted meanwhile")
    if watch and not succeeded(item):
        done(ExitCode.FAILED)


def plan(
    cluster: Cluster,
    name: CampaignArgument,
    repository: Annotated[
        str,
        typer.Option("--repository", envvar="BASCULE_ARTIFACTS", help="Where the plan is kept, if it was copied."),
    ] = "",
    output: OutputOption = None,
) -> None:
    """Print which target is patched in which wave: what an Approval approves.

    The whole plan is read from where the Tenant's `spec.artifacts` keeps it, with your own registry login
    (`docker login`). Where nothing is kept, or it can't be read, the status has the first targets of each wave; stderr
    says so.

    **Examples:** `bascule campaign plan web-nodes` · `bascule campaign plan web-nodes -o json`
    """
    item = find(cluster, name, (KIND,))
    found = _plan(item, repository)
    if output is not None:
        document = plans.document(found)
        typer.echo(documents.as_json(document) if output is Document.JSON else documents.as_yaml(document))
        return
    console = terminal.console()
    for line in plans.lines(found, console.width if console.is_terminal else None):
        console.print(line)


def over(item: Item) -> bool:
    """Whether nothing more happens by itself: the run of what was asked is over, or none could start."""
    if not item.seen or item.deleting:
        return False
    if item.status.phase is Phase.REJECTED:
        return True
    ended = item.status.run is not None and item.status.run.outcome is not None
    return ended and item.status.phase is not None and item.status.phase.terminal


def succeeded(item: Item) -> bool:
    left = item.status.compensation
    return item.status.phase is Phase.SUCCEEDED and (left is None or left.state is not CompensationState.FAILED)


def _picture(cluster: Cluster, item: Item) -> Picture:
    return picture(item, speech(cluster), datetime.now(UTC))


def _canvas(console: Console) -> campaigns.Canvas:
    width = console.width if console.is_terminal else None
    return campaigns.Canvas(width, ascii_only=not terminal.unicode_fits())


def _print(made: Picture) -> None:
    console = terminal.console()
    for line in campaigns.lines(made, _canvas(console)):
        console.print(line)


def _print_document(item: Item, output: Document) -> None:
    status = item.body.get("status") or {}
    kept = ("phase", "run", "plan", "targets", "waves", "waitingFor", "failure", "compensation")
    told = {"name": item.name, "namespace": item.namespace} | {key: status[key] for key in kept if key in status}
    typer.echo(documents.as_json(told) if output is Document.JSON else documents.as_yaml(told))


def _follow(cluster: Cluster, item: Item, output: Document | None, seconds: int | None) -> tuple[Item, bool]:
    """Show changes until the run is over. Returns the campaign as it was last, and whether it is gone.

    Raises CliError TIMED_OUT.
    """
    scope = Scope((KIND,), item.namespace, frozenset({(KIND.kind, item.name)}))
    console = terminal.console()
    if output is not None or not console.is_terminal:
        return _lines(cluster, Mirror(cluster, scope, seconds), item, output)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for changes in Mirror(cluster, scope, seconds).views(seconds=1.0):
            for change in changes:
                item = change.item
                drawn = campaigns.lines(_picture(cluster, item), _canvas(console))
                if over(item) or change.gone:
                    # All of it, however long: this is what stays on the screen.
                    live.vertical_overflow = "visible"
                    live.update(Text("\n").join(drawn), refresh=True)
                    return item, change.gone
                live.update(_fitting(drawn, console.height), refresh=True)
    return item, True


def _fitting(drawn: list[Text], height: int) -> Text:
    """As many lines as the terminal has."""
    if len(drawn) >= height:
        kept = drawn[: max(1, height - 2)]
        drawn = [*kept, Text(f"… {len(drawn) - len(kept)} more lines: enlarge the terminal", "dim")]
    return Text("\n", no_wrap=True, overflow="crop").join(drawn)


def _lines(cluster: Cluster, mirror: Mirror, item: Item, output: Document | None) -> tuple[Item, bool]:
    """A line, or a document, per change: for logs and scripts."""
    said = ""
    for change in mirror.changes():
        item = change.item
        if output is not None:
            _print_document(item, output)
        elif (text := campaigns.line(_picture(cluster, item))) != said:
            said = text
            typer.echo(text)
        if over(item) or change.gone:
            return item, change.gone
    return item, True


def _write(path: Path | None, content: str) -> None:
    if path is not None:
        files.write(path, content)


def _plan(item: Item, repository: str) -> plans.PlanView:
    """The whole plan where it is kept, else what the status has of it. Raises NotFoundError before there is one."""
    try:
        status = PatchCampaignStatus.model_validate(item.body.get("status") or {})
    except ValidationError:
        raise CliError(ExitCode.FAILED, item.unreadable or "the status cannot be read") from None
    if status.plan is None:
        raise NotFoundError(
            f"{kinds.short(KIND)}/{item.name} has no plan yet: it is made at the start of a run",
            "`spec.mode: Plan` makes the plan and touches nothing",
        )
    shown = plans.of_status(status)
    if shown.whole:
        return shown if not status.plan.artifact else _whole(status.plan.artifact, repository, shown)
    if not status.plan.artifact:
        terminal.note("the first targets of each wave: the Tenant has no spec.artifacts where the whole plan could be")
        return shown
    return _whole(status.plan.artifact, repository, shown)


def _whole(artifact: str, repository: str, shown: plans.PlanView) -> plans.PlanView:
    kept, _, digest = artifact.rpartition("@")
    try:
        return plans.of_artifact(json.loads(kept_logs.fetch(repository or kept, digest, kept_logs.PLAN_TYPE)))
    except CliError as error:
        terminal.note(f"the first targets of each wave; the whole plan, {artifact}, could not be read: {error.message}")
    except (ValueError, KeyError, TypeError, AttributeError):
        terminal.note(f"the first targets of each wave; {artifact} is no plan")
    return shown
