"""A campaign's revision changes when a run would differ, and for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bascule_api.patch_campaign_specs import PatchCampaignSpec
from bascule_api.patch_campaigns import REVISION_FIELDS
from tests.support.bodies import Change, Golden

GOLDEN = Golden.read(Path(__file__).parent / "golden_campaign_revisions.json", PatchCampaignSpec, REVISION_FIELDS)
revision, spec = GOLDEN.revision, GOLDEN.spec


@pytest.mark.parametrize(
    "change",
    [
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
