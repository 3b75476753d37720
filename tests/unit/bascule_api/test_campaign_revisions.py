"""A campaign's revision changes when a run would differ, and for nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from bascule_api import revisions
from bascule_api.patch_campaign_specs import Drain, PatchCampaignSpec
from bascule_api.patch_campaigns import REVISION_FIELDS
from tests.support.bodies import Change, Golden

GOLDEN = Golden.read(Path(__file__).parent / "golden_campaign_revisions.json", PatchCampaignSpec, REVISION_FIELDS)
revision, spec = GOLDEN.revision, GOLDEN.spec
CASES = [pytest.param(case, id=case["name"]) for case in GOLDEN.cases]


@pytest.mark.parametrize("case", CASES)
def test_revisions_of_every_release_stay(case: dict[str, Any]) -> None:
    assert revision(case["spec"]) == case["revision"]


def test_defaults_written_out_by_the_api_server_change_nothing() -> None:
    assert revision(GOLDEN.cases[0]["spec"]) == revision(GOLDEN.cases[1]["spec"])


@pytest.mark.parametrize("case", CASES)
def test_a_release_that_adds_defaulted_fields_changes_no_revision(case: dict[str, Any]) -> None:
    class NewerDrain(Drain):
        skip_local: bool = False
        """Added by a later release."""

    class NewerSpec(PatchCampaignSpec):
        drain: NewerDrain = NewerDrain()
        notify: list[str] = Field(default=[])

    newer = NewerSpec.model_validate(case["spec"])
    assert revisions.revision(newer, (*REVISION_FIELDS, "notify")) == case["revision"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda s: s.update(suspend=True), id="suspended"),
        pytest.param(lambda s: s.update(timeout="5h"), id="another timeout of the run"),
        pytest.param(lambda s: s.update(compensation={"onDelete": "Always"}), id="another way to compensate"),
        pytest.param(lambda s: s.update(schedule={"cron": "0 3 * * *"}), id="a schedule"),
        pytest.param(lambda s: s.update(unheardOf={"a": 1}), id="a field that this version does not know"),
        pytest.param(lambda s: s["waves"][0].update(soak="1m30s"), id="90s written as 1m30s"),
        pytest.param(lambda s: s["gates"][0].update(interval="1m"), id="60s written as 1m"),
    ],
)
def test_what_no_run_depends_on_changes_no_revision(change: Change) -> None:
    assert revision(spec(change)) == revision(spec())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda s: s.update(mode="Apply"), id="another mode"),
        pytest.param(lambda s: s["targets"]["inventory"]["configMap"].update(name="other"), id="other targets"),
        pytest.param(lambda s: s["patch"]["parameters"].update(playbook="other.yml"), id="another parameter"),
        pytest.param(lambda s: s.pop("rollback") and s["failurePolicy"].update(action="Halt"), id="no rollback"),
        pytest.param(lambda s: s["verify"]["http"].update(port=80), id="another check"),
        pytest.param(lambda s: s.update(drain={"enabled": False}), id="no drain"),
        pytest.param(lambda s: s["waves"][1].update(size="51%"), id="another size of a wave"),
        pytest.param(lambda s: s["waves"][1]["approval"].update(required=False), id="no approval"),
        pytest.param(lambda s: s["gates"].pop(), id="a gate less"),
        pytest.param(lambda s: s["failurePolicy"].update(maxFailures=1), id="another budget"),
        pytest.param(lambda s: s["windows"][0].update(timeZone="Europe/Paris"), id="another time zone"),
    ],
)
def test_what_a_run_depends_on_changes_the_revision(change: Change) -> None:
    assert revision(spec(change)) != revision(spec())
