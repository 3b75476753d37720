"""What activities of every kind share: carrying out a Job step, reading a run's own credentials."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from bascule_api.failures import FailureType
from bascule_api.progress import RunIdentity
from bascule_workers.activities.logs import Kept, LogKeeper, Secrets
from bascule_workers.errors import JobLostError, SecretMissingError, StepFailedError, StepTimedOutError, WorkerError
from bascule_workers.messages import ProcedureRequest, StepRequest
from bascule_workers.plans import credentials, failures, outcomes
from bascule_workers.plans.credentials import RunCredentials
from bascule_workers.plans.jobs import PLAIN, PREPARE, JobSettings, JobTraits, job_name, render_job
from bascule_workers.plans.outcomes import NO_POD, Failed, Lost, Running, Succeeded, TimedOut
from bascule_workers.ports.logs import Logs
from bascule_workers.ports.secrets import Objects
from bascule_workers.ports.steps import Steps
from bascule_workers.ports.tenants import Tenants

LOG_LINES = 1000
"""Lines of a failed step's log that are looked at for its end, where whole logs are not kept."""
WAIT_SECONDS = 240.0
"""How long one activity waits for a Job before it says NotYet."""
PODLESS_SECONDS = 60.0
"""How long what takes back goes on waiting for a pod that is refused: what follows it must not wait behind it."""


async def run_credentials(objects: Objects, request: StepRequest, *, wanted: bool) -> RunCredentials:
    """The content of the run's own Secret; nothing where none is wanted."""
    if not wanted:
        return RunCredentials()
    return await _own_secret(objects, request, credentials.credentials_name(request.run), request.run)


async def registry_credentials(objects: Objects, request: StepRequest, *, wanted: bool) -> RunCredentials:
    """The registry's login alone: for steps that must not see the signing key."""
    if not wanted:
        return RunCredentials()
    pull = await _own_secret(objects, request, credentials.pull_secret_name(request.run), request.run)
    return RunCredentials({credentials.REGISTRY_KEY: pull.values[credentials.DOCKER_CONFIG]})


async def _own_secret(objects: Objects, request: StepRequest, name: str, run: RunIdentity) -> RunCredentials:
    secret = await objects.secret(request.tenant.steps_namespace, name)
    if secret is None:
        raise SecretMissingError(f"the copy of the run's Secrets, {request.tenant.steps_namespace}/{name}, is gone")
    return credentials.decoded_secret(secret)


class JobPorts(Protocol):
    """What carrying out steps as Jobs needs of the world."""

    @property
    def steps(self) -> Steps: ...
    @property
    def objects(self) -> Objects: ...
    @property
    def tenants(self) -> Tenants: ...
    @property
    def logs(self) -> Logs: ...
    @property
    def job_settings(self) -> JobSettings: ...


