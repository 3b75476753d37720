"""What each kind that runs brings along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bascule_api.procedures import Procedure
from bascule_api.progress import RunIdentity, RunInput, RunResult, TenantFacts, UndoInput
from bascule_api.runs import CompensationScope, RunSpec, RunStatus
from bascule_operator.decisions.grounds import Wants
from bascule_operator.decisions.moves import StartUndo
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import Grounds, Problem, RunView
from bascule_operator.reconcilers.world import World
from bascule_operator.store import Key


def _nothing(*_: Any) -> None:
    return None


@dataclass(frozen=True)
class RunKind:
    """What a kind adds to what all have in common."""

    kind: str
    spec: type[RunSpec]
    status: type[RunStatus]
    result: type[RunResult]
    fields: tuple[str, ...]
    wants: Callable[[Any], list[Wants]]
    workflow_input: Callable[[Subject, RunIdentity, Grounds], RunInput]
    undo_input: Callable[[Subject, StartUndo, TenantFacts, Mapping[str, Procedure]], UndoInput]
    undo_wants: Callable[[Subject, CompensationScope | None, Mapping[str, Procedure]], set[str]]
    """Names of the Procedures that an undo workflow rests on."""
    complete: Callable[[World, Key, Subject, RunStatus, RunView], RunStatus]
    """(world, key, resource as it was, new status, view) -> the new status with the kind's own fields."""
    refused: Callable[[Any], Problem | None] = _nothing
    """What is wrong with a spec that fits its schema, whatever the cluster has."""
    forbidden: Callable[[Any, Grounds], Problem | None] = _nothing
    """What a spec wants that its tenant may not have."""
