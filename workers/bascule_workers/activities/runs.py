"""What a run of any kind begins and ends with: pinning what it needs, stopping its Jobs, releasing its copies."""

from __future__ import annotations

from temporalio import activity

from bascule_api import names
from bascule_workers.activities.common import WAIT_SECONDS
from bascule_workers.errors import SecretMissingError
from bascule_workers.messages import Done, Left, NotYet, PrepareRequest, SecretUse, StepRequest, StopJobsRequest
from bascule_workers.plans import credentials, failures
from bascule_workers.ports.secrets import Objects
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
            values |= await self._usable(request.run.namespace, use)
        return values

    async def _usable(self, namespace: str, use: SecretUse) -> dict[str, str]:
        secret = await self._objects.secret(namespace, use.name)
        if secret is None:
            raise SecretMissingError(f"{use.field} names the Secret {namespace}/{use.name}, which does not exist")
        return credentials.checked(use, namespace, secret)

    @activity.defn(name="run.stop_jobs")
    async def stop_jobs(self, request: StopJobsRequest) -> Done[Left] | NotYet:
        """Delete the run's Jobs that are not over, and wait until nothing of them runs."""
        remaining = await self._steps.stop(
            request.tenant.steps_namespace,
            names.run_label(request.run.uid, request.run.number),
            finished_too=request.finished_too,
            limit_seconds=WAIT_SECONDS / 4,
        )
        if remaining:
            return NotYet(reason=f"waiting for {failures.listed(remaining)} to stop")
        return Done(value=Left())

    @activity.defn(name="run.release")
    async def release(self, request: StepRequest) -> Done[Left] | NotYet:
        """Delete the run's copies of Secrets and source."""
        namespace = request.tenant.steps_namespace
        await self._objects.delete("Secret", namespace, credentials.pull_secret_name(request.run))
        await self._objects.delete("ConfigMap", namespace, credentials.source_name(request.run))
        # Last: while it exists, the other counterweights can still log in.
        await self._objects.delete("Secret", namespace, credentials.credentials_name(request.run))
        return Done(value=Left())
