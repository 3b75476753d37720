"""The Procedure `packer`: builds a template of the sources and pushes what it yields as the run's candidate.

Another attempt starts from nothing, so that what may not happen twice ends the step for good: once something was made
elsewhere (an image at a cloud provider), a registry that stays away is no reason to make it again.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from pathlib import Path

from bascule_workers.in_step import contract, oci_artifacts, registry
from bascule_workers.in_step.contract import ExitCode, Report, Step, StepError
from bascule_workers.packer import machine_readable, publication, template
from bascule_workers.packer.machine_readable import Artifact
from bascule_workers.packer.tool import Outcome, Packer

_PATIENCE, _PATIENCE_ELSEWHERE = 5.0, 300.0
"""Seconds to wait for the registry: short where another attempt of the step can do it, long where none can follow."""


def build(step: Step) -> Report:
    candidate, run = step.variable("BASCULE_CANDIDATE"), step.variable("BASCULE_RUN")
    base = Path(step.environment.get("BASCULE_WORK_DIR") or tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix="packer-", dir=base) as name:
        work = Path(name)
        sources = work / "source"
        # A copy, so that a template can write beside itself, and an earlier attempt's files are not this one's.
        shutil.copytree(step.variable("BASCULE_SOURCE_DIR"), sources, symlinks=True)
        made = _make(step, Packer(sources, work / "home", step.environment))
        layout = oci_artifacts.Layout(work / "layout")
        try:
            kind = publication.Kind(step.text("artifact", publication.Kind.FILE))
            digest = publication.write(layout, kind, made, sources, run)
            patience = _PATIENCE_ELSEWHERE if publication.left(made) else _PATIENCE
            oci_artifacts.push(layout, candidate, step.environment, patience)
        except StepError as error:
            raise _with_leftovers(error, made) from None
    results = {"digest": digest, "artifacts": publication.summary(made)}
    return Report(f"{publication.story(made)}; pushed {registry.repository(candidate)}@{digest}", results)


def _make(step: Step, packer: Packer) -> list[Artifact]:
    """Validate and build. Returns what was made; raises StepError with Packer's own words."""
    variables = step.items("variables")
    template.check_variables(variables)
    chosen = template.choose(packer.sources, step.text("template"))
    validated = packer.validate(chosen, variables)
    _stop_if_told(validated, [])
    if validated.code != 0:
        raise StepError(ExitCode.INVALID, _complaint(f"{chosen} is not valid", validated))
    outcome = packer.build(chosen, variables)
    made, incomplete = _artifacts(outcome)
    _stop_if_told(outcome, made)
    if outcome.code != 0:
        ending = "" if outcome.code > 0 else f" (killed by {signal.Signals(-outcome.code).name})"
        failed = StepError(ExitCode.INVALID, _complaint(f"the build of {chosen} failed{ending}", outcome))
        raise _with_leftovers(failed, made)
    if incomplete:
        raise StepError(ExitCode.INVALID, f"{incomplete}; nothing was pushed")
    return made


def _artifacts(outcome: Outcome) -> tuple[list[Artifact], str]:
    try:
        return machine_readable.artifacts(outcome.lines), ""
    except machine_readable.IncompleteError as error:
        return [], str(error)


def _stop_if_told(outcome: Outcome, made: list[Artifact]) -> None:
    if outcome.stopped:
        raise _with_leftovers(StepError(ExitCode.UNAVAILABLE, "stopped before the build was through"), made)


def _complaint(what: str, outcome: Outcome) -> str:
    error = outcome.error or f"Packer ended with exit code {outcome.code} and said nothing"
    return f"{what}: {error}{template.remedy(error)}"


def _with_leftovers(error: StepError, made: list[Artifact]) -> StepError:
    """The same failure, which names what exists elsewhere now, and ends the step for good if there is any."""
    left = publication.left(made)
    if not left:
        return error
    names = ", ".join(f"{artifact.builder} {artifact.id}" for artifact in left)
    message = f"{error.report.message} — left behind: {names}; remove it with the Procedure packer-artifact-delete"
    exit_code = ExitCode.LEFT_BEHIND if error.report.exit_code is ExitCode.UNAVAILABLE else error.report.exit_code
    return StepError(exit_code, message, {"artifacts": publication.summary(made)}, error.report.failure)


if __name__ == "__main__":
    sys.exit(contract.main(build))
