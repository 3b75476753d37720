"""A drill's environment, from its plan to its teardown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from temporalio import activity

from bascule_api.conditions import WaitKind
from bascule_api.failures import FailureType
from bascule_workers.activities.common import JobRunner, run_credentials
from bascule_workers.activities.dr_drills import DrillEnvironments
from bascule_workers.activities.drill_probes import problems
from bascule_workers.dr_drills import (
    Applied,
    ApplyRequest,
    ApplyStage,
    DrillPlan,
    DrillRequest,
    IsolationReport,
    IsolationRequest,
    Moment,
    PlanDrillRequest,
    ProvisionRequest,
    TeardownRequest,
    TornDown,
)
from bascule_workers.errors import EnvironmentFailedError, JobLostError, PlanRefusedError, SourceNotFoundError
from bascule_workers.messages import Done, NotYet
from bascule_workers.plans import canaries, credentials, drill_plans, drill_spaces, manifests
from bascule_workers.plans.canaries import Seen
from bascule_workers.plans.drill_spaces import SpaceSettings
from bascule_workers.plans.failures import shortened
from bascule_workers.plans.jobs import CA_KEY, JobSettings
from bascule_workers.plans.kstatus import Standing
from bascule_workers.plans.outcomes import Running
from bascule_workers.ports.drills import DrillSpaces, Ending
from bascule_workers.ports.git import GitFiles
from bascule_workers.ports.logs import Logs
from bascule_workers.ports.secrets import Objects
from bascule_workers.ports.steps import Steps
from bascule_workers.ports.tenants import Tenants

LOOK_SECONDS = 15.0
"""How long the first look at what was applied takes, before people are told how it stands."""
LONG_LOOK_SECONDS = 60.0
GONE_SECONDS = 30.0
"""How long one call waits for a namespace to be gone."""
GONE_POLL_SECONDS = 1.0
"""Between two looks of the first call: people wait for it, and most namespaces are gone within seconds."""
LONG_POLL_SECONDS = 5.0
AGAIN_SECONDS = 2
RECLAIM_SECONDS = 120
"""How long a namespace's volumes may outlive it before they are told as left."""


@dataclass(frozen=True)
class DrillEnvironmentPorts:
    """What a drill's environment needs of the world."""

    spaces: DrillSpaces
    objects: Objects
    git: GitFiles
    settings: SpaceSettings
    steps: Steps
    tenants: Tenants
    logs: Logs
    job_settings: JobSettings


