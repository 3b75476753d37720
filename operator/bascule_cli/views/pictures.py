"""What a picture of a campaign shows, drawn from its status alone: the same for terminals, SVG and pages. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from bascule_api.conditions import CompensationState, ConditionType, Phase, WaitKind
from bascule_api.fleets import CELLS, TargetPhase, count_of
from bascule_api.patch_campaign_specs import FailureAction, PatchCampaignSpec, Wave
from bascule_api.patch_campaign_status import (
    FAILURES_LIMIT,
    IN_PROGRESS_LIMIT,
    PatchCampaignStatus,
    TargetsStatus,
    WaveState,
    WaveStatus,
)
from bascule_api.runs import CompensationStatus, WaitingFor
from bascule_cli.resources import Item
from bascule_cli.views.wording import Speech, moment, span

AT_WORK = frozenset(
    {
        TargetPhase.ACQUIRING,
        TargetPhase.CORDONING,
        TargetPhase.DRAINING,
        TargetPhase.PATCHING,
        TargetPhase.REBOOTING,
        TargetPhase.VERIFYING,
        TargetPhase.RELEASING,
        TargetPhase.ROLLING_BACK,
    }
)
"""Phases of targets that a run holds."""

_ACTIONS = {
    FailureAction.HALT: "halt",
    FailureAction.ROLLBACK_WAVE: "roll the wave back",
    FailureAction.ROLLBACK_ALL: "roll all back",
}
_ENDS = {WaitKind.SOAK: "over", WaitKind.WINDOW: "opens"}
_WAITS = {
    WaitKind.APPROVAL: "waits for an Approval",
    WaitKind.SOAK: "soaks",
    WaitKind.WINDOW: "waits for its window",
    WaitKind.CHECK: "asks its gate",
}


@dataclass(frozen=True)
class WavePicture:
    """One wave: a row of cells, and what is said of it."""

    name: str
    state: WaveState
    counts: str
    """`3 of 4 patched, 1 failed`."""
    took: str
    """How long it took, or has taken."""
    remark: str
    """What it waits for, or will ask for."""
    cells: tuple[TargetPhase, ...]
    per_cell: int = 1
    """About how many targets a cell stands for."""
    names: tuple[str, ...] = ()
    """The first targets, in the order of the cells; none where a cell stands for several."""


@dataclass(frozen=True)
class TargetLine:
    """A target that is named: being worked on, or failed."""

    name: str
    phase: TargetPhase
    since: str = ""
    says: str = ""


@dataclass(frozen=True)
class Wait:
    """What the run waits for, until when, and what can be typed."""

    kind: WaitKind
    gate: str
    since: str
    until: str
    detail: str
    subject: str = ""
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A campaign as it stands. Texts are as tenants wrote them: whoever draws cleans or escapes them."""

    title: str
    namespace: str
    phase: Phase | None
    run: str
    says: str
    summary: str
    """`12 of 40 patched (30 %), 1 failed`."""
    facts: tuple[tuple[str, str], ...]
    waves: tuple[WavePicture, ...]
    at_work: tuple[TargetLine, ...]
    more_at_work: int
    failures: tuple[TargetLine, ...]
    more_failures: int
    wait: Wait | None
    taking_back: tuple[tuple[str, str], ...]
    url: str
    drawn_at: datetime

    @property
    def shown(self) -> tuple[TargetPhase, ...]:
        """The phases that occur among the cells, in the order of the legend."""
        there = {cell for wave in self.waves for cell in wave.cells}
        return tuple(phase for phase in CELLS.values() if phase in there)

    @property
    def per_cell(self) -> int:
        return max((wave.per_cell for wave in self.waves), default=1)


def picture(item: Item, speech: Speech, now: datetime) -> Picture:
    """The picture of a PatchCampaign."""
    status, spec, says = _status(item), _spec(item), _says(item)
    targets = status.targets or TargetsStatus()
    at_work = tuple(
        TargetLine(target.name, target.phase, span(now - target.since) if target.since else "", target.message)
        for target in targets.in_progress
    )
    failures = tuple(
        TargetLine(failed.name, failed.phase, "rolled back" if failed.rolled_back else "", failed.message)
        for failed in targets.failures
    )
    waves = tuple(_waves(item, status, spec, now))
    return Picture(
        title=f"{item.kind.kind}/{item.name}",
        namespace=item.namespace,
        phase=status.phase,
        run=_run(status, now),
        says=says,
        summary=_summary(targets),
        facts=tuple(_facts(status, spec, targets, says)),
        waves=waves,
        at_work=at_work,
        more_at_work=_more(len(at_work), IN_PROGRESS_LIMIT, _cells_at_work(waves)),
        failures=failures,
        more_failures=_more(len(failures), FAILURES_LIMIT, targets.failed),
        wait=_wait(item, status.waiting_for, speech, now),
        taking_back=tuple(_taking_back(status.compensation, now)),
        url=status.run.url if status.run else "",
        drawn_at=now,
    )


def _says(item: Item) -> str:
    ready = item.condition(ConditionType.READY)
    return item.unreadable or (ready.message if ready and item.seen else "the operator has not looked at it yet")


def _status(item: Item) -> PatchCampaignStatus:
    try:
        return PatchCampaignStatus.model_validate(item.body.get("status") or {})
    except ValidationError:
        return PatchCampaignStatus.model_validate(item.status.model_dump(by_alias=True))


def _spec(item: Item) -> PatchCampaignSpec | None:
    """The spec, where this version understands it."""
    try:
        return PatchCampaignSpec.model_validate(item.spec)
    except ValidationError:
        return None


