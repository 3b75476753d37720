"""A revision changes when a run would differ, and for nothing else: not for a release, not for a way of writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from bascule_api import revisions
from bascule_api.image_builds import REVISION_FIELDS, ImageBuildSpec
from tests.support.bodies import Change, Golden

GOLDEN = Golden.read(Path(__file__).parent / "golden_revisions.json", ImageBuildSpec, REVISION_FIELDS)
revision, spec = GOLDEN.revision, GOLDEN.spec


@pytest.mark.parametrize(
    "change",
    [
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
