"""A resource as decisions see it: parsed, whatever is wrong with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from bascule_api import names, revisions
from bascule_api.base import ObjectMeta
from bascule_api.conditions import CompensationState
from bascule_api.runs import CompensationStatus, Handled, RunRecord, RunSpec, RunStatus

_ANNOTATION_LIMIT = 200


@dataclass(frozen=True)
class Subject:
    """A resource of one of the kinds that run. `spec` is None where it could not be parsed; `invalid` says why."""

    kind: str
    meta: ObjectMeta
    spec: RunSpec | None
    invalid: str
    status: RunStatus
    revision: str
    """Revision of the spec; empty where that could not be parsed."""
    fields: tuple[str, ...]
    """The spec's fields that make its revision."""

    @property
    def deleting(self) -> bool:
        return self.meta.deletion_timestamp is not None

    @property
    def finalized(self) -> bool:
        """Whether our finalizer is on."""
        return names.FINALIZER in self.meta.finalizers

    @property
    def run(self) -> RunRecord | None:
        return self.status.run

    @property
    def unfinished(self) -> RunRecord | None:
        """The run that is not over yet, or whose end is not known in full."""
        return _unfinished(self.status)

    @property
    def undoing(self) -> CompensationStatus | None:
        """The undo workflow of the last run, intended or going on; None when there is none."""
        return _undoing(self.status)

    @property
    def handled(self) -> Handled:
        return self.status.handled or Handled()

    @property
    def suspended(self) -> bool:
        return self.spec is not None and self.spec.suspend

    @property
    def scheduled(self) -> bool:
        return self.spec is not None and self.spec.schedule is not None

    @property
    def request(self) -> str:
        return as_stored(self.meta.annotations.get(names.REQUESTED_AT, ""))

    @property
    def cancel(self) -> str:
        return as_stored(self.meta.annotations.get(names.CANCEL, ""))

    @property
    def force(self) -> str:
        """Why whoever may do so lets go of what was not taken back; empty when nobody does."""
        return as_stored(self.meta.annotations.get(names.FORCE_DELETE, "").strip())

    def differs_from(self, stored: str) -> bool:
        """Whether the spec's revision is another than a stored one.

        A revision of an algorithm that only a newer version knows never differs: going back starts nothing.
        """
        if self.spec is None:
            return False
        try:
            return not revisions.same_revision(stored, self.spec, self.fields)
        except ValueError:
            return False

    def with_status(self, status: RunStatus) -> Subject:
        return replace(self, status=status)


def _unfinished(status: RunStatus) -> RunRecord | None:
    run = status.run
    if run is None or not run.workflow_id:
        return None
    return run if run.outcome is None or status.compensation is None else None


def _undoing(status: RunStatus) -> CompensationStatus | None:
    undo = status.compensation
    if status.run is None or status.run.outcome is None or undo is None or not undo.workflow_id:
        return None
    return undo if undo.state is CompensationState.RUNNING else None


def watched(status: RunStatus) -> str:
    """Id of the live workflow: the unfinished run, or what undoes the last one; empty when nothing is live."""
    run, undo = _unfinished(status), _undoing(status)
    return run.workflow_id if run else undo.workflow_id if undo else ""


def as_stored(annotation: str) -> str:
    """An annotation's value as the status keeps it: shortened with a hash, so that long ones still differ."""
    if len(annotation) <= _ANNOTATION_LIMIT:
        return annotation
    return f"{annotation[:_ANNOTATION_LIMIT]}…{hashlib.sha256(annotation.encode()).hexdigest()[:12]}"


def parse(
    kind: str, body: dict[str, Any], spec: type[RunSpec], status: type[RunStatus], fields: tuple[str, ...]
) -> Subject:
    """The subject in an API object. Never raises for what a person may have written into the spec."""
    meta = ObjectMeta.model_validate(body["metadata"])
    try:
        parsed, invalid = spec.model_validate(body.get("spec") or {}), ""
    except ValidationError as error:
        parsed, invalid = None, explain(error, "spec")
    return Subject(
        kind=kind,
        meta=meta,
        spec=parsed,
        invalid=invalid,
        status=_recalled(_status(body.get("status") or {}, status)),
        revision=revisions.revision(parsed, fields) if parsed else "",
        fields=fields,
    )


def _status(body: dict[str, Any], model: type[RunStatus]) -> RunStatus:
    """The status without those parts that do not parse: losing one of them must not lose the run."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        broken = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
        return model.model_validate({name: value for name, value in body.items() if name not in broken})


def _recalled(status: RunStatus) -> RunStatus:
    """The status with its last run, where only the history remembers that: losing it must not start another."""
    if status.run is not None or not status.history:
        return status
    last = status.history[0]
    run = RunRecord(
        number=last.number,
        revision=last.revision,
        trigger=last.trigger,
        tenant="unknown",
        outcome=last.phase,
        started_at=last.started_at,
        finished_at=last.finished_at,
    )
    return status.model_copy(update={"run": run})


def set_by(body: dict[str, Any], annotation: str) -> str:
    """Which client set an annotation last, and when: who asked is known to the API server's audit log alone."""
    for entry in body["metadata"].get("managedFields") or []:
        fields = (entry.get("fieldsV1") or {}).get("f:metadata") or {}
        if f"f:{annotation}" in (fields.get("f:annotations") or {}):
            return f"{entry.get('manager', '')} at {entry.get('time', '')}"
    return "unknown"


def explain(error: ValidationError, root: str) -> str:
    """What a ValidationError says, with paths as people write them: `spec.tests[1].name: …`."""
    problems = error.errors(include_url=False, include_input=False)
    lines = [f"{_path(root, problem['loc'])}: {problem['msg']}" for problem in problems[:5]]
    if len(problems) > len(lines):
        lines.append(f"and {len(problems) - len(lines)} more")
    return "; ".join(lines)


def _path(root: str, location: tuple[int | str, ...]) -> str:
    path = root
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path
