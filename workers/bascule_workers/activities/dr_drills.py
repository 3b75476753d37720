"""What the workflows of a DRDrill call, by its name on the wire.

Classes of this package that are named after the parts of a drill carry it out (`drill_environments.py` and others);
each says again, as Temporal wants it, which activity a method is.
"""

from __future__ import annotations

from typing import Protocol

from temporalio import activity

from bascule_workers.dr_drills import (
    Applied,
    ApplyRequest,
    DrillPlan,
    IsolationReport,
    IsolationRequest,
    Moment,
    PlanDrillRequest,
    ProbeReport,
    ProbeRequest,
    ProvisionRequest,
    RemoveVeleroRequest,
    Reported,
    ReportRequest,
    Restored,
    RestoreRequest,
    TeardownRequest,
    TornDown,
    VeleroRequest,
)
from bascule_workers.messages import Done, Left, NotYet


class DrillEnvironments(Protocol):
    """The drill's namespace, from its plan to its end."""

    @activity.defn(name="dr_drill.plan")
    async def plan(self, request: PlanDrillRequest) -> Done[DrillPlan] | NotYet:
        """Fix what is applied."""

    @activity.defn(name="dr_drill.provision")
    async def provision(self, request: ProvisionRequest) -> Done[Moment] | NotYet:
        """Make sure of the namespace."""

    @activity.defn(name="dr_drill.isolated")
    async def isolated(self, request: IsolationRequest) -> Done[IsolationReport] | NotYet:
        """Prove that nothing gets out of it."""

    @activity.defn(name="dr_drill.apply")
    async def apply(self, request: ApplyRequest) -> Done[Applied] | NotYet:
        """Apply a stage of the manifests, and wait until all is ready."""

    @activity.defn(name="dr_drill.teardown")
    async def teardown(self, request: TeardownRequest) -> Done[TornDown] | NotYet:
        """Delete the namespace, and prove that it is gone."""


class DrillRestores(Protocol):
    """How data come back."""

    @activity.defn(name="dr_drill.restore")
    async def restore(self, request: RestoreRequest) -> Done[Restored] | NotYet:
        """By a Procedure."""

    @activity.defn(name="dr_drill.restore_by_velero")
    async def restore_by_velero(self, request: VeleroRequest) -> Done[Restored] | NotYet:
        """By Velero."""

    @activity.defn(name="dr_drill.remove_velero")
    async def remove_velero(self, request: RemoveVeleroRequest) -> Done[Left] | NotYet:
        """Delete the run's Restores in Velero's namespace."""


class DrillProbes(Protocol):
    """What has to hold of what was restored."""

    @activity.defn(name="dr_drill.probe")
    async def probe(self, request: ProbeRequest) -> Done[ProbeReport] | NotYet:
        """Ask until it passes, or its time is up."""


class DrillReports(Protocol):
    """What is kept of a drill for its auditors."""

    @activity.defn(name="dr_drill.report")
    async def report(self, request: ReportRequest) -> Done[Reported] | NotYet:
        """Render and keep it."""
