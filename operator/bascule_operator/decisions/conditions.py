"""The one place that makes conditions, so that kstatus, Argo CD and Flux are told the truth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bascule_api.conditions import Condition, ConditionStatus, ConditionType, Reason

MESSAGE_LIMIT = 1024

RUN_LIFE = (ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED)


@dataclass(frozen=True)
class Says:
    """A condition that is to be shown."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str


def ready(reason: Reason, message: str) -> list[Says]:
    """All is done: Ready, and neither Reconciling nor Stalled."""
    return [Says(ConditionType.READY, ConditionStatus.TRUE, reason, message)]


def working(reason: Reason, message: str) -> list[Says]:
    """Work goes on, or waits for something that will come."""
    return [
        Says(ConditionType.READY, ConditionStatus.UNKNOWN, reason, message),
        Says(ConditionType.RECONCILING, ConditionStatus.TRUE, reason, message),
    ]


def stalled(reason: Reason, message: str) -> list[Says]:
    """Nothing more happens without a change or a request."""
    return [
        Says(ConditionType.READY, ConditionStatus.FALSE, reason, message),
        Says(ConditionType.STALLED, ConditionStatus.TRUE, reason, message),
    ]


def conditions(
    old: list[Condition],
    says: list[Says],
    *,
    replaces: tuple[ConditionType, ...],
    generation: int,
    now: datetime,
) -> list[Condition]:
    """The conditions after `says`. Of the types in `replaces` only those said remain; others are carried forward."""
    before = {condition.type: condition for condition in old}
    kept = [condition for condition in old if condition.type not in replaces and condition.type not in _types(says)]
    said = [_condition(before.get(item.type), item, generation, now) for item in says]
    return sorted([*said, *kept], key=lambda condition: _ORDER.get(condition.type, len(_ORDER)))


_ORDER = {str(kind): place for place, kind in enumerate(ConditionType)}


def _types(says: list[Says]) -> set[str]:
    return {item.type for item in says}


def _condition(before: Condition | None, item: Says, generation: int, now: datetime) -> Condition:
    flipped = before is None or before.status != item.status
    return Condition(
        type=item.type,
        status=item.status,
        reason=item.reason,
        message=item.message if len(item.message) <= MESSAGE_LIMIT else item.message[: MESSAGE_LIMIT - 1] + "…",
        observed_generation=generation,
        last_transition_time=now if before is None or flipped else before.last_transition_time,
    )


def find(old: list[Condition], kind: ConditionType) -> Condition | None:
    return next((condition for condition in old if condition.type == kind), None)
