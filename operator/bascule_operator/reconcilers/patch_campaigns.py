"""PatchCampaigns: what they add to the reconciler of everything that runs."""

from __future__ import annotations

from bascule_api.patch_campaign_specs import PatchCampaignSpec
from bascule_api.patch_campaign_status import PatchCampaignStatus
from bascule_api.patch_campaigns import REVISION_FIELDS, PatchCampaignInput, PatchCampaignResult
from bascule_api.progress import RunIdentity
from bascule_api.runs import RunStatus
from bascule_operator.decisions import campaign_effects, campaign_status, patch_campaigns
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import Grounds, RunView
from bascule_operator.reconcilers.kinds import RunKind
from bascule_operator.reconcilers.world import World
from bascule_operator.store import Key


def workflow_input(subject: Subject, run: RunIdentity, grounds: Grounds) -> PatchCampaignInput:
    """The input of the run's workflow."""
    spec, status = subject.spec, subject.status
    if not isinstance(spec, PatchCampaignSpec) or not isinstance(status, PatchCampaignStatus):
        raise TypeError("a PatchCampaign has a PatchCampaignSpec and a PatchCampaignStatus")
    return patch_campaigns.workflow_input(spec, status, run, grounds)


def complete(world: World, key: Key, subject: Subject, new: RunStatus, view: RunView) -> RunStatus:
    """The status with what concerns the targets."""
    old = subject.status
    if not isinstance(old, PatchCampaignStatus) or not isinstance(new, PatchCampaignStatus):
        raise TypeError("a PatchCampaign has a PatchCampaignStatus")
    told = campaign_status.complete(subject, old, new, view, world.clock())
    return campaign_effects.recorded(subject, told, view, world.store.tenants)


KIND = RunKind(
    kind=patch_campaigns.KIND,
    spec=PatchCampaignSpec,
    status=PatchCampaignStatus,
    result=PatchCampaignResult,
    fields=REVISION_FIELDS,
    wants=patch_campaigns.wants,
    workflow_input=workflow_input,
    undo_input=campaign_effects.undo_input,
    undo_wants=campaign_effects.undo_wants,
    complete=complete,
    refused=patch_campaigns.refused,
    forbidden=patch_campaigns.forbidden,
)
