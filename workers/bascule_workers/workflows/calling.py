"""What every workflow does: it calls activities, tells how things stand, and brings what it began to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from bascule_workers.messages import Done, Left, NotYet, StepRequest
    from bascule_workers.plans.progress import StepRecord
    from bascule_workers.workflows.reporting import Reporting
    from bascule_workers.workflows.trouble import BugError

T = TypeVar("T")
R = TypeVar("R", bound=StepRequest)
Activity = Callable[[Any, R], Awaitable[Done[T] | NotYet]]

ACTIVITY_TIMEOUT = timedelta(minutes=10)
HEARTBEAT_TIMEOUT = timedelta(seconds=10)


class Calling:
    """The base of every workflow: runs and what takes them back after their end."""

    kind: ClassVar[str]
    steps: dict[str, StepRecord]

    def __init__(self, uid: str) -> None:
        self.steps = {}
        self.quiet = False
        """Whether what changes is told at the end only."""
        self._reporting = Reporting(self.kind, uid)
        self.bug: Exception | None = None
        """What ended something that should have gone on beside the story."""

    def now(self) -> int:
        return int(workflow.time())

    def touch(self) -> None:
        """Something changed that people may want to see."""
        self._reporting.changed = self._reporting.changed or not self.quiet

    async def call(self, activity: Activity[R, T], request: R) -> Done[T] | NotYet:
        """One attempt of an activity."""
        return await workflow.execute_activity_method(
            activity,
            request,
            start_to_close_timeout=ACTIVITY_TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            retry_policy=RetryPolicy(maximum_attempts=1),
            summary=request.step,
        )

    async def take_back(self, activity: Activity[Any, Left] | None, request: StepRequest) -> Done[Left] | NotYet:
        """One attempt of a counterweight."""
        if activity is None:
            raise NotImplementedError(f"{self.kind} has no counterweight that it carries out by itself")
        return await self.call(activity, request)

    async def finished(self, work: asyncio.Task[None]) -> None:
        """Wait for what has to come to its end. A cancellation meanwhile changes nothing."""
        while not work.done():
            try:
                await self.until(work.done)
            except asyncio.CancelledError:
                continue
        await work

    def beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have something go on beside the story, until it is cancelled. A bug in it is one in the story: the workflow
        task fails, where it would otherwise just stop unnoticed.
        """

        async def noticed() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - raised by whatever the story waits for
                self.bug = error

        return asyncio.create_task(noticed())

    async def until(self, holds: Callable[[], bool], limit: timedelta | None = None) -> None:
        """Wait for something in the story. Raises BugError when what goes on beside it ended, and TimeoutError."""
        await workflow.wait_condition(lambda: self.bug is not None or holds(), timeout=limit)
        if self.bug is not None:
            raise BugError(f"{type(self.bug).__name__}: {self.bug}") from self.bug

    def undone(self, name: str) -> None:
        """A counterweight has done its work, with nothing left."""
