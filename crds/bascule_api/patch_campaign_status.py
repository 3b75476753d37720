"""What is told of a PatchCampaign: targets, waves, the plan, and the record that undoing works from."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self, TypeVar

from pydantic import Field, StringConstraints

from bascule_api.base import (
    ATOMIC,
    ApiModel,
    Digest,
    ShortText,
)
from bascule_api.fleets import TargetPhase
from bascule_api.patch_campaign_specs import Drain, PatchStep, Targets
from bascule_api.runs import RunStatus

IN_PROGRESS_LIMIT = 10
FAILURES_LIMIT = 20
NAMES_LIMIT = 10
CELLS_LIMIT = 256
STANDING_LIMIT = 4
"""Finished runs whose patches are remembered; the oldest is forgotten first."""


class TargetInProgress(ApiModel):
    """A target that is being worked on."""

    name: Annotated[str, StringConstraints(max_length=253)]
    """Name of the node or host."""
    phase: TargetPhase
    """What goes on there."""
    since: datetime | None = None
    """Since when."""
    message: ShortText = ""
    """What is waited for, such as the pod that may not be evicted."""


class FailedTarget(ApiModel):
    """A target that could not be patched."""

    name: Annotated[str, StringConstraints(max_length=253)]
    """Name of the node or host."""
    phase: TargetPhase
    """In which phase it failed."""
    message: ShortText = ""
    """Why."""
    rolled_back: bool = False
    """Whether its rollback was carried out."""


class TargetsStatus(ApiModel):
    """How the targets stand. Counts are exact; names are capped."""

    total: Annotated[int, Field(ge=0)] = 0
    """Targets in all."""
    patched: Annotated[int, Field(ge=0)] = 0
    """Targets that this run patched and that stay patched."""
    failed: Annotated[int, Field(ge=0)] = 0
    """Targets that failed."""
    skipped: Annotated[int, Field(ge=0)] = 0
    """Targets that need nothing: patched by the run that this one continues, or gone meanwhile."""
    rolled_back: Annotated[int, Field(ge=0)] = 0
    """Targets whose patch was taken back."""
    summary: Annotated[str, StringConstraints(max_length=64)] = ""
    """In short, for tables: `12/40, 1 failed`."""
    in_progress: Annotated[list[TargetInProgress], Field(max_length=IN_PROGRESS_LIMIT, json_schema_extra=ATOMIC)] = []
    """The first of those that are being worked on."""
    failures: Annotated[list[FailedTarget], Field(max_length=FAILURES_LIMIT, json_schema_extra=ATOMIC)] = []
    """The first of those that failed."""


class WaveState(StrEnum):
    """How a wave stands."""

    PENDING = "Pending"
    """Not begun."""
    WAITING = "Waiting"
    """Waits for an approval or a window."""
    RUNNING = "Running"
    """Its targets are being patched."""
    SOAKING = "Soaking"
    """Its targets are patched; time passes."""
    CHECKING = "Checking"
    """Its gates are being asked."""
    SUCCEEDED = "Succeeded"
    """Done, and all gates passed."""
    FAILED = "Failed"
    """Too many targets failed, or a gate did not pass."""
    SKIPPED = "Skipped"
    """Never begun."""
    ROLLING_BACK = "RollingBack"
    """Its targets are being rolled back."""
    ROLLED_BACK = "RolledBack"
    """Its targets were rolled back."""


class WaveStatus(ApiModel):
    """How a wave stands."""

    name: ShortText
    """Name of the wave."""
    state: WaveState = WaveState.PENDING
    """How it stands."""
    total: Annotated[int, Field(ge=0)] = 0
    """Targets of the wave."""
    patched: Annotated[int, Field(ge=0)] = 0
    """Targets that were patched, or need nothing."""
    failed: Annotated[int, Field(ge=0)] = 0
    """Targets that failed."""
    started_at: datetime | None = None
    """When it began."""
    finished_at: datetime | None = None
    """When it ended."""
    names: Annotated[list[ShortText], Field(max_length=NAMES_LIMIT, json_schema_extra=ATOMIC)] = []
    """The first targets of the wave, in their order."""
    cells: Annotated[str, StringConstraints(max_length=CELLS_LIMIT)] = ""
    """A picture of the wave, one character per target in their order (`CELLS` of bascule_api.fleets); with more than
    256 targets each stands for as many as it takes, and shows the one that matters most."""


class PlanStatus(ApiModel):
    """Which target is patched in which wave, fixed before anything is touched."""

    digest: Digest
    """Of the plan and of the pinned Procedures: what an Approval approves."""
    artifact: Annotated[str, StringConstraints(max_length=400)] = ""
    """`repository@digest` of the whole plan as JSON, where the Tenant has a place for artifacts."""


class Patched(ApiModel):
    """What a finished run patched and what still stands."""

    run: Annotated[int, Field(ge=1)]
    """Number of the run."""
    workflow_id: ShortText
    """Its workflow, whose memo `patched` says which targets they are."""
    run_id: ShortText = ""
    """Temporal's id of its last execution."""
    count: Annotated[int, Field(ge=0)] = 0
    """How many there are."""


