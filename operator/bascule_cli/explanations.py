"""Why a resource is as it is, since when, and what to do about it. Pure: the clock is an argument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bascule_api.conditions import Condition, ConditionStatus, ConditionType, Reason
from bascule_cli import advice, campaign_advice, drill_advice
from bascule_cli.advice import Advice
from bascule_cli.resources import Item
from bascule_cli.views.wording import Speech


class Verdict(StrEnum):
    """Whether somebody has to do something."""

    DONE = "Done"
    """All is as the spec wants it."""
    UNDER_WAY = "UnderWay"
    """It goes on by itself."""
    WAITS = "Waits"
    """It goes on once somebody or something outside acts."""
    STALLED = "Stalled"
    """Nothing more happens without a change or a request."""
    UNSEEN = "Unseen"
    """The operator has not looked at it yet."""


@dataclass(frozen=True)
class Finding:
    """One thing that holds: why, since when, and what can be done."""

    reason: str
    message: str
    since: datetime | None = None
    until: datetime | None = None
    advice: tuple[Advice, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """The answer: what matters first, then what is worth knowing besides."""

    verdict: Verdict
    first: Finding
    others: tuple[Finding, ...] = field(default=())


_WAITS = frozenset(
    {
        Reason.WAITING,
        Reason.SUSPENDED,
        Reason.TENANT_NOT_FOUND,
        Reason.TENANT_AMBIGUOUS,
        Reason.TENANT_NOT_READY,
        Reason.PROCEDURE_NOT_FOUND,
        Reason.TEMPORAL_UNAVAILABLE,
        Reason.SCHEDULED,
        Reason.STEPS_NAMESPACE_MISSING,
        Reason.TEMPORAL_NAMESPACE_TAKEN,
        Reason.NODE_SELECTOR_OVERLAPS,
    }
)
"""Reasons whose end lies with others than the operator and the workers."""

_ENDS = frozenset(
    {
        Reason.STEP_FAILED,
        Reason.TIMED_OUT,
        Reason.APPROVAL_REJECTED,
        Reason.APPROVAL_TIMED_OUT,
        Reason.CANCELLED,
        Reason.SUCCEEDED,
        Reason.OBJECTIVES_MISSED,
        Reason.INCONCLUSIVE,
    }
)
"""Reasons that hold since the run was over."""

_BESIDES = (
    ConditionType.SCHEDULED,
    ConditionType.RUN_HEALTHY,
    ConditionType.COMPENSATED,
    ConditionType.VERIFIED,
    ConditionType.PUBLISHED,
    ConditionType.OBJECTIVES_MET,
)
"""Conditions that matter besides Ready when they are False."""


def explain(item: Item, speech: Speech, now: datetime) -> Explanation:
    """Why the resource waits, fails or is done."""
    if item.unreadable:
        return Explanation(Verdict.UNSEEN, Finding("", item.unreadable))
    main = _main(item)
    if main is None or not item.seen:
        return Explanation(Verdict.UNSEEN, _unseen(item, speech))
    others = tuple(_finding(item, other, speech) for other in _others(item, main))
    return Explanation(_verdict(item, main), _finding(item, main, speech), others)


def _main(item: Item) -> Condition | None:
    """The condition that says most: what stalls it, else what it works on, else Ready, else what it waits for."""
    for kind in (ConditionType.STALLED, ConditionType.RECONCILING):
        if item.holds(kind):
            return item.condition(kind)
    return item.condition(ConditionType.READY) or item.condition(ConditionType.SCHEDULED)


def _others(item: Item, main: Condition) -> list[Condition]:
    found = [item.condition(kind) for kind in _BESIDES]
    return [
        condition
        for condition in found
        if condition is not None and condition.status is ConditionStatus.FALSE and condition.reason != main.reason
    ]


def _verdict(item: Item, main: Condition) -> Verdict:
    if item.holds(ConditionType.STALLED):
        return Verdict.STALLED
    if item.holds(ConditionType.READY):
        return Verdict.DONE
    held = item.holds(ConditionType.RUN_HEALTHY, ConditionStatus.FALSE) or main.type == ConditionType.SCHEDULED
    if held or main.reason in _WAITS:
        return Verdict.WAITS
    return Verdict.UNDER_WAY


def _finding(item: Item, condition: Condition, speech: Speech) -> Finding:
    since, until = _times(item, condition)
    told = KIND_ADVICE.get(item.kind.kind, {}).get(condition.reason) or ADVICE.get(condition.reason)
    return Finding(
        reason=condition.reason,
        message=condition.message,
        since=since,
        until=until,
        advice=tuple(told(item, speech)) if told else (),
    )


def _times(item: Item, condition: Condition) -> tuple[datetime | None, datetime | None]:
    """Since when and until when at the latest. A condition's own time is that of its status, not of its reason."""
    status = item.status
    match condition.reason:
        case Reason.WAITING if status.waiting_for is not None:
            return status.waiting_for.since or condition.last_transition_time, status.waiting_for.until
        case Reason.COMPENSATING | Reason.DELETING | Reason.SUPERSEDED if status.compensation is not None:
            return item.meta.deletion_timestamp or condition.last_transition_time, status.compensation.deadline
        case Reason.STARTING | Reason.PROGRESSING if status.run is not None and status.run.started_at is not None:
            return status.run.started_at, None
        case reason if reason in _ENDS and status.run is not None:
            return status.run.finished_at or condition.last_transition_time, None
    if status.blocked is not None and status.blocked.reason == condition.reason:
        return status.blocked.since, None
    return condition.last_transition_time, None