class JobRunner:
    """Carries out steps as Jobs and turns what comes back into an answer or an error for people."""

    @classmethod
    def of(cls, ports: JobPorts) -> JobRunner:
        """One that keeps logs where the ports say."""
        logs = LogKeeper(ports.steps, ports.tenants, ports.logs)
        return cls(ports.steps, ports.objects, ports.job_settings, logs)

    def __init__(self, steps: Steps, objects: Objects, settings: JobSettings, logs: LogKeeper) -> None:
        self._steps = steps
        self._objects = objects
        self._settings = settings
        self._logs = logs

    async def run(
        self,
        request: ProcedureRequest,
        failure: FailureType,
        traits: JobTraits = PLAIN,
        limit_seconds: float = WAIT_SECONDS,
        reads: Collection[str] = (),
    ) -> Running | tuple[Succeeded, Kept]:
        """Carry out the step, and keep its log.

        `reads`: results that decide what follows. A Job that ended well and whose pod is gone counts as lost if its
        Procedure declares one of them, since nobody knows what it was.

        Raises StepFailedError of the type `failure`, StepTimedOutError, JobLostError.
        """
        job = render_job(request, self._settings, traits)
        name = job_name(request, traits)
        refused = request.note.startswith(NO_POD)
        if request.compensating and refused:
            limit_seconds = min(limit_seconds, PODLESS_SECONDS)
        outcome = await self._steps.run(job, known_note=request.note, limit_seconds=limit_seconds)

        async def secrets() -> list[str]:
            return await self._secrets(request, traits)

        match outcome:
            case Running() if request.compensating and refused and outcome.note.startswith(NO_POD):
                raise StepFailedError(outcome.note)
            case Running():
                return outcome
            case Succeeded() if names := _untold(request, outcome, reads):
                raise _forgotten(request, names)
            case Succeeded():
                return outcome, await self._logs.keep(request, name, outcome.pod, secrets)
            case TimedOut():
                lines = await self._last_lines(request, outcome.pod, outcome.container, secrets)
                late = StepTimedOutError(_joined(_too_long(request), lines))
                raise await self._with_log(late, request, name, outcome, secrets)
            case Lost():
                raise _lost(request, outcome)
            case Failed():
                error = await self._failed(request, outcome, failure, secrets)
                raise await self._with_log(error, request, name, outcome, secrets)

    async def _with_log(
        self, error: WorkerError, request: ProcedureRequest, job: str, outcome: Failed | TimedOut, secrets: Secrets
    ) -> WorkerError:
        """The error, which says where the whole log is, or why it is not kept; then it carries the log's end."""
        pod, container = outcome.pod, outcome.container
        kept = await self._logs.keep(request, job, pod, secrets)
        error.log = kept.digest
        if kept.nowhere and pod and container:
            log = await self._steps.log_tail(request.job_namespace, pod, container, LOG_LINES)
            whole = len(log.splitlines()) < LOG_LINES
            error.log_end = failures.log_end(failures.redacted(log, await secrets()), whole=whole)
        if kept.note:
            error.args = (_joined(str(error), kept.note),)
        return error

    async def _failed(
        self, request: ProcedureRequest, failed: Failed, failure: FailureType, secrets: Secrets
    ) -> StepFailedError:
        retry = request.procedure.spec.retry
        codes = retry.non_retryable_exit_codes
        prepared = failed.container == PREPARE
        repeatable = failed.retryable or (not prepared and bool(codes) and failed.exit_code not in codes)
        # What cannot even start is the platform's failure, not the build's or the test's.
        kind = failed.kind or (failure if failed.exit_code is not None and not prepared else FailureType.STEP_FAILED)
        values = await secrets()
        lines = "" if failed.kind else await self._last_lines(request, failed.pod, failed.container, secrets)
        message = _joined(failures.redacted(outcomes.story(failed), values), lines)
        error = StepFailedError(message, kind, retryable=repeatable and request.job_attempt < retry.attempts)
        error.abrupt = failed.abrupt
        error.results = {name: failures.redacted(value, values) for name, value in failed.results.items()}
        return error

    async def _last_lines(self, request: ProcedureRequest, pod: str, container: str, secrets: Secrets) -> str:
        if not (pod and container):
            return ""
        log = await self._steps.log_tail(request.job_namespace, pod, container)
        return failures.excerpt(failures.redacted(log, await secrets()))

    async def _secrets(self, request: ProcedureRequest, traits: JobTraits) -> list[str]:
        """Every value that must not be shown of what the step was given."""
        own = (request.tenant.steps_namespace, credentials.credentials_name(request.run))
        places = [own, *((request.job_namespace, name) for name in traits.secrets)]
        found = [await self._objects.secret(namespace, name) for namespace, name in places]
        return [value for secret in found if secret for value in credentials.decoded_secret(secret).secrets()]


def _too_long(request: ProcedureRequest) -> str:
    told = f"took longer than {request.timeout_seconds} s"
    return f"{told}: {request.note}" if request.note.startswith(NO_POD) else told


def _lost(request: ProcedureRequest, lost: Lost) -> JobLostError | StepFailedError:
    if request.job_attempt < request.procedure.spec.retry.attempts:
        return JobLostError(lost.reason)
    error = StepFailedError(f"lost its pod {request.job_attempt} times, the last time since {lost.reason}")
    error.abrupt = True
    return error


def _untold(request: ProcedureRequest, ended: Succeeded, reads: Collection[str]) -> list[str]:
    return outcomes.untold(ended, [result.name for result in request.procedure.spec.results], reads)


def _forgotten(request: ProcedureRequest, names: list[str]) -> JobLostError | StepFailedError:
    error = _lost(request, Lost(f"its pod was gone before it could be asked for {' and '.join(names)}"))
    # It did come to its end by itself: nothing has to be looked for that ended it.
    error.abrupt = False
    return error


def _joined(message: str, lines: str) -> str:
    """Both within the limit; the message first."""
    text = f"{message}\n{lines}" if lines and lines not in message else message
    if len(text) <= failures.EXCERPT_LIMIT:
        return text
    kept = max(0, failures.EXCERPT_LIMIT - len(message) - 2)
    return f"{message}\n…{lines[-kept:]}" if kept else message[: failures.EXCERPT_LIMIT]
