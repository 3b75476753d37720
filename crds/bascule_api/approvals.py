"""Approval: a person's decision, bound to resource, run, gate and subject."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from bascule_api.base import ATOMIC, ApiModel, Column, Kind, LongText, ObjectName, Resource, ShortText, Uid, rules


class Decision(StrEnum):
    APPROVE = "Approve"
    REJECT = "Reject"


class ApprovalState(StrEnum):
    COUNTED = "Counted"
    STALE = "Stale"
    REFUSED = "Refused"


class ApprovalSubject(ApiModel):
    """The resource whose run waits."""

    kind: Literal["ImageBuild", "PatchCampaign", "DRDrill"]
    name: ObjectName
    uid: Uid


class ApprovalDecision(ApiModel):
    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            ("self == oldSelf", "an Approval is immutable: delete it and create another"),
            ("self.decision == 'Approve' || (has(self.reason) && size(self.reason) > 0)", "a rejection needs spec.reason"),
        )
    }
    for_: Annotated[ApprovalSubject, Field(alias="for")]
    run: Annotated[int, Field(ge=1)]
    """Number of the run."""
    gate: ShortText
    """`status.waitingFor.gate`."""
    subject: ShortText
    """`status.waitingFor.subject`: the digest of what is approved."""
    decision: Decision
    approver: ShortText
    """Must be the user who creates the Approval."""
    groups: Annotated[list[ShortText], Field(max_length=64, json_schema_extra=ATOMIC)] = []
    """Groups of the approver; a subset of those that the API server knows."""
    reason: LongText = ""


class ApprovalStatus(ApiModel):
    state: ApprovalState | None = None
    reason: LongText = ""


class Approval(Resource):
    """A person's decision on a gate of one run.

    It counts only if uid, run, gate and subject are what the run waits for.
    """

    spec: ApprovalDecision
    status: ApprovalStatus | None = None


KIND = Kind(
    kind="Approval",
    plural="approvals",
    short_names=("appr",),
    model=Approval,
    columns=(
        Column("For", ".spec.for.name"),
        Column("Run", ".spec.run", "integer"),
        Column("Gate", ".spec.gate"),
        Column("Decision", ".spec.decision"),
        Column("Approver", ".spec.approver"),
        Column("State", ".status.state"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
