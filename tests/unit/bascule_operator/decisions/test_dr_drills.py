"""What a DRDrill names, what its tenant may not have, and the inputs of its runs."""

from __future__ import annotations

from typing import Any

import pytest

from bascule_api import names
from bascule_api.conditions import CompensationState, Reason
from bascule_api.dr_drill_specs import DRDrillSpec
from bascule_api.procedures import PinnedProcedure, Use
from bascule_api.progress import RunIdentity, TenantFacts
from bascule_api.runs import CompensationScope, CompensationStatus
from bascule_operator.decisions import dr_drills
from bascule_operator.decisions.grounds import find_grounds
from bascule_operator.decisions.moves import StartUndo
from bascule_operator.decisions.views import Grounds, Problem
from tests.support.drill_subjects import PROCEDURES, UID, a_spec, drill, figures, grounds, of_velero, rehearsing

RUN = RunIdentity(kind="DRDrill", namespace="acme-dev", name="web", uid=UID, number=4, revision="1-abc", tenant="acme")
PROBES = [{"name": "orders", "procedure": {"name": "node-probe"}}]


def test_restore_and_probes_name_their_procedures() -> None:
    found = dr_drills.wants(a_spec())
    assert [(want.path, want.field, want.use, want.procedure) for want in found] == [
        ("spec.restore", "procedure", Use.DR_DRILL_RESTORE, "postgres-restore"),
        ("spec.probes[1].procedure", "name", Use.DR_DRILL_PROBE, "sql-probe"),
    ]


def test_a_restore_by_velero_needs_none() -> None:
    assert dr_drills.wants(DRDrillSpec.model_validate(of_velero())) == []


@pytest.mark.parametrize(
    ("changes", "reason", "told"),
    [
        pytest.param(
            {"restore": {"procedure": "sql-probe"}},
            Reason.PROCEDURE_FORBIDDEN,
            "spec.restore.procedure: the Procedure sql-probe is not for DRDrill/restore",
            id="a probe does not restore",
        ),
        pytest.param(
            {"restore": {"procedure": "postgres-restore", "parameters": {"bakcup": "nightly"}}},
            Reason.PARAMETERS_INVALID,
            "spec.restore.parameters",
            id="a parameter that it does not take",
        ),
        pytest.param(
            {"probes": [{"name": "a", "procedure": {"name": "none"}}]},
            Reason.PROCEDURE_NOT_FOUND,
            "spec.probes[0].procedure.name: there is no Procedure none; for DRDrill/probe there are: ",
            id="a probe that there is not",
        ),
    ],
)
def test_procedures_are_for_their_use(changes: dict[str, Any], reason: Reason, told: str) -> None:
    tenants = {"acme": rehearsing()}
    found = find_grounds("acme-dev", dr_drills.wants(a_spec(**changes)), tenants, PROCEDURES)
    assert isinstance(found, Problem)
    assert found.reason is reason
    assert told in found.message


def test_velero_takes_no_parameters() -> None:
    velero = of_velero()["restore"]
    problem = dr_drills.refused(a_spec(restore=velero | {"parameters": {"backup": "nightly"}}))
    assert problem is not None
    assert (problem.reason, problem.final) == (Reason.SPEC_INVALID, True)
    assert dr_drills.refused(a_spec(restore=velero)) is None


@pytest.mark.parametrize(
    ("spec", "on", "reason", "told"),
    [
        pytest.param(
            a_spec(),
            grounds(rehearsing(enabled=False)),
            Reason.DRILLS_FORBIDDEN,
            "set spec.drills.enabled of the Tenant",
            id="a tenant that may not rehearse",
        ),
        pytest.param(
            DRDrillSpec.model_validate(
                of_velero(restore={"velero": {"backup": "monday", "includedNamespaces": ["other"]}})
            ),
            grounds(),
            Reason.DRILLS_FORBIDDEN,
            "spec.restore.velero.includedNamespaces: other is not of the tenant acme, whose namespaces are acme-dev",
            id="a backup of somebody else's namespace",
        ),
        pytest.param(
            a_spec(restore={"procedure": "node-restore"}),
            grounds(),
            Reason.PROCEDURE_FORBIDDEN,
            "spec.restore.procedure: the Procedure node-restore runs on a node",
            id="a restore that wants a node",
        ),
        pytest.param(
            a_spec(probes=PROBES),
            grounds(),
            Reason.PROCEDURE_FORBIDDEN,
            "spec.probes[0].procedure.name: the Procedure node-probe runs on a node",
            id="a probe with host access",
        ),
    ],
)
def test_what_the_tenant_may_not_have(spec: DRDrillSpec, on: Grounds, reason: Reason, told: str) -> None:
    problem = dr_drills.forbidden(spec, on)
    assert problem is not None
    assert (problem.reason, problem.final) == (reason, True)
    assert told in problem.message


@pytest.mark.parametrize("spec", [a_spec(), DRDrillSpec.model_validate(of_velero())], ids=["procedure", "velero"])
def test_what_it_may_have(spec: DRDrillSpec) -> None:
    assert dr_drills.forbidden(spec, grounds()) is None


def test_a_run_gets_the_tenants_namespaces_and_quota_and_the_drills_before() -> None:
    past = [figures() | {"number": 3}, figures() | {"number": 2}]
    status = drill().saying(drills=past).status
    told = dr_drills.workflow_input(a_spec(timeout="30m"), status, RUN, grounds(rehearsing(quota={"pods": "3"})))
    assert (told.run, told.timeout_seconds, told.tenant.name) == (RUN, 1800, "acme")
    assert (told.tenant_namespaces, told.quota) == (["acme-dev"], {"pods": "3"})
    assert [known.number for known in told.history] == [3, 2]
    assert told.procedures["sql-probe"] == PinnedProcedure.of(PROCEDURES["sql-probe"])


@pytest.mark.parametrize(
    ("scope", "undoes"), [(CompensationScope.RELEASES, False), (CompensationScope.RUN, True)], ids=str
)
def test_an_undo_rests_on_no_procedure_and_finds_what_there_is(scope: CompensationScope, undoes: bool) -> None:
    subject = drill().running().finished().subject
    assert subject.run is not None
    start = StartUndo(
        identity=RUN,
        run=subject.run,
        undo=CompensationStatus(
            state=CompensationState.RUNNING,
            scope=scope,
            attempt=2,
            workflow_id=names.undo_workflow_id("DRDrill", UID, 4, 2),
        ),
        timeout_seconds=1800,
        abandoned=True,
        final=True,
    )
    assert dr_drills.undo_wants(subject, scope, PROCEDURES) == set()
    facts = TenantFacts(name="acme", steps_namespace="bascule-steps-acme", service_account="steps")
    told = dr_drills.undo_input(subject, start, facts, {})
    assert (told.run, told.attempt, told.timeout_seconds, told.undo) == (RUN, 2, 1800, undoes)
    assert (told.abandoned, told.final) == (True, True)
