"""What metrics tell of a run that is over."""

from __future__ import annotations

from prometheus_client import REGISTRY

from bascule_api.base import ObjectMeta
from bascule_api.patch_campaign_status import PatchCampaignStatus
from bascule_api.patch_campaigns import REVISION_FIELDS
from bascule_operator.decisions.subjects import Subject
from bascule_operator.reconcilers.telling import finished
from bascule_operator.store import Key

METRIC = "bascule_operator_campaign_targets_total"
RUN = {"number": 3, "revision": "1-9f2c61a0b4", "trigger": "Revision", "tenant": "counted", "outcome": "Failed"}
PAST = {"number": 3, "revision": "1-9f2c61a0b4", "trigger": "Revision", "phase": "Failed"}
ENDED = PatchCampaignStatus.model_validate(
    {
        "run": RUN,
        "history": [PAST],
        "targets": {"total": 9, "patched": 4, "failed": 2, "skipped": 1, "rolledBack": 2},
        "steps": [{"name": "wave-of-the-tenant", "state": "Failed", "attempts": 2}],
    }
)


def told(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


def subject(status: PatchCampaignStatus) -> Subject:
    meta = ObjectMeta(name="web-nodes", namespace="acme-dev", uid="u")
    return Subject("PatchCampaign", meta, None, "", status, "", REVISION_FIELDS)


def test_the_targets_of_a_campaign_are_counted_once_its_run_is_over() -> None:
    running = PatchCampaignStatus.model_validate({"run": RUN | {"outcome": None}})
    key = Key("PatchCampaign", "acme-dev", "web-nodes")
    outcomes = ("patched", "failed", "skipped", "rolledBack")
    before = [told(METRIC, tenant="counted", outcome=outcome) for outcome in outcomes]

    finished(key, subject(running), ENDED)
    # The run is known by now: nothing is counted again.
    finished(key, subject(ENDED), ENDED)

    after = [told(METRIC, tenant="counted", outcome=outcome) for outcome in outcomes]
    assert [now - then for now, then in zip(after, before, strict=True)] == [4, 2, 1, 2]


def test_a_wave_is_told_by_its_first_word_alone() -> None:
    labels = {"kind": "PatchCampaign", "step": "wave", "state": "Failed"}
    before = told("bascule_operator_step_attempts_total", **labels)

    finished(Key("PatchCampaign", "acme-dev", "web-nodes"), subject(PatchCampaignStatus()), ENDED)

    assert told("bascule_operator_step_attempts_total", **labels) - before == 2
