"""What the builders of kinds with runs share, as decisions see them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from bascule_api import names
from bascule_api.conditions import Phase
from bascule_operator.decisions.subjects import Subject
from tests.support.bodies import AResource


@dataclass(frozen=True)
class AResourceWithRuns(AResource, ABC):
    """Every method returns another one."""

    kind: ClassVar[str]
    compensated: ClassVar[str]
    """How the compensation of a run of the kind ends, if nothing else is said."""

    @property
    @abstractmethod
    def subject(self) -> Subject:
        """What decisions make of it."""

    def running(self, number: int = 1, run_id: str = "run-1", **changes: Any) -> Self:
        """Its intent is written, and its run may have been seen."""
        run = {
            "number": number, "revision": self.subject.revision, "trigger": "Revision", "tenant": "acme",
            "temporalNamespace": "acme", "workflowId": names.workflow_id(self.kind, self._uid, number),
            "startedAt": "2026-11-22T11:50:00Z",
        } | ({"runId": run_id} if run_id else {})  # fmt: skip
        return self.saying(phase="Running", run=run | changes, handled=self.body.get("status", {}).get("handled", {}))

    def finished(self, phase: Phase = Phase.SUCCEEDED, compensation: str = "", **changes: Any) -> Self:
        """The run that it has is over."""
        run = self.body["status"]["run"] | {"outcome": str(phase), "finishedAt": "2026-11-22T11:55:00Z"} | changes
        past = {name: run[name] for name in ("number", "revision", "trigger")} | {"phase": str(phase)}
        history = [past, *self.body["status"].get("history", [])]
        ended = {"state": compensation or self.compensated}
        return self.saying(phase=str(phase), run=run, compensation=ended, history=history)

    def undoing(self, scope: str = "Run", attempt: int = 1) -> Self:
        """Its last run is over, and an undo workflow goes on."""
        number = self.body["status"]["run"]["number"]
        undo = {
            "state": "Running", "attempt": attempt, "scope": scope, "runId": "undo-1",
            "workflowId": names.undo_workflow_id(self.kind, self._uid, number, attempt),
        }  # fmt: skip
        return self.saying(compensation=undo)

    @property
    def _uid(self) -> str:
        return str(self.body["metadata"]["uid"])