class DrillEnvironmentActivities(DrillEnvironments):
    """One method per step; each may die before or after its effect and be repeated."""

    def __init__(self, ports: DrillEnvironmentPorts) -> None:
        self._ports = ports
        self._jobs = JobRunner.of(ports)

    # Planning

    @activity.defn(name="dr_drill.plan")
    async def plan(self, request: PlanDrillRequest) -> Done[DrillPlan] | NotYet:
        """Fetch and validate the manifests, once; what a run planned it keeps to its end."""
        if wrong := problems(request.probes):
            raise PlanRefusedError("; ".join(wrong))
        kept = await self._kept(request)
        if kept is None:
            files, revision = await self._files(request)
            reserved = drill_spaces.reserved_names(self._ports.settings)
            loaded = await asyncio.to_thread(manifests.load, files, reserved) if files else []
            copy = drill_plans.copy_of(request.run, request.tenant, loaded, revision)
            await self._ports.objects.create([copy])
            # What is there counts, whoever made it first.
            kept = await self._kept(request) or copy
        return Done(value=drill_plans.plan_of(kept, request.procedures, request.order))

    async def _kept(self, request: DrillRequest) -> Mapping[str, Any] | None:
        return await self._ports.objects.config_map(
            request.tenant.steps_namespace, credentials.source_name(request.run)
        )

    async def _files(self, request: PlanDrillRequest) -> tuple[dict[str, bytes], str]:
        """The files, and the revision that they are of. Raises SourceNotFoundError and the like."""
        wanted = request.manifests
        if wanted is None:
            return {}, ""
        if wanted.git is not None:
            login = wanted.git.secret_ref is not None
            own = await run_credentials(self._ports.objects, request, wanted=login)
            commit = await self._ports.git.resolve(wanted.git.url, wanted.git.revision, own.git())
            files = await self._ports.git.files(
                wanted.git.url, commit, wanted.git.path, own.git(), drill_plans.FILE_LIMITS
            )
            return files, commit
        name = wanted.config_map.name if wanted.config_map else ""
        original = await self._ports.objects.config_map(request.run.namespace, name)
        if original is None:
            raise SourceNotFoundError(
                f"spec.environment.manifests.configMap names the ConfigMap {request.run.namespace}/{name}, "
                "which does not exist"
            )
        return drill_plans.files_of(original), credentials.config_map_digest(original)

    # The environment

    @activity.defn(name="dr_drill.provision")
    async def provision(self, request: ProvisionRequest) -> Done[Moment] | NotYet:
        """The drill's namespace with all that the platform puts into it."""
        settings = self._ports.settings
        ca: Mapping[str, Any] | None = None
        if settings.ca_config_map:
            ca = await self._ports.objects.config_map(request.tenant.steps_namespace, settings.ca_config_map)
        data = {key: value for key, value in ((ca or {}).get("data") or {}).items() if key == CA_KEY}
        objects = drill_spaces.objects(request, settings, data)
        made = await self._ports.spaces.ensure(request.namespace, objects, drill_spaces.run_label(request.run))
        if made.waits_for:
            return NotYet(reason=shortened(made.waits_for), again_after=1)
        return Done(value=Moment(at=made.at))

    @activity.defn(name="dr_drill.apply")
    async def apply(self, request: ApplyRequest) -> Done[Applied] | NotYet:
        """Apply a stage of the manifests, and wait until all of it is ready."""
        kept = await self._kept(request)
        if kept is None:
            raise EnvironmentFailedError("the run's copy of the manifests is gone: ask for a new run")
        late = request.stage is ApplyStage.AFTER_RESTORE
        objects = drill_plans.stage_of(kept, drill_spaces.run_label(request.run), request.namespace, late=late)
        if request.cursor != drill_plans.APPLIED:
            await self._ports.spaces.apply(request.namespace, objects)
        return await self._until_ready(request, objects)

    async def _until_ready(self, request: ApplyRequest, objects: list[manifests.Manifest]) -> Done[Applied] | NotYet:
        loop = asyncio.get_running_loop()
        look = LOOK_SECONDS if not request.cursor else LONG_LOOK_SECONDS
        until = loop.time() + min(look, max(1.0, request.since + request.timeout_seconds - time.time()))
        while True:
            found = await self._ports.spaces.standing(request.namespace, objects)
            if all(standing.ready for standing in found):
                return Done(value=Applied(objects=len(found), at=max((item.at for item in found), default=0)))
            if failed := [standing for standing in found if standing.failed]:
                raise EnvironmentFailedError(drill_plans.unready(failed))
            if (left := until - loop.time()) <= 0:
                return self._not_ready(request, found)
            await self._ports.spaces.until_changed(request.namespace, left)

    def _not_ready(self, request: ApplyRequest, found: list[Standing]) -> NotYet:
        told = drill_plans.unready(found)
        if time.time() >= request.since + request.timeout_seconds:
            raise EnvironmentFailedError(f"not ready within {request.timeout_seconds} s: {told}")
        return NotYet(reason=told, waits_for=WaitKind.CHECK, subject=request.step, cursor=drill_plans.APPLIED)

    @activity.defn(name="dr_drill.isolated")
    async def isolated(self, request: IsolationRequest) -> Done[IsolationReport] | NotYet:
        """Have two pods try the same connection out of the namespace. Raises JobLostError."""
        found = await asyncio.gather(*(self._canary(request, may=may) for may in (True, False)))
        reports = [one for one in found if isinstance(one, Seen)]
        if len(reports) == len(found):
            return Done(value=canaries.verdict(*reports))
        told = next(one for one in found if isinstance(one, str))
        return NotYet(reason=told or "two pods try to get out of the namespace")

    async def _canary(self, request: IsolationRequest, *, may: bool) -> Seen | str:
        """What a canary saw; or what is in its way while it goes on."""
        job, traits = canaries.job(request, self._ports.job_settings, may=may)
        outcome = await self._jobs.run(job, FailureType.STEP_FAILED, traits, LONG_LOOK_SECONDS)
        if isinstance(outcome, Running):
            return outcome.note
        ended, _ = outcome
        report = canaries.seen(ended.results, ended.message, ended.finished)
        if report is None:
            raise JobLostError("a canary's pod was gone before it could be asked what it saw")
        return report

    # The end

    @activity.defn(name="dr_drill.teardown")
    async def teardown(self, request: TeardownRequest) -> Done[TornDown] | NotYet:
        """Delete the namespace, wait until it is gone, and count what there was and is."""
        spaces, run = self._ports.spaces, drill_spaces.run_label(request.run)
        if not request.cursor:
            counted = await spaces.count(request.namespace, run)
            if not counted.kinds.get("Namespace"):
                return Done(value=drill_plans.torn_down(drill_plans.Before({}), counted, 0, int(time.time())))
            # Kept before anything is deleted: with the namespace go the rights to look into it.
            before = drill_plans.Before(dict(counted.kinds), list(counted.held))
            return NotYet(reason="counted what there is", cursor=before.to_text(0))
        before = drill_plans.Before.of(request.cursor)
        ending = await self._gone(request, run, LONG_POLL_SECONDS if before.deleted else GONE_POLL_SECONDS)
        deleted = ending.deleted or before.deleted
        # The deletion's time is the API server's: its clock may be ahead of ours.
        now = max(deleted, int(time.time()))
        if not ending.gone:
            reason = drill_plans.held(request.namespace, ending.held_by, before.held)
            return NotYet(reason=reason, cursor=before.to_text(deleted), again_after=AGAIN_SECONDS)
        after = await spaces.count(request.namespace, run)
        done = drill_plans.torn_down(before, after, deleted, now)
        if done.items and now < deleted + RECLAIM_SECONDS:
            reason = shortened(f"the namespace is gone, and not yet {', '.join(done.items)}")
            return NotYet(reason=reason, cursor=before.to_text(deleted), again_after=AGAIN_SECONDS)
        return Done(value=done)

    async def _gone(self, request: TeardownRequest, run: str, pause: float) -> Ending:
        """Ask for the deletion, and look at every `pause` seconds until it is over or the time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GONE_SECONDS
        deleted = 0
        while True:
            ending = await self._ports.spaces.delete(request.namespace, run)
            deleted = deleted or ending.deleted
            if ending.gone or loop.time() >= deadline:
                return Ending(ending.gone, ending.held_by, deleted)
            await asyncio.sleep(pause)
