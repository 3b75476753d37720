"""A drill's revision changes when a run would differ, and for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bascule_api.dr_drill_specs import DRDrillSpec
from bascule_api.dr_drills import REVISION_FIELDS
from tests.support.bodies import Change, Golden

GOLDEN = Golden.read(Path(__file__).parent / "golden_drill_revisions.json", DRDrillSpec, REVISION_FIELDS)
revision, spec = GOLDEN.revision, GOLDEN.spec


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda s: s.update(keepFor="5h"), id="kept for longer"),
        pytest.param(lambda s: s["probes"][0].update(timeout="1m30s"), id="90s written as 1m30s"),
        pytest.param(lambda s: s["disaster"].update(declaredAt="2026-11-22T14:00:00+02:00"), id="the same moment"),
    ],
)
def test_what_no_run_depends_on_changes_no_revision(change: Change) -> None:
    assert revision(spec(change)) == revision(spec())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda s: s["environment"]["manifests"]["git"].update(path="other"), id="other manifests"),
        pytest.param(lambda s: s["environment"].update(isolation="DenyEgress"), id="another isolation"),
        pytest.param(lambda s: s["environment"].update(namespaceLabels={}), id="no labels"),
        pytest.param(lambda s: s["restore"]["parameters"].update(jobs=8), id="another parameter"),
        pytest.param(lambda s: s["restore"].update(environmentSecret="other"), id="another Secret"),
        pytest.param(lambda s: s["disaster"].update(declaredAt="2026-11-22T12:00:01Z"), id="another disaster"),
        pytest.param(lambda s: s["approval"].update(required=False), id="no approval"),
        pytest.param(lambda s: s["probes"].pop(), id="a probe less"),
        pytest.param(lambda s: s["probes"][1].update(required=True), id="a probe that is required"),
        pytest.param(lambda s: s["objectives"].update(rpo="2h"), id="another objective"),
    ],
)
def test_what_a_run_depends_on_changes_the_revision(change: Change) -> None:
    assert revision(spec(change)) != revision(spec())
