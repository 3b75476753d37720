"""What holds of every kind's revisions: no release changes them, nor what belongs to no run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from bascule_api import dr_drills, image_builds, patch_campaigns, revisions
from bascule_api.dr_drill_specs import DRDrillSpec, Objectives
from bascule_api.image_builds import Build, ImageBuildSpec
from bascule_api.patch_campaign_specs import Drain, PatchCampaignSpec
from bascule_api.runs import RunSpec
from tests.support.bodies import Change, Golden


class NewerBuild(Build):
    network: str = "none"
    """Added by a later release."""


class NewerImageBuildSpec(ImageBuildSpec):
    build: NewerBuild = NewerBuild()
    notify: list[str] = Field(default=["slsa"])


class NewerDrain(Drain):
    skip_local: bool = False
    """Added by a later release."""


class NewerPatchCampaignSpec(PatchCampaignSpec):
    drain: NewerDrain = NewerDrain()
    notify: list[str] = Field(default=[])


class NewerObjectives(Objectives):
    strict: bool = False
    """Added by a later release."""


class NewerDRDrillSpec(DRDrillSpec):
    objectives: NewerObjectives = NewerObjectives()
    notify: list[str] = Field(default=[])


@dataclass(frozen=True)
class KindOfRevision:
    """A kind's golden revisions, and what a later release may make of its spec: with `notify`, and more inside."""

    golden: Golden
    newer: type[RunSpec]


def _kind(file: str, spec: type[RunSpec], fields: tuple[str, ...], newer: type[RunSpec]) -> KindOfRevision:
    return KindOfRevision(Golden.read(Path(__file__).parent / file, spec, fields), newer)


KINDS = {
    "ImageBuild": _kind("golden_revisions.json", ImageBuildSpec, image_builds.REVISION_FIELDS, NewerImageBuildSpec),
    "PatchCampaign": _kind(
        "golden_campaign_revisions.json", PatchCampaignSpec, patch_campaigns.REVISION_FIELDS, NewerPatchCampaignSpec
    ),
    "DRDrill": _kind("golden_drill_revisions.json", DRDrillSpec, dr_drills.REVISION_FIELDS, NewerDRDrillSpec),
}
CASES = [pytest.param(of, case, id=f"{name}: {case['name']}") for name, of in KINDS.items() for case in of.golden.cases]
EVERY_KIND = pytest.mark.parametrize("of", KINDS.values(), ids=KINDS)


@pytest.mark.parametrize(("of", "case"), CASES)
def test_revisions_of_every_release_stay(of: KindOfRevision, case: dict[str, Any]) -> None:
    assert of.golden.revision(case["spec"]) == case["revision"]


@EVERY_KIND
def test_defaults_written_out_by_the_api_server_change_nothing(of: KindOfRevision) -> None:
    least, written_out = of.golden.cases[:2]
    assert of.golden.revision(least["spec"]) == of.golden.revision(written_out["spec"])


@pytest.mark.parametrize(("of", "case"), CASES)
def test_a_release_that_adds_defaulted_fields_changes_no_revision(of: KindOfRevision, case: dict[str, Any]) -> None:
    newer = of.newer.model_validate(case["spec"])
    assert revisions.revision(newer, (*of.golden.fields, "notify")) == case["revision"]


@EVERY_KIND
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda s: s.update(suspend=True), id="suspended"),
        pytest.param(lambda s: s.update(timeout="5h"), id="another timeout of the run"),
        pytest.param(lambda s: s.update(compensation={"onDelete": "Always"}), id="another way to compensate"),
        pytest.param(lambda s: s.update(schedule={"cron": "0 3 * * *"}), id="a schedule"),
        pytest.param(lambda s: s.update(unheardOf={"a": 1}), id="a field that this version does not know"),
    ],
)
def test_what_no_run_depends_on_changes_no_revision(of: KindOfRevision, change: Change) -> None:
    assert of.golden.revision(of.golden.spec(change)) == of.golden.revision(of.golden.spec())
