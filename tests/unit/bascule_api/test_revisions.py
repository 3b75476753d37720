"""A revision changes when a run would differ, and for nothing else: not for a release, not for a way of writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from bascule_api import revisions
from bascule_api.image_builds import REVISION_FIELDS, Build, ImageBuildSpec
from tests.support.bodies import Change, Golden

GOLDEN = Golden.read(Path(__file__).parent / "golden_revisions.json", ImageBuildSpec, REVISION_FIELDS)
revision, spec = GOLDEN.revision, GOLDEN.spec


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in GOLDEN.cases])
def test_revisions_of_every_release_stay(case: dict[str, Any]) -> None:
    assert revision(case["spec"]) == case["revision"]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in GOLDEN.cases])
def test_a_release_that_adds_defaulted_fields_changes_no_revision(case: dict[str, Any]) -> None:
    class NewerBuild(Build):
        network: str = "none"
        """Added by a later release."""

    class NewerSpec(ImageBuildSpec):
        build: NewerBuild = NewerBuild()
        attestations: list[str] = Field(default=["slsa"])

    newer = NewerSpec.model_validate(case["spec"])
    assert revisions.revision(newer, (*REVISION_FIELDS, "attestations")) == case["revision"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda s: s.update(suspend=True), id="suspended"),
        pytest.param(lambda s: s.update(timeout="5h"), id="another timeout of the run"),
        pytest.param(lambda s: s.update(compensation={"onDelete": "Always"}), id="another way to compensate"),
        pytest.param(lambda s: s.update(schedule={"cron": "0 3 * * *"}), id="a schedule"),
        pytest.param(lambda s: s.update(unheardOf={"a": 1}), id="a field that this version does not know"),
        pytest.param(lambda s: s["build"].update(timeout="30m"), id="1800s written as 30m"),
        pytest.param(lambda s: s["source"]["git"].update(path=""), id="a default written out"),
        pytest.param(lambda s: s["publish"].update(approval={"required": False, "timeout": "1d"}), id="24h as 1d"),
    ],
)
def test_what_no_run_depends_on_changes_no_revision(change: Change) -> None:
    assert revision(spec(change)) == revision(spec())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda s: s["source"]["git"].update(revision="v2"), id="another commit"),
        pytest.param(lambda s: s["build"]["parameters"].update(target="other"), id="another parameter"),
        pytest.param(lambda s: s["build"].update(timeout="31m"), id="another timeout of a step"),
        pytest.param(lambda s: s["tests"].pop(), id="a test less"),
        pytest.param(lambda s: s["sign"].update(keySecretRef={"name": "other"}), id="another key"),
        pytest.param(lambda s: s["publish"].update(tags=["v1"]), id="other tags"),
    ],
)
def test_what_a_run_depends_on_changes_the_revision(change: Change) -> None:
    assert revision(spec(change)) != revision(spec())


def test_a_stored_revision_is_compared_by_its_own_algorithm() -> None:
    parsed = ImageBuildSpec.model_validate(spec())
    stored = revisions.revision(parsed, REVISION_FIELDS)
    assert revisions.same_revision(stored, parsed, REVISION_FIELDS)
    assert not revisions.same_revision("1-0000000000", parsed, REVISION_FIELDS)
    with pytest.raises(ValueError, match="not known to this version"):
        revisions.same_revision("9-0000000000", parsed, REVISION_FIELDS)
