"""Approval: a person's decision, bound to resource, run, gate and subject."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from bascule_api.base import ATOMIC, ApiModel, Column, Kind, LongText, ObjectName, Resource, ShortText, Uid, rules


class Decision(StrEnum):
    """What a person decided."""

    APPROVE = "Approve"
    """The run goes on."""
    REJECT = "Reject"
    """The run fails and takes back what it did."""


class ApprovalState(StrEnum):
    """What became of an Approval."""

    COUNTED = "Counted"
    """It was what the run waited for; the run has it."""
    STALE = "Stale"
    """It is not what is waited for: too early or too late, or of another run, gate or subject. It changed nothing."""
    REFUSED = "Refused"
    """The run refused it: the policy does not let this approver decide."""


class ApprovalSubject(ApiModel):
    """The resource whose run waits."""

    kind: Literal["ImageBuild", "PatchCampaign", "DRDrill"]
    """Kind of the resource."""
    name: ObjectName
    """Name of the resource, in the Approval's namespace."""
    uid: Uid
    """Uid of the resource, so that a later one of the same name is not meant."""


class ApprovalDecision(ApiModel):
    """A decision, and what exactly it is about."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            ("self == oldSelf", "an Approval is immutable: delete it and create another"),
            (
                "self.decision == 'Approve' || (has(self.reason) && size(self.reason) > 0)",
                "a rejection needs spec.reason",
            ),
        )
    }
    for_: Annotated[ApprovalSubject, Field(alias="for")]
    """The resource whose run waits."""
    run: Annotated[int, Field(ge=1)]
    """Number of the run."""
    gate: ShortText
    """`status.waitingFor.gate`."""
    subject: ShortText
    """`status.waitingFor.subject`: the digest of what is approved."""
    decision: Decision
    """Whether the run may go on."""
    approver: ShortText
    """Must be the user who creates the Approval."""
    groups: Annotated[list[ShortText], Field(max_length=64, json_schema_extra=ATOMIC)] = []
    """Groups of the approver; a subset of those that the API server knows."""
    reason: LongText = ""
    """Why; demanded when rejecting."""


class ApprovalStatus(ApiModel):
    """What became of the Approval."""

    state: ApprovalState | None = None
    """Whether it counted; absent while that is not known. It never changes again."""
    reason: LongText = ""
    """What came of it; without a state: what it waits for itself."""


class Approval(Resource):
    """A person's decision on a gate of one run.

    It counts only if uid, run, gate and subject are what the run waits for when the Approval is made. It is looked at
    once; one that comes too early or too late changes nothing, and says so. It goes when its resource goes.
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