class PatchCampaignEffects(ApiModel):
    """The closed record that undoing works from, written by the operator and checked against the nodes."""

    rollback: PatchStep | None = None
    """What takes the patch back on a target."""
    targets: Targets | None = None
    """What was patched, for finding it again."""
    drain: Drain = Drain()
    """How pods leave a node before it is rolled back."""
    node_selector: Annotated[dict[str, Annotated[str, StringConstraints(max_length=63)]], Field(max_length=16)] = {}
    """The Tenant's as the run has it: what is given back is given back wherever the Tenant may patch by now."""
    standing: Annotated[list[Patched], Field(max_length=STANDING_LIMIT, json_schema_extra=ATOMIC)] = []
    """What finished runs patched and what still stands, the latest first."""


_LEANER = ((3, 10, 128, 256), (1, 5, 64, 256), (0, 2, 32, 0))
"""Names of each wave, targets in progress (twice as many that failed), characters of what is said of each, and cells
of a wave's picture."""
T = TypeVar("T", TargetInProgress, FailedTarget)


def _shorter(targets: list[T], most: int, words: int) -> list[T]:
    return [target.model_copy(update={"message": target.message[:words]}) for target in targets[:most]]


class PatchCampaignStatus(RunStatus):
    """How the campaign stands."""

    plan: PlanStatus | None = None
    """Which target is patched in which wave."""
    targets: TargetsStatus | None = None
    """How the targets stand."""
    waves: Annotated[list[WaveStatus], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """How the waves stand."""
    effects: PatchCampaignEffects | None = None
    """What undoing works from; written with the intent of a run."""

    def leaner(self, step: int) -> Self:
        names, targets, words, cells = _LEANER[step - 1]
        told = self.targets
        if told is not None:
            update = {
                "in_progress": _shorter(told.in_progress, targets, words),
                "failures": _shorter(told.failures, 2 * targets, words),
            }
            told = told.model_copy(update=update)
        waves = [
            wave.model_copy(update={"names": wave.names[:names], "cells": wave.cells[:cells]}) for wave in self.waves
        ]
        return self.model_copy(update={"targets": told, "waves": waves})

    @property
    def takes_all_back(self) -> bool:
        # Nodes are released in any case; what becomes of patches, failurePolicy says.
        return False

    @property
    def stands(self) -> bool:
        # Without a rollback there is nothing that could take a patch back.
        return self.effects is not None and self.effects.rollback is not None and bool(self.effects.standing)

    @property
    def may_hold(self) -> bool:
        # Nodes, Leases and copies of keys, whatever may become of the patches.
        return self.effects is not None

    @property
    def recorded(self) -> bool:
        return self.effects is not None