def _unseen(item: Item, speech: Speech) -> Finding:
    since = item.meta.creation_timestamp if item.status.observed_generation < 0 else None
    before = "" if since else " as it is now"
    return Finding(
        reason="",
        message=f"the operator has not looked at it yet{before}; that should take a second",
        since=since,
        advice=tuple(advice.operator_silent(item, speech)),
    )


ADVICE: dict[str, Callable[[Item, Speech], list[Advice]]] = {
    Reason.TENANT_NOT_FOUND: advice.tenant_missing,
    Reason.TENANT_AMBIGUOUS: advice.tenant_missing,
    Reason.TENANT_NOT_READY: advice.tenant_not_ready,
    Reason.PROCEDURE_NOT_FOUND: advice.procedure,
    Reason.PROCEDURE_FORBIDDEN: advice.procedure,
    Reason.TARGETS_FORBIDDEN: advice.targets,
    Reason.DRILLS_FORBIDDEN: drill_advice.forbidden,
    Reason.PARAMETERS_INVALID: advice.parameters,
    Reason.SPEC_INVALID: advice.spec,
    Reason.TEMPORAL_UNAVAILABLE: advice.temporal,
    Reason.STARTING: advice.starting,
    Reason.PROGRESSING: advice.progressing,
    Reason.WAITING: advice.waiting,
    Reason.SUSPENDED: advice.suspended,
    Reason.COMPENSATING: advice.compensating,
    Reason.SUPERSEDED: advice.superseded,
    Reason.RERUN_THROTTLED: advice.throttled,
    Reason.SCHEDULED: advice.scheduled,
    Reason.SUCCEEDED: advice.nothing,
    Reason.STEP_FAILED: advice.failed,
    Reason.TIMED_OUT: advice.timed_out,
    Reason.APPROVAL_REJECTED: advice.failed,
    Reason.APPROVAL_TIMED_OUT: advice.failed,
    Reason.CANCELLED: advice.cancelled,
    Reason.RUN_LOST: advice.lost,
    Reason.COMPENSATION_FAILED: advice.left_over,
    Reason.DELETING: advice.compensating,
    Reason.NOTHING_TO_DO: advice.nothing,
    Reason.FORCED: advice.forced,
    Reason.SIGNATURE_VERIFIED: advice.nothing,
    Reason.TARGETS_VERIFIED: advice.nothing,
    Reason.VERIFICATION_FAILED: advice.unverified,
    Reason.OBJECTIVES_MET: advice.nothing,
    Reason.OBJECTIVES_MISSED: drill_advice.missed,
    Reason.INCONCLUSIVE: drill_advice.missed,
    Reason.TAGS_CURRENT: advice.nothing,
    Reason.TAG_MOVED: advice.tag_moved,
    Reason.WORKFLOW_TASK_FAILING: advice.code_fails,
    Reason.PAUSED_IN_TEMPORAL: advice.paused_in_temporal,
    Reason.NAMESPACE_REGISTERED: advice.nothing,
    Reason.TEMPORAL_NAMESPACE_TAKEN: advice.namespace_taken,
    Reason.NODE_SELECTOR_OVERLAPS: advice.nodes_overlap,
    Reason.STEPS_NAMESPACE_MISSING: advice.steps_missing,
}
"""What to do, for every reason of bascule_api.conditions."""

KIND_ADVICE: dict[str, dict[str, Callable[[Item, Speech], list[Advice]]]] = {
    "PatchCampaign": {
        Reason.PROGRESSING: campaign_advice.progressing,
        Reason.WAITING: campaign_advice.waiting,
        Reason.STEP_FAILED: campaign_advice.failed,
        Reason.APPROVAL_REJECTED: campaign_advice.failed,
        Reason.APPROVAL_TIMED_OUT: campaign_advice.failed,
        Reason.VERIFICATION_FAILED: campaign_advice.failed,
        Reason.CANCELLED: campaign_advice.cancelled,
        Reason.COMPENSATING: campaign_advice.compensating,
    },
    "DRDrill": {
        Reason.WAITING: drill_advice.waiting,
        Reason.STEP_FAILED: drill_advice.failed,
        Reason.CANCELLED: drill_advice.cancelled,
    },
}
"""Where a kind has better advice than all kinds have in common."""
