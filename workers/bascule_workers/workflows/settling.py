"""Running the counterweights at the end of a run, each until it is done or the deadline has passed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from bascule_api.conditions import CompensationState, StepState
    from bascule_api.progress import CompensationProgress
    from bascule_api.runs import CompensationStatus
    from bascule_workers.messages import Done, Left
    from bascule_workers.plans import failures
    from bascule_workers.workflows.saga import Counterweight, Saga
    from bascule_workers.workflows.trouble import trouble_of

if TYPE_CHECKING:
    from bascule_workers.workflows.run import Run

LEFT_LIMIT = 50


class Settling:
    """How taking back stands. After a success only releases run, and nothing counts as compensated."""

    def __init__(self, timeout_seconds: int) -> None:
        self._timeout = timeout_seconds
        self.state = CompensationState.NOTHING_TO_DO
        self.message = ""
        self._completed = 0
        self._total = 0
        self._last_error = ""
        self._deadline: int | None = None
        self._left: list[str] = []

    async def run(self, run: Run, saga: Saga, *, succeeded: bool) -> None:
        """Run what is due, in reverse order. Past the deadline each is still tried once."""
        due = saga.due(succeeded=succeeded)
        effects = any(entry.step for entry in due)
        self._total = len(due)
        self._deadline = run.now() + self._timeout
        if effects and not succeeded:
            self.state = CompensationState.RUNNING
        # After a success nobody waits for the releases: unless one is in trouble, the run's end tells of them.
        run.quiet = succeeded
        for entry in due:
            await self._take_back(run, entry, succeeded=succeeded)
        self.message = ""
        self.state = self._end_state(effects=effects and not succeeded)
        run.touch()

    async def _take_back(self, run: Run, entry: Counterweight, *, succeeded: bool) -> None:
        errors = 0
        request = entry.request.model_copy(update={"compensating": True})
        while True:
            if not run.quiet:
                self.message = entry.name + (f": {self._last_error}" if errors else "")
                run.touch()
            try:
                report = await run.call(entry.activity, request)
            except ActivityError as error:
                errors += 1
                run.quiet = False
                trouble = trouble_of(error)
                self._last_error = failures.shortened(f"{entry.name}: {trouble.message}", 1024)
                request = request.model_copy(update=trouble.next_attempt(request.job_attempt))
                if self._is_late(run):
                    self._left.append(failures.shortened(f"{entry.name}: {self._last_error}"))
                    return
                await workflow.sleep(self._wait(run, failures.backoff(errors)))
                continue
            if isinstance(report, Done):
                self._done(run, entry, report.value, succeeded=succeeded)
                return
            run.quiet = False
            if self._is_late(run):
                self._left.append(failures.shortened(f"{entry.name}: {report.reason}"))
                return
            request = request.model_copy(update={"note": report.reason or "running"})
            await workflow.sleep(self._wait(run, max(1, report.again_after)))

    def _done(self, run: Run, entry: Counterweight, left: Left, *, succeeded: bool) -> None:
        self._completed += 1
        self._left += left.items
        record = run.steps.get(entry.step)
        if record and record.state == StepState.SUCCEEDED and not left.items and not succeeded:
            record.state = StepState.UNDONE
        if not left.items:
            run.undone(entry.name)
        run.touch()

    def _is_late(self, run: Run) -> bool:
        return self._deadline is not None and run.now() >= self._deadline

    def _wait(self, run: Run, seconds: float) -> float:
        """At most until the deadline: then comes the last attempt."""
        return min(seconds, max(1.0, (self._deadline or 0) - run.now()))

    def _end_state(self, *, effects: bool) -> CompensationState:
        if self._left:
            return CompensationState.FAILED
        return CompensationState.SUCCEEDED if effects else CompensationState.NOTHING_TO_DO

    def progress(self) -> CompensationProgress | None:
        """For the progress; None while nothing is taken back."""
        if self.state == CompensationState.NOTHING_TO_DO:
            return None
        return CompensationProgress(
            state=self.state,
            completed=self._completed,
            total=self._total,
            last_error=self._last_error,
            deadline=self._deadline,
            left=self._left[:LEFT_LIMIT],
        )

    def status(self) -> CompensationStatus:
        """For the result."""
        running = self.state != CompensationState.NOTHING_TO_DO
        return CompensationStatus(
            state=self.state,
            attempt=1 if running else 0,
            completed=self._completed if running else 0,
            total=self._total if running else 0,
            last_error=self._last_error if self._left else "",
            deadline=datetime.fromtimestamp(self._deadline, UTC) if running and self._deadline else None,
            left=[item[:256] for item in self._left[:LEFT_LIMIT]],
        )
