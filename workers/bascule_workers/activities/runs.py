"""What a run of any kind begins and ends with: pinning what it needs, stopping its Jobs, releasing its copies."""

from __future__ import annotations

from temporalio import activity

from bascule_api import names
from bascule_workers.activities.common import WAIT_SECONDS
from bascule_workers.activities.logins import number, usable
from bascule_workers.messages import (
    Done,
    Earlier,
    Left,
    NotYet,
    PrepareRequest,
    ReleaseRequest,
    StopJobsRequest,
)
from bascule_workers.plans import credentials, failures
from bascule_workers.plans.credentials import RunCredentials
from bascule_workers.ports.secrets import Labelled, Objects
from bascule_workers.ports.steps import Steps


class RunActivities:
    """Activities that every workflow uses."""

    def __init__(self, objects: Objects, steps: Steps) -> None:
        self._objects = objects
        self._steps = steps

    @activity.defn(name="run.prepare")
    async def prepare(self, request: PrepareRequest) -> Done[Left] | NotYet:
        """Copy the Secrets that the spec names into the run's own; what was copied once stays as it is.

        Raises SecretMissingError, SecretNotUsableError.
        """
        name = credentials.credentials_name(request.run)
        own = await self._objects.secret(request.tenant.steps_namespace, name)
        values = dict(credentials.decoded_secret(own).values) if own else await self._collected(request)
        await self._objects.create(credentials.run_secrets(request.run, request.tenant, values))
        return Done(value=Left())

    async def _collected(self, request: PrepareRequest) -> dict[str, str]:
        values: dict[str, str] = {}
        for use in request.secrets:
            values |= await usable(self._objects, request.run.namespace, use)
        return values

    @activity.defn(name="run.stop_jobs")
    async def stop_jobs(self, request: StopJobsRequest) -> Done[Left] | NotYet:
        """Delete the run's Jobs that are not over, and wait until nothing of them runs."""
        stopped = await self._steps.stop(
            request.namespace or request.tenant.steps_namespace,
            names.run_label(request.run.uid, request.run.number),
            finished_too=request.finished_too,
            limit_seconds=WAIT_SECONDS / 4,
        )
        if stopped.remaining:
            return NotYet(reason=f"waiting for {failures.listed(stopped.remaining)} to stop")
        return Done(value=Left(found=stopped.found))

    @activity.defn(name="run.release")
    async def release(self, request: ReleaseRequest) -> Done[Left] | NotYet:
        """Delete the run's copies of Secrets and source, but for a login that may be needed to undo what stands."""
        namespace = request.tenant.steps_namespace
        await self._settle_kept(request)
        await self._objects.delete("Secret", namespace, credentials.pull_secret_name(request.run))
        await self._objects.delete("ConfigMap", namespace, credentials.source_name(request.run))
        # Last: while it exists, the other counterweights can still log in.
        await self._objects.delete("Secret", namespace, credentials.credentials_name(request.run))
        return Done(value=Left())

    @activity.defn(name="run.release_all")
    async def release_all(self, request: ReleaseRequest) -> Done[Left] | NotYet:
        """The same after the run's end: whatever carries its label goes, made by whichever of its steps."""
        label = names.run_label(request.run.uid, request.run.number)
        namespace = request.tenant.steps_namespace
        await self._settle_kept(request)
        found = await self._objects.labelled(namespace, names.LABEL_RUN, label)
        doomed = [item for item in found if not (request.keep and item.name == credentials.kept_name(request.run))]
        last = credentials.credentials_name(request.run)
        for item in sorted(doomed, key=lambda item: item.name == last):
            await self._objects.delete(item.kind, namespace, item.name)
        return Done(value=Left(found=len(doomed)))

    async def _settle_kept(self, request: ReleaseRequest) -> None:
        """Keep the registry's login if that is wanted, and delete what earlier runs kept of it."""
        namespace = request.tenant.steps_namespace
        earlier = await self._earlier(request)
        if request.keep:
            await self._keep(request, earlier)
        for item in earlier:
            await self._objects.delete(item.kind, namespace, item.name)

    async def _earlier(self, request: ReleaseRequest) -> list[Labelled]:
        if request.earlier == Earlier.NONE:
            return []
        namespace, own = request.tenant.steps_namespace, credentials.kept_name(request.run)
        found = await self._objects.labelled(namespace, names.LABEL_KEPT_FOR, request.run.uid)
        return [
            item
            for item in found
            if item.name != own
            and (request.earlier == Earlier.ALL or item.annotations.get(names.ANNOTATION_SECRET) == request.secret)
        ]

    async def _keep(self, request: ReleaseRequest, earlier: list[Labelled]) -> None:
        namespace = request.tenant.steps_namespace
        own = await self._objects.secret(namespace, credentials.credentials_name(request.run))
        held = credentials.decoded_secret(own) if own else RunCredentials()
        if not held.docker_config:
            return
        secrets = [await self._objects.secret(namespace, item.name) for item in sorted(earlier, key=number)]
        others = [credentials.decoded_secret(secret) for secret in secrets if secret is not None]
        copy = credentials.kept_copy(request.run, request.tenant, request.secret, held, others)
        await self._objects.create([copy])
