"""Builders of ImageBuilds as decisions see them: a test states only what matters to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bascule_api import names
from bascule_api.conditions import CompensationState, Phase
from bascule_api.failures import Failure
from bascule_api.image_builds import REVISION_FIELDS, ImageBuildResult, ImageBuildSpec, ImageBuildStatus
from bascule_api.procedures import PinnedProcedure, Procedure
from bascule_api.progress import Progress, RunIdentity, StepProgress, UndoResult
from bascule_api.runs import CompensationStatus
from bascule_api.tenants import Tenant
from bascule_operator.decisions.moves import Observed
from bascule_operator.decisions.subjects import Subject, parse
from bascule_operator.decisions.views import Closed, Grounds, Problem, RunState, RunView
from tests.support.bodies import AResource, a_body

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
UID = "2f0c4c1e-0000-4000-8000-000000000001"
Json = dict[str, Any]


REPOSITORY = "registry.example.com/acme/web"


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


def publication(run: int = 1, new: str = "a", previous: str = "", repository: str = REPOSITORY, **changes: Any) -> Json:
    """A publication that stands, as the status has it: the tag v1 moved from one digest to another."""
    tag = {"name": "v1", "digest": digest(new)} | ({"previousDigest": digest(previous)} if previous else {})
    return {"run": run, "repository": repository, "digest": digest(new), "tags": [tag]} | changes


def spec(**changes: Any) -> Json:
    return {
        "source": {"configMap": {"name": "source"}},
        "build": {"procedure": "buildah"},
        "sign": {"keySecretRef": {"name": "signing-key"}},
        "publish": {"repository": "registry.example.com/acme/web", "tags": ["v1"]},
    } | changes


def parsed(body: Json) -> Subject:
    return parse("ImageBuild", body, ImageBuildSpec, ImageBuildStatus, REVISION_FIELDS)


def revision_of(body_spec: Json) -> str:
    return parsed({"metadata": {"name": "web"}, "spec": body_spec}).revision


@dataclass(frozen=True)
class ABuild(AResource):
    """An ImageBuild under construction; every method returns another one."""

    body: Json = field(default_factory=lambda: a_body(UID, spec()))

    def suspended(self) -> ABuild:
        return self.with_spec(suspend=True)

    def edited(self) -> ABuild:
        """Its revision is another one now."""
        return self.with_spec(publish={"repository": "registry.example.com/acme/other", "tags": ["v1"]})

    def scheduled(self, cron: str = "0 3 * * *", **schedule: Any) -> ABuild:
        return self.with_spec(schedule={"cron": cron} | schedule)

    def due(self, following: str, cron: str = "0 3 * * *", zone: str = "Etc/UTC", **changes: Any) -> ABuild:
        """Its schedule was seen, and nothing was made yet of the due times from that one on."""
        told = {"timetable": f"{cron} {zone}", "next": following} | changes
        return self.saying(schedule=told, observedGeneration=1)

    def created(self, at: str) -> ABuild:
        return self.with_metadata(creationTimestamp=at)

    def requested(self, value: str = "r1") -> ABuild:
        return self._annotated(names.REQUESTED_AT, value)

    def cancelled_by(self, reason: str = "wrong base") -> ABuild:
        return self._annotated(names.CANCEL, reason)

    def _annotated(self, name: str, value: str) -> ABuild:
        return self.with_metadata(annotations=self.body["metadata"].get("annotations", {}) | {name: value})

    def without_finalizer(self) -> ABuild:
        return self.with_metadata(finalizers=[])

    def running(self, number: int = 1, run_id: str = "run-1", **changes: Any) -> ABuild:
        """Its intent is written, and its run may have been seen."""
        run = {
            "number": number, "revision": revision_of(spec()), "trigger": "Revision", "tenant": "acme",
            "temporalNamespace": "acme", "workflowId": names.workflow_id("ImageBuild", UID, number),
            "startedAt": "2026-11-22T11:50:00Z",
        } | ({"runId": run_id} if run_id else {})  # fmt: skip
        return self.saying(phase="Running", run=run | changes, handled=self.body.get("status", {}).get("handled", {}))

    def intended(self, **changes: Any) -> ABuild:
        """Its intent is written, and nothing is known of a run."""
        made = self.running(run_id="", **changes)
        return made.saying(phase="Pending")

    def finished(self, phase: Phase = Phase.SUCCEEDED, compensation: str = "NothingToDo", **changes: Any) -> ABuild:
        made = self.running(**{"outcome": str(phase), "finishedAt": "2026-11-22T11:55:00Z"} | changes)
        run = made.body["status"]["run"]
        past = {name: run[name] for name in ("number", "revision", "trigger")} | {"phase": str(phase)}
        return made.saying(phase=str(phase), compensation={"state": compensation}, history=[past])

    def compensating(self, on_delete: str) -> ABuild:
        return self.with_spec(compensation={"onDelete": on_delete})

    def forced_by(self, reason: str = "the registry is gone") -> ABuild:
        return self._annotated(names.FORCE_DELETE, reason)

    def standing(self, *publications: Json, **changes: Any) -> ABuild:
        """What its finished runs published, and the record of the last one."""
        effects = {"repository": REPOSITORY, "candidates": f"{REPOSITORY}-candidates", "tags": ["v1"]}
        return self.saying(effects=effects | {"standing": list(publications or [publication()])} | changes)

    def undoing(self, attempt: int = 1, scope: str = "Run", run_id: str = "", **changes: Any) -> ABuild:
        """Its last run is over, and an undo workflow is intended; with `run_id` it was seen."""
        number = self.body["status"]["run"]["number"]
        undo = {
            "state": "Running", "attempt": attempt, "scope": scope,
            "workflowId": names.undo_workflow_id("ImageBuild", UID, number, attempt),
        } | ({"runId": run_id} if run_id else {})  # fmt: skip
        return self.saying(compensation=undo | changes)

    def handling(self, **changes: Any) -> ABuild:
        """Other fields of status.handled."""
        return self.saying(handled=self.body.get("status", {}).get("handled", {}) | changes)

    @property
    def subject(self) -> Subject:
        return parsed(self.body)


def build() -> ABuild:
    return ABuild()


def tenant(name: str = "acme", *namespaces: str, ready: str = "True", reason: str = "NamespaceRegistered") -> Tenant:
    conditions = [
        {
            "type": "Ready",
            "status": ready,
            "reason": reason,
            "message": "so it is",
            "lastTransitionTime": NOW.isoformat(),
        }
    ]
    return Tenant.parse(
        {
            "metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": NOW.isoformat()},
            "spec": {"namespaces": list(namespaces) or ["acme-dev"]},
            "status": {"conditions": conditions if ready else []},
        }
    )


def procedure(
    name: str,
    *uses: str,
    tenants: tuple[str, ...] = ("*",),
    parameters: list[Json] | None = None,
    undo: str | None = None,
) -> Procedure:
    return Procedure.parse(
        {
            "metadata": {"name": name, "generation": 1},
            "spec": {
                "uses": list(uses), "tenants": list(tenants), "parameters": parameters or [], "undo": undo,
                "template": {"container": {"image": "example.com/step:1"}},
            },
        }
    )  # fmt: skip


GROUNDS = Grounds(tenant(), {"buildah": PinnedProcedure.of(procedure("buildah", "ImageBuild/build"))})


def identity(subject: Subject, number: int = 1, **changes: Any) -> RunIdentity:
    values = {
        "kind": "ImageBuild", "namespace": "acme-dev", "name": "web", "uid": UID, "number": number,
        "revision": revision_of(spec()), "tenant": "acme",
    }  # fmt: skip
    return RunIdentity.model_validate(values | changes)


def progress(number: int = 1, phase: Phase = Phase.RUNNING, **changes: Any) -> Progress:
    steps = [StepProgress(name="resolve", state="Succeeded"), StepProgress(name="build", state="Running", started=1)]
    return Progress.model_validate(
        {"number": number, "phase": phase, "steps": [step.to_wire() for step in steps], "completed": 1, "total": 2}
        | {"message": "1 of 2 steps done"}
        | changes
    )


def an_open(at: int | None = 1, **changes: Any) -> RunView:
    """An open run as a describe shows it, with the progress of that number."""
    made = RunView(RunState.OPEN, described=True, run_id="run-1", progress=progress(at) if at else None)
    return replace(made, **changes)


def a_closed(
    phase: Phase = Phase.SUCCEEDED,
    compensation: CompensationState = CompensationState.NOTHING_TO_DO,
    failure: Failure | None = None,
    **changes: Any,
) -> RunView:
    """A closed run with its result."""
    result = ImageBuildResult(
        phase=phase, progress_number=9, failure=failure, compensation=CompensationStatus(state=compensation)
    )
    made = RunView(
        RunState.CLOSED, described=True, run_id="run-1", closed=Closed.COMPLETED, result=result,
        closed_at=NOW - timedelta(minutes=1),
    )  # fmt: skip
    return replace(made, **changes)


def an_open_undo(at: int | None = 1, **compensation: Any) -> RunView:
    """An undo workflow that goes on."""
    told = {"state": "Running", "completed": 1, "total": 3} | compensation
    made = progress(at, Phase.COMPENSATING, compensation=told) if at else None
    return RunView(RunState.OPEN, described=True, run_id="undo-1", progress=made)


def a_closed_undo(state: CompensationState = CompensationState.SUCCEEDED, **compensation: Any) -> RunView:
    """An undo workflow that is over."""
    told = CompensationStatus(state=state, completed=3, total=3).model_copy(update=compensation)
    result = UndoResult(progress_number=5, compensation=told)
    return RunView(RunState.CLOSED, described=True, run_id="undo-1", closed=Closed.COMPLETED, undone=result)


ABSENT = RunView(RunState.ABSENT, described=True)


def observed(
    made: ABuild | Subject,
    view: RunView | None = None,
    *,
    fresh: bool = True,
    grounds: Grounds | Problem = GROUNDS,
    silence: str = "",
    now: datetime = NOW,
) -> Observed:
    subject = made.subject if isinstance(made, ABuild) else made
    return Observed(subject, fresh, grounds, view or RunView(), silence, now, "https://temporal.example.com/")
