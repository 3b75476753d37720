"""How a drill's data come back: by a Procedure in the drill's namespace, or by Velero."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from temporalio import activity

from bascule_api import names
from bascule_api.conditions import WaitKind
from bascule_api.failures import FailureType
from bascule_api.procedures import Use
from bascule_workers.activities.common import WAIT_SECONDS, JobRunner, run_credentials
from bascule_workers.activities.dr_drills import DrillRestores
from bascule_workers.dr_drills import DrillRequest, RemoveVeleroRequest, Restored, RestoreRequest, VeleroRequest
from bascule_workers.errors import SecretMissingError, StepFailedError, WorkerError
from bascule_workers.messages import Done, Left, NotYet
from bascule_workers.plans import drill_jobs, failures, velero
from bascule_workers.plans.jobs import JobSettings
from bascule_workers.plans.outcomes import Running, Succeeded
from bascule_workers.plans.velero import RestoreStanding
from bascule_workers.ports.logs import Logs
from bascule_workers.ports.secrets import Objects
from bascule_workers.ports.steps import Steps
from bascule_workers.ports.tenants import Tenants
from bascule_workers.ports.velero import Velero


@dataclass(frozen=True)
class DrillPorts:
    """What restores and probes of drills need."""

    steps: Steps
    objects: Objects
    tenants: Tenants
    logs: Logs
    job_settings: JobSettings
    velero: Velero


class DrillRestoreActivities(DrillRestores):
    """Each may die before or after its effect and be repeated."""

    def __init__(
        self, ports: DrillPorts, wait_seconds: float = WAIT_SECONDS, now: Callable[[], float] = time.time
    ) -> None:
        self._ports = ports
        self._wait_seconds = wait_seconds
        self._now = now
        self._jobs = JobRunner.of(ports)

    @activity.defn(name="dr_drill.restore")
    async def restore(self, request: RestoreRequest) -> Done[Restored] | NotYet:
        """Carry the Procedure out; the keys to the backup are in the drill's namespace only as long as it runs.

        Raises StepFailedError of the type RestoreFailed, or of that which the Procedure's result `failure` says;
        StepTimedOutError, JobLostError, SecretMissingError.
        """
        drill_jobs.checked(request, request.procedure, Use.DR_DRILL_RESTORE)
        await demand_environment_secret(self._ports.objects, request, request.environment_secret)
        await self._lend_keys(request)
        try:
            outcome = await self._jobs.run(
                request,
                FailureType.RESTORE_FAILED,
                drill_jobs.restore_traits(request),
                self._wait_seconds,
                reads=("recoveryPoint", "backup"),
            )
        except WorkerError as error:
            await self._take_keys_back(request)
            if named := _named_failure(error):
                raise _renamed(error, named) from error
            raise
        except asyncio.CancelledError:
            # The run is over, or this worker: who goes on with it lends them again. A namespace that is kept for people
            # to look at must not show them.
            await asyncio.shield(self._take_keys_back(request))
            raise
        if isinstance(outcome, Running):
            return NotYet(reason=outcome.note or "restoring")
        await self._take_keys_back(request)
        ended, log = outcome
        return Done(value=_restored(ended), log=log.digest, message=log.note)

    async def _lend_keys(self, request: RestoreRequest) -> None:
        """Copy the keys of the run's own Secret into the drill's namespace; what is copied stays as it is."""
        if not request.secret:
            return
        own = await run_credentials(self._ports.objects, request, wanted=True)
        await self._ports.objects.create([drill_jobs.backup_secret(request, own)])

    async def _take_keys_back(self, request: RestoreRequest) -> None:
        if request.secret:
            await self._ports.objects.delete("Secret", request.namespace, drill_jobs.backup_secret_name(request))

    # Velero

    @activity.defn(name="dr_drill.restore_by_velero")
    async def restore_by_velero(self, request: VeleroRequest) -> Done[Restored] | NotYet:
        """Have Velero restore, and watch it to its end.

        Raises StepFailedError of the types RestoreFailed, BackupNotFound, BackupForbidden.
        """
        name = velero.restore_name(request)
        standing = await self._ports.velero.standing(name)
        if standing is None:
            if request.note:
                raise StepFailedError(f"Velero's Restore {name} is gone", FailureType.RESTORE_FAILED)
            standing = await self._begin(request)
        left = request.since + request.timeout_seconds - self._now()
        if not standing.over and left > 0:
            wait = min(self._wait_seconds, left)
            standing = await self._ports.velero.standing(name, wait) or standing
        return self._answer(request, standing)

    async def _begin(self, request: VeleroRequest) -> RestoreStanding:
        """Choose the Backup and make the Restore of it."""
        wanted, port = request.velero, self._ports.velero
        if wanted.backup is not None:
            backup = await port.backup(wanted.backup)
        else:
            backup = await port.newest_backup(wanted.schedule or "")
        chosen = velero.checked(backup, wanted, request.tenant_namespaces)
        [source] = wanted.included_namespaces
        return await port.ensure(velero.render_restore(request, chosen, source))

    def _answer(self, request: VeleroRequest, standing: RestoreStanding) -> Done[Restored] | NotYet:
        if not standing.over:
            if self._now() >= request.since + request.timeout_seconds:
                told = f"took longer than {request.timeout_seconds} s: {velero.progress(standing)}"
                raise StepFailedError(told, FailureType.RESTORE_FAILED)
            return NotYet(reason=velero.progress(standing), waits_for=WaitKind.CHECK)
        if wrong := velero.failure(standing):
            raise StepFailedError(wrong, FailureType.RESTORE_FAILED)
        restored = Restored(
            recovery_point=standing.recovery_point,
            started=standing.started,
            finished=standing.finished,
            backup=standing.backup,
            message=velero.progress(standing),
        )
        return Done(value=restored)

    @activity.defn(name="dr_drill.remove_velero")
    async def remove_velero(self, request: RemoveVeleroRequest) -> Done[Left] | NotYet:
        """Delete the run's Restores: as long as there is one, Velero may make the drill's namespace anew."""
        run = names.run_label(request.run.uid, request.run.number)
        if still := await self._ports.velero.delete(run):
            return NotYet(reason=f"waiting for Velero to let go of {failures.listed(still)}")
        return Done(value=Left())


async def demand_environment_secret(objects: Objects, request: DrillRequest, name: str) -> None:
    """Raises SecretMissingError for a Secret that is not there: the pod would wait for it without a word."""
    if name and await objects.secret(request.namespace, name) is None:
        raise SecretMissingError(
            f"the environmentSecret {name} is not in the drill's namespace: the manifests have to bring it"
        )


def _restored(ended: Succeeded) -> Restored:
    """What the Procedure claims; a time that is none is no recovery point, and people are told."""
    point, problem = drill_jobs.moment(ended.results, "recoveryPoint")
    return Restored(
        recovery_point=point,
        started=ended.started,
        finished=ended.finished,
        backup=ended.results.get("backup", "")[:256],
        message=failures.shortened("; ".join(part for part in (problem, ended.message) if part)),
    )


_MAY_SAY = (FailureType.BACKUP_NOT_FOUND, FailureType.BACKUP_FORBIDDEN, FailureType.RESTORE_FAILED)


def _named_failure(error: WorkerError) -> FailureType | None:
    """What the Procedure's result `failure` says that went wrong."""
    said = error.results.get("failure", "")
    return FailureType(said) if said in _MAY_SAY else None


def _renamed(error: WorkerError, kind: FailureType) -> StepFailedError:
    renamed = StepFailedError(str(error), kind, retryable=error.retryable)
    renamed.log, renamed.log_end, renamed.results = error.log, error.log_end, error.results
    return renamed
