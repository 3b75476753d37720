"""The plan of a campaign: whole, or as much of it as the status has."""

from __future__ import annotations

import pytest

from bascule_api.patch_campaign_status import PatchCampaignStatus
from bascule_cli.errors import NotFoundError
from bascule_cli.verbs.campaigns import _plan
from bascule_cli.views.plans import document, lines, of_artifact, of_status
from bascule_workers.patch_campaigns import Plan, PlannedWave, Target
from tests.support.campaign_items import DIGEST, WAVES, campaign, unplanned

PLAN = Plan(
    digest=DIGEST,
    waves=[
        PlannedWave(name="canary", targets=[Target(name="node-07", zone="a")]),
        PlannedWave(name="fleet", targets=[Target(name="db-1", address="10.0.0.7"), Target(name="\x1b[2J")]),
    ],
    skipped=["node-01"],
    note="of run 2 nothing is known any more",
)


def test_the_whole_plan_is_read_as_the_workers_write_it() -> None:
    found = of_artifact(PLAN.model_dump(mode="json", by_alias=True))
    assert [text.plain for text in lines(found)] == [
        f"plan {DIGEST}",
        "",
        "canary  1 target",
        "  1  node-07  a",
        "",
        "fleet  2 targets",
        "  1  db-1       10.0.0.7",
        "  2  \\x1b[2J",
        "",
        "skipped  1 target",
        "  patched by the run that this one continues:",
        "  node-01",
        "",
        "of run 2 nothing is known any more",
    ]
    assert document(found)["waves"][1]["total"] == 2


def test_the_status_has_the_first_of_each_wave_and_counts_the_rest() -> None:
    found = of_status(PatchCampaignStatus.model_validate({"plan": {"digest": DIGEST}, "waves": WAVES}))
    assert not found.whole
    assert [text.plain for text in lines(found)][-4:] == [
        "fleet  33 targets",
        "  1  node-01",
        "  2  node-02",
        "  and 31 more",
    ]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"waves": [{"name": "x"}]}, id="a wave without targets"),
        pytest.param({"waves": [{"name": "x", "targets": [{}]}]}, id="a target without a name"),
        pytest.param({"waves": 7}, id="a number"),
    ],
)
def test_what_is_no_plan_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        of_artifact(broken)


def test_before_there_is_a_plan_it_says_when_there_will_be_one() -> None:
    with pytest.raises(NotFoundError, match="made at the start of a run"):
        _plan(unplanned(), "")


def test_without_artifacts_it_says_that_there_is_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert not _plan(campaign(), "").whole
    assert "spec.artifacts" in capsys.readouterr().err
