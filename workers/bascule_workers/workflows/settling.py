"""Running the counterweights at the end of a run, each until it is done or the deadline has passed."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from bascule_api.conditions import CompensationState, StepState
    from bascule_api.progress import CompensationProgress
    from bascule_api.runs import CompensationStatus
    from bascule_workers.messages import Done, Left
    from bascule_workers.plans import failures
    from bascule_workers.workflows.calling import Calling
    from bascule_workers.workflows.saga import Counterweight
    from bascule_workers.workflows.trouble import trouble_of

LEFT_LIMIT = 50


class Settling:
    """How taking back stands. Where nothing counts, as after a success, only trouble is told."""

    def __init__(self, timeout_seconds: int, attempt: int = 1) -> None:
        self._timeout = timeout_seconds
        self._attempt = attempt
        self.state = CompensationState.NOTHING_TO_DO
        self.message = ""
        self.found = 0
        """How much the counterweights took back."""
        self._completed = 0
        self._total = 0
        self._last_error = ""
        self._deadline: int | None = None
        self._left: list[str] = []
        self._failed: set[str] = set()
        self._counts = False

    def begin(self, run: Calling, due: list[Counterweight], *, counts: bool) -> None:
        """The deadline runs from now on. `counts`: whether this is a compensation, and not only tidying up."""
        self._total = len(due)
        self._deadline = run.now() + self._timeout
        self._counts = counts
        if counts:
            self.state = CompensationState.RUNNING
            run.touch()

    async def run(self, run: Calling, due: list[Counterweight]) -> None:
        """Run what is due, in this order. Past the deadline each is still tried once."""
        for entry in due:
            if failed := sorted(self._failed.intersection(entry.after)):
                self._give_up(entry, f"not before this is done: {failures.listed(failed)}")
            else:
                await self._take_back(run, entry)
        self.message = ""
        self.state = self._end_state()
        run.touch()

    async def _take_back(self, run: Calling, entry: Counterweight) -> None:
        errors = 0
        request = entry.request.model_copy(update={"compensating": True} | (dict(entry.if_left) if self._left else {}))
        while True:
            if not run.quiet:
                self.message = entry.name + (f": {self._last_error}" if errors else "")
                run.touch()
            try:
                report = await run.take_back(entry.activity, request)
            except ActivityError as error:
                errors += 1
                run.quiet = False
                trouble = trouble_of(error)
                self._last_error = failures.shortened(f"{entry.name}: {trouble.message}", 1024)
                request = request.model_copy(update=trouble.next_attempt(request.job_attempt))
                if self._is_late(run):
                    self._give_up(entry, trouble.message)
                    return
                await workflow.sleep(self._wait(run, failures.backoff(errors)))
                continue
            if isinstance(report, Done):
                self._done(run, entry, report.value)
                return
            run.quiet = False
            if self._is_late(run):
                self._give_up(entry, report.reason)
                return
            request = request.model_copy(update={"note": report.reason or "running", "cursor": report.cursor})
            await workflow.sleep(self._wait(run, max(1, report.again_after)))

    def _give_up(self, entry: Counterweight, why: str) -> None:
        self._failed.add(entry.name)
        self._left.append(failures.shortened(f"{entry.name}: {why}"))

    def _done(self, run: Calling, entry: Counterweight, left: Left) -> None:
        self._completed += 1
        self.found += left.found
        self._left += left.items
        record = run.steps.get(entry.step)
        if record and record.state == StepState.SUCCEEDED and not left.items and self._counts:
            record.state = StepState.UNDONE
        if not left.items:
            run.undone(entry.name)
        run.touch()

    def seconds_left(self, run: Calling) -> int:
        """Until the deadline; what begins after it still gets a minute."""
        return max(60, (self._deadline or 0) - run.now())

    def _is_late(self, run: Calling) -> bool:
        return self._deadline is not None and run.now() >= self._deadline

    def _wait(self, run: Calling, seconds: float) -> float:
        """At most until the deadline: then comes the last attempt."""
        return min(seconds, max(1.0, (self._deadline or 0) - run.now()))

    def _end_state(self) -> CompensationState:
        if self._left:
            return CompensationState.FAILED
        return CompensationState.SUCCEEDED if self._counts else CompensationState.NOTHING_TO_DO

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
            attempt=self._attempt if running else 0,
            completed=self._completed if running else 0,
            total=self._total if running else 0,
            last_error=self._last_error if self._left else "",
            deadline=datetime.fromtimestamp(self._deadline, UTC) if running and self._deadline else None,
            left=[item[:256] for item in self._left[:LEFT_LIMIT]],
        )
