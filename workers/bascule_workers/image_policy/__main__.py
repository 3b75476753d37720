"""The Procedure `image-policy`: fails when the candidate image breaks a rule, and attaches the full list to it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bascule_workers.image_policy import findings, image, passwords, rules
from bascule_workers.image_policy.findings import FailOn, Finding, Ignore
from bascule_workers.image_policy.layers import Bounds
from bascule_workers.image_policy.table import MalformedImageError
from bascule_workers.in_step import contract, oci_artifacts, registry
from bascule_workers.in_step.contract import ExitCode, Report, Step, StepError

REPORT = "application/vnd.bascule.image-policy.report.v1"


def test(step: Step) -> Report:
    """Look at the candidate, attach the report, and pass or fail."""
    reference = step.variable("BASCULE_IMAGE")
    allowed = rules.Allowed(step.flag("allowRoot"), frozenset(step.items("allowedSetuid", rules.DEFAULT_SETUID)))
    ignores = _ignores(step)
    fail_on = FailOn(step.text("failOn", FailOn.MEDIUM))
    base = Path(step.environment.get("BASCULE_WORK_DIR") or tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix="image-policy-", dir=base) as name:
        work = Path(name)
        try:
            fetched = image.fetch(reference, work / "image", step.environment)
            looked_at = image.merged(fetched, Bounds())
            found = findings.considered(rules.check(looked_at, allowed), ignores)
        except MalformedImageError as error:
            raise StepError(ExitCode.INVALID, f"the image cannot be looked into: {error}") from None
        except passwords.CryptMissingError as error:
            raise StepError(ExitCode.USAGE, str(error)) from None
        settings = {
            "allowRoot": allowed.root,
            "allowedSetuid": sorted(allowed.setuid),
            "ignore": [f"{ignore.rule}:{ignore.glob}" for ignore in ignores],
            "failOn": fail_on.value,
        }
        counts = {"files": len(looked_at.table.files), "layers": len(fetched.layers)}
        content = findings.report(reference, found, settings, counts)
        _print(found)
        return _verdict(found, fail_on, _attach(step, work, reference, fetched, content, found))


def _ignores(step: Step) -> list[Ignore]:
    parsed = []
    for number, text in enumerate(step.items("ignore")):
        try:
            parsed.append(Ignore.parse(text))
        except ValueError as error:
            raise StepError(ExitCode.INVALID, f"parameter ignore[{number}] {error}") from None
    return parsed


def _print(found: Sequence[Finding]) -> None:
    """The full list in the pod's log as well, one finding a line."""
    for finding in found:
        aside = " (ignored)" if finding.ignored else ""
        print(f"{finding.severity} {finding.rule} {ascii(finding.path)[1:-1]}: {finding.detail}{aside}", flush=True)


def _attach(
    step: Step, work: Path, reference: str, fetched: image.FetchedImage, content: bytes, found: Sequence[Finding]
) -> str:
    """Push the report next to the image. Returns its digest; a failure still tells what was found."""
    layout = oci_artifacts.Layout(work / "layout")
    layer = layout.add_bytes(content, f"{REPORT}+json", "image-policy.json")
    annotations = {oci_artifacts.RUN: step.variable("BASCULE_RUN")}
    digest = layout.finish(REPORT, [layer], annotations, subject=fetched.descriptor)
    # Two tests of one image each have a tag of their own.
    name = step.environment.get("BASCULE_STEP_NAME", "").removeprefix("test-")
    tag = f"{fetched.descriptor.digest.replace(':', '-')}.policy" + (f"-{name}" if name else "")
    try:
        oci_artifacts.push(layout, f"{registry.repository(reference)}:{tag}", step.environment, patience=5)
    except StepError as error:
        message = f"the report could not be attached: {error}; found: {findings.story(found)}"
        raise StepError(error.report.exit_code, message, failure=error.report.failure) from None
    return digest


def _verdict(found: Sequence[Finding], fail_on: FailOn, digest: str) -> Report:
    failing = [finding for finding in found if not finding.ignored and fail_on.fails(finding.severity)]
    results = {"report": digest, "findings": str(sum(not finding.ignored for finding in found))}
    exit_code = ExitCode.VIOLATED if failing else ExitCode.SUCCEEDED
    return Report(f"{findings.story(found)}; report {digest}", results, exit_code)


if __name__ == "__main__":
    sys.exit(contract.main(test))
