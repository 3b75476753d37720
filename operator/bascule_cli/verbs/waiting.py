"""Waiting for a run to be over, for `--wait`."""

from __future__ import annotations

from typing import Annotated

import typer

from bascule_api.conditions import CompensationState, ConditionType, Phase
from bascule_api.runs import RunStatus
from bascule_cli import terminal
from bascule_cli.cluster import Cluster, Json
from bascule_cli.errors import CliError, ExitCode
from bascule_cli.options import speech
from bascule_cli.resources import Item
from bascule_cli.watching import until

WaitOption = Annotated[bool, typer.Option("--wait", "-w", help="Wait until the run is over.")]
WaitSecondsOption = Annotated[
    int, typer.Option("--timeout", min=1, help="Seconds to wait at most; then exit code 5, and the run goes on.")
]


def wait_for_run(
    cluster: Cluster, item: Item, request: str, before: int, seconds: int, *, cancelled: bool = False
) -> None:
    """Wait for a run with a number above `before` that has handled `request`, and for its end.

    Raises CliError when it did not succeed; with `cancelled`, when what it did could not be taken back.
    """

    def over(body: Json) -> bool:
        return is_over(Item.of(item.kind, body).status, request, before)

    found = until(cluster, item.kind, item.body, over, seconds)
    if found is None:
        raise CliError(ExitCode.FAILED, f"{item.reference} was deleted meanwhile")
    ended = Item.of(item.kind, found)
    status, run = ended.status, ended.status.run
    assert run is not None  # noqa: S101 - what is over has a run
    words = f"{item.namespace}/{item.reference}: run {run.number} {str(run.outcome).lower()}"
    # A drill may have succeeded as a run, and have missed its objectives.
    stalled = run.outcome is Phase.SUCCEEDED and ended.holds(ConditionType.STALLED)
    failed = _left(status) if cancelled else run.outcome is not Phase.SUCCEEDED or stalled
    if failed:
        found_why = ended.condition(ConditionType.STALLED) if stalled else status.failure
        why = found_why.message if found_why else ""
        raise CliError(ExitCode.FAILED, f"{words}{': ' + why if why else ''}", speech(cluster).verb(item, "explain"))
    typer.echo(terminal.clean(words))


def wait_for_compensation(cluster: Cluster, item: Item, request: str, seconds: int) -> None:
    """Wait for another attempt to take back what is left. Raises CliError when something is left again."""

    def over(body: Json) -> bool:
        return is_settled(Item.of(item.kind, body).status, request)

    found = until(cluster, item.kind, item.body, over, seconds)
    if found is not None and _left(Item.of(item.kind, found).status):
        why = speech(cluster).verb(item, "explain")
        raise CliError(ExitCode.FAILED, f"{item.namespace}/{item.reference}: not all of it could be taken back", why)
    gone = " and it is gone" if found is None else ""
    typer.echo(f"{item.namespace}/{item.reference}: all is taken back{gone}")


def is_settled(status: RunStatus, request: str) -> bool:
    """Whether the attempt that the request asked for is over."""
    taken = status.handled is not None and status.handled.request >= request
    return taken and status.compensation is not None and status.compensation.state is not CompensationState.RUNNING


def is_over(status: RunStatus, request: str, before: int) -> bool:
    """Whether such a run is over."""
    run = status.run
    if run is None or run.number <= before or run.outcome is None:
        return False
    return not request or (status.handled is not None and status.handled.request >= request)


def _left(status: RunStatus) -> bool:
    return status.compensation is not None and status.compensation.state is CompensationState.FAILED