def _run(status: PatchCampaignStatus, now: datetime) -> str:
    run = status.run
    if run is None:
        return ""
    if run.started_at is None:
        return f"run {run.number}"
    if run.finished_at is not None:
        return f"run {run.number}, took {span(run.finished_at - run.started_at)}"
    return f"run {run.number}, for {span(now - run.started_at)}"


def _summary(targets: TargetsStatus) -> str:
    if not targets.total:
        return "no plan yet"
    share = 100 * targets.patched // targets.total
    rest = [
        f"{number} {word}"
        for number, word in (
            (targets.failed, "failed"),
            (targets.skipped, "skipped"),
            (targets.rolled_back, "rolled back"),
        )
        if number
    ]
    return ", ".join([f"{targets.patched} of {targets.total} patched ({share} %)", *rest])


def _facts(
    status: PatchCampaignStatus, spec: PatchCampaignSpec | None, targets: TargetsStatus, says: str
) -> Iterable[tuple[str, str]]:
    if spec is not None:
        rollback = f", taken back by {spec.rollback.procedure}" if spec.rollback else ", which nothing takes back"
        yield "patch", f"{spec.patch.procedure}{rollback}"
        policy = spec.failure_policy
        allowed = count_of(policy.max_failures, targets.total) if targets.total else policy.max_failures
        when = "at the first failure" if allowed in (0, "0%") else f"when more than {allowed} fail"
        yield "stops", f"{when}: then {_ACTIONS[policy.action]}"
        if spec.windows:
            yield "windows", "; ".join(_window(spec))
    if status.plan is not None:
        yield "plan", status.plan.digest
    if status.failure is not None and status.failure.message not in says:
        yield "failed", f"{status.failure.type}: {status.failure.message}"


def _window(spec: PatchCampaignSpec) -> Iterable[str]:
    for window in spec.windows:
        days = " ".join(window.days) or "every day"
        yield f"{days} {window.start}-{window.end} {window.time_zone}"


def _waves(
    item: Item, status: PatchCampaignStatus, spec: PatchCampaignSpec | None, now: datetime
) -> Iterable[WavePicture]:
    """Those of the status; before there is a plan, those of the spec."""
    wanted = {wave.name: wave for wave in spec.waves} if spec else {}
    if not status.waves:
        for wave in wanted.values():
            yield WavePicture(wave.name, WaveState.PENDING, _size(wave), "", _asks(wave), ())
        return
    for found in status.waves:
        cells = tuple(CELLS.get(sign, TargetPhase.PENDING) for sign in found.cells)
        several = found.total > len(cells) > 0
        yield WavePicture(
            name=found.name,
            state=found.state,
            counts=_counts(found),
            took=span((found.finished_at or now) - found.started_at) if found.started_at else "",
            remark=_remark(found, wanted.get(found.name), status.waiting_for, now),
            cells=cells,
            per_cell=-(-found.total // len(cells)) if several else 1,
            names=() if several else tuple(found.names),
        )


def _size(wave: Wave) -> str:
    if wave.size is None:
        return "the rest"
    return f"up to {wave.size}" if isinstance(wave.size, int) else f"up to {wave.size} of all"


def _counts(wave: WaveStatus) -> str:
    failed = f", {wave.failed} failed" if wave.failed else ""
    return f"{wave.patched} of {wave.total} patched{failed}"


def _remark(found: WaveStatus, wave: Wave | None, waits: WaitingFor | None, now: datetime) -> str:
    """What this wave waits for; of one that has not begun, what it will ask for."""
    if waits is not None and waits.gate.partition("/")[0].removeprefix("wave-") == found.name:
        gate = waits.gate.partition("/")[2]
        return " ".join(
            part for part in (_WAITS.get(waits.kind, f"waits: {waits.kind}"), gate, _left(waits, now)) if part
        )
    return _asks(wave) if wave is not None and found.state is WaveState.PENDING else ""


def _left(waits: WaitingFor, now: datetime) -> str:
    if waits.until is None:
        return ""
    left = span(waits.until - now)
    return f"({_ENDS[waits.kind]} in {left})" if waits.kind in _ENDS else f"(at most {left} more)"


def _asks(wave: Wave) -> str:
    asked = [f"{wave.max_parallel} at a time"]
    if wave.approval.required:
        asked.append("needs an Approval")
    if wave.soak.seconds:
        asked.append(f"soaks {wave.soak}")
    return ", ".join(asked)


def _cells_at_work(waves: tuple[WavePicture, ...]) -> int:
    return sum(1 for wave in waves if wave.per_cell == 1 for cell in wave.cells if cell in AT_WORK)


def _more(shown: int, limit: int, there: int) -> int:
    """How many are not named; only a list that is full can leave some out."""
    return max(0, there - shown) if shown >= limit else 0


def _wait(item: Item, waits: WaitingFor | None, speech: Speech, now: datetime) -> Wait | None:
    if waits is None:
        return None
    approves = waits.kind is WaitKind.APPROVAL
    return Wait(
        kind=waits.kind,
        gate=waits.gate,
        since=moment(waits.since, now),
        until=moment(waits.until, now),
        # Of an approval the detail is a command for those who have no plugin.
        detail="" if approves else waits.detail,
        subject=waits.subject,
        commands=(speech.verb(item, "campaign plan"), speech.verb(item, "approve")) if approves else (),
    )


def _taking_back(found: CompensationStatus | None, now: datetime) -> Iterable[tuple[str, str]]:
    if found is None or found.state is CompensationState.NOTHING_TO_DO:
        return
    counted = f", {found.completed} of {found.total} done" if found.total else ""
    yield "taking back", f"{found.state}{counted}"
    if found.state is CompensationState.RUNNING and found.deadline:
        yield "tried until", moment(found.deadline, now)
    if found.last_error:
        yield "last error", found.last_error
    if found.left:
        yield "left", ", ".join(found.left)
