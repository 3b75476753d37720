"""The one place where every activity is authorized, recorded, kept alive, and its errors become Temporal's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from bascule_api.failures import FailureType
from bascule_telemetry.logs import about
from bascule_workers import metrics
from bascule_workers.errors import PolicyDeniedError, WorkerError
from bascule_workers.messages import ErrorDetails, NotYet, StepRequest
from bascule_workers.ports.audit import Audit, Moment, Occurrence
from bascule_workers.ports.policy import Policy, Question

HEARTBEAT_SECONDS, SLOWEST_HEARTBEAT_SECONDS = 1.0, 5.0
LIVE_PER_SECOND = 50
"""Heartbeats of one worker a second, from where on each activity's become rarer. Each is a write of Temporal's."""

logger = logging.getLogger(__name__)


class StepInterceptor(Interceptor):
    """Wraps every activity of a tenant's worker."""

    def __init__(self, tenant: str, policy: Policy, audit: Audit) -> None:
        self._tenant = tenant
        self._policy = policy
        self._audit = audit
        self._pulse = Pulse()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - Temporal's name
        return _Inbound(next, self._tenant, self._policy, self._audit, self._pulse)


class _Inbound(ActivityInboundInterceptor):
    def __init__(
        self, following: ActivityInboundInterceptor, tenant: str, policy: Policy, audit: Audit, pulse: Pulse
    ) -> None:
        super().__init__(following)
        self._tenant = tenant
        self._policy = policy
        self._audit = audit
        self._pulse = pulse

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - Temporal's name
        info, request = activity.info(), _request(input)
        run = request.run
        concerning = about(
            resource=f"{run.kind}/{run.namespace}/{run.name}",
            uid=run.uid,
            tenant=self._tenant,
            workflow=info.workflow_id,
            run=run.number,
            step=request.step,
            action=info.activity_type,
            attempt=info.attempt,
        )
        try:
            with concerning, metrics.measured(info.activity_type):
                async with self._pulse.heartbeating():
                    return await self._recorded(input, request)
        except WorkerError as error:
            raise _translated(error) from None

    async def _recorded(self, execution: ExecuteActivityInput, request: StepRequest) -> Any:
        """Execute if policy says so, with an audit event before and after."""
        await self._authorize(request)
        self._record(Moment.STARTED, request, activity.info().started_time)
        try:
            answer = await self.next.execute_activity(execution)
        except asyncio.CancelledError:
            self._record(Moment.CANCELLED, request, datetime.now(UTC))
            details = activity.cancellation_details()
            if details is not None and details.worker_shutdown:
                # Nobody cancelled the run: another worker takes the step up.
                raise ApplicationError("its worker shut down", type=FailureType.STEP_FAILED) from None
            raise
        except Exception as error:
            kind = error.type if isinstance(error, WorkerError) else FailureType.INTERNAL
            self._record(Moment.FAILED, request, datetime.now(UTC), kind)
            if not isinstance(error, WorkerError):
                logger.exception("an activity failed by a bug of ours, or of its surroundings")
            raise
        self._record(Moment.WAITING if isinstance(answer, NotYet) else Moment.SUCCEEDED, request, datetime.now(UTC))
        return answer

    async def _authorize(self, request: StepRequest) -> None:
        try:
            await self._policy.authorize(Question(self._tenant, activity.info().activity_type, request))
        except PolicyDeniedError:
            self._record(Moment.FAILED, request, datetime.now(UTC), FailureType.POLICY_DENIED)
            raise
        except Exception as error:
            # No answer is a no, but one that may change.
            logger.exception("policy did not answer")
            raise ApplicationError(
                "the policy decision point does not answer", type=FailureType.POLICY_DENIED
            ) from error

    def _record(self, moment: Moment, request: StepRequest, at: datetime, outcome: str = "") -> None:
        info = activity.info()
        run = (info.workflow_id or "", info.workflow_run_id or "")
        key = (info.namespace, *run, info.activity_id, str(info.attempt))
        self._audit.record(Occurrence(moment, info.activity_type, request, key, at, outcome))


def _request(execution: ExecuteActivityInput) -> StepRequest:
    """The step that is asked for; anything else is nobody's, and refused."""
    if len(execution.args) == 1 and isinstance(execution.args[0], StepRequest):
        return execution.args[0]
    raise PolicyDeniedError(f"{activity.info().activity_type} was called without saying for which run")


def _translated(error: WorkerError) -> ApplicationError:
    details = ErrorDetails(new_job=error.new_job, log=error.log, log_end=error.log_end, results=dict(error.results))
    return ApplicationError(str(error), details, type=error.type, non_retryable=not error.retryable)


class Pulse:
    """Heartbeats in the background: so that a cancellation arrives, and a dead worker is noticed."""

    def __init__(self) -> None:
        self._live = 0

    @property
    def seconds(self) -> float:
        """Between two heartbeats of one activity: the more are live, the more, well below the heartbeat timeout."""
        return min(SLOWEST_HEARTBEAT_SECONDS, max(HEARTBEAT_SECONDS, self._live / LIVE_PER_SECOND))

    @asynccontextmanager
    async def heartbeating(self) -> AsyncIterator[None]:
        """Heartbeat for as long as the block."""
        task = asyncio.create_task(self._beat())
        self._live += 1
        try:
            yield
        finally:
            self._live -= 1
            task.cancel()

    async def _beat(self) -> None:
        while True:
            # Most activities are over before: they cost Temporal no write but their end.
            await asyncio.sleep(self.seconds)
            activity.heartbeat()
