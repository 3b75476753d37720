"""`bascule drill report`: the page that a drill left behind."""

from __future__ import annotations

import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from bascule_api import dr_drills
from bascule_api.base import Digest
from bascule_api.dr_drill_status import DRDrillStatus, DrillFigures
from bascule_cli import files, kept_logs, kinds, terminal
from bascule_cli.cluster import Cluster
from bascule_cli.errors import CliError, ExitCode, NotFoundError
from bascule_cli.options import complete_kind
from bascule_cli.resources import Item, find

KIND = dr_drills.KIND

DrillArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the DRDrill.", autocompletion=complete_kind(KIND))
]


def report(
    cluster: Cluster,
    name: DrillArgument,
    run: Annotated[int | None, typer.Option("--run", min=1, help="Number of the run; default: the last.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the page there, and open nothing; `-`: to stdout.")
    ] = None,
    repository: Annotated[
        str,
        typer.Option("--repository", envvar="BASCULE_ARTIFACTS", help="Where the report is kept, if it was copied."),
    ] = "",
) -> None:
    """Open the report of a drill in a browser: timeline, figures, trend, approvals, digests, and what was torn down.

    It is read from the registry by the digest in the status, with your own registry login (`docker login`): what is
    shown is what the drill left behind, or nothing. One page without scripts, to be archived, mailed or printed.

    **Examples:** `bascule drill report orders` · `bascule drill report orders --run 7 -o orders-7.html`
    """
    item = find(cluster, name, (KIND,))
    number, digest, kept_in = _wanted(item, run)
    place = repository or kept_in
    page = kept_logs.fetch(place, digest, kept_logs.DRILL_REPORT_TYPE)
    terminal.note(f"» run {number}: {place}@{digest}")
    if output is not None:
        _hand_over(output, page)
        return
    path = Path(tempfile.mkdtemp(prefix="bascule-")) / f"{item.name}-{number}.html"
    files.write(path, page)
    if not webbrowser.open(path.as_uri()):
        terminal.note("no browser was found: open it yourself")


def _wanted(item: Item, run: int | None) -> tuple[int, Digest, str]:
    """The run's number, its report's digest, and where that is kept. Raises NotFoundError."""
    try:
        status = DRDrillStatus.model_validate(item.body.get("status") or {})
    except ValidationError:
        raise CliError(ExitCode.FAILED, item.unreadable or "the status cannot be read") from None
    short = f"{kinds.short(KIND)}/{item.name}"
    drills: dict[int, DrillFigures] = {past.number: past for past in status.drills}
    if status.run is not None and status.drill is not None and (status.drill.report or not drills):
        drills[status.run.number] = status.drill
    number = run or max(drills, default=0)
    found = drills.get(number)
    if found is None:
        known = ", ".join(str(known) for known in sorted(drills)) or "none"
        what = f"no run {run}" if run else "no drill yet"
        raise NotFoundError(f"{short} remembers {what}; it knows: {known}")
    if found.report is None:
        raise NotFoundError(
            f"run {number} of {short} has no report",
            "a report is made once the drill is torn down, and kept where the Tenant has spec.artifacts",
        )
    return number, found.report, status.drill.report_repository if status.drill else ""


def _hand_over(path: Path, page: str) -> None:
    if str(path) == "-":
        sys.stdout.write(page)
    else:
        files.write(path, page)
