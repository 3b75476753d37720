"""Which Backup a tenant may restore from, and what the Restore brings."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from bascule_api.dr_drill_specs import VeleroRestore
from bascule_api.failures import FailureType
from bascule_workers.dr_drills import DrillRequest
from bascule_workers.errors import StepFailedError
from bascule_workers.plans.velero import (
    Backup,
    RestoreStanding,
    backup_of,
    checked,
    failure,
    newest,
    progress,
    render_restore,
    restore_name,
    schedule_label,
    standing_of,
)

STARTED = 1_795_347_619
BACKUP = Backup("nightly-1", ("acme-prod", "acme-data"), "Completed", STARTED)
TENANT = ["acme-prod", "acme-data", "acme-dev"]
BY_NAME = VeleroRestore.model_validate({"backup": "nightly-1", "includedNamespaces": ["acme-prod"]})
BY_SCHEDULE = VeleroRestore.model_validate({"schedule": "nightly", "includedNamespaces": ["acme-prod"]})
REQUEST = DrillRequest.model_validate(
    {
        "run": {
            "kind": "DRDrill",
            "namespace": "acme-dev",
            "name": "shop",
            "uid": "uid-1",
            "number": 3,
            "revision": "r",
            "tenant": "acme",
        },
        "tenant": {"name": "acme", "stepsNamespace": "bascule-steps-acme", "serviceAccount": "bascule-step"},
        "step": "restore",
        "namespace": "bascule-drill-0123",
    }
)
STANDING = RestoreStanding("r3-velero-1", backup="nightly-1")


def test_a_backup_of_the_tenants_own_namespaces_is_restored() -> None:
    assert checked(BACKUP, BY_NAME, TENANT) == BACKUP
    assert checked(BACKUP, BY_SCHEDULE, TENANT) == BACKUP


@pytest.mark.parametrize(
    ("namespaces", "words"),
    [
        pytest.param((), "may hold more", id="everything, as nothing is named"),
        pytest.param(("*",), "may hold more", id="everything"),
        pytest.param(("acme-*",), "may hold more", id="a pattern"),
        pytest.param(("acme-prod", "other-prod"), "may hold more", id="another tenant's as well"),
        pytest.param(("other-prod",), "may hold more", id="another tenant's"),
    ],
)
def test_a_backup_that_may_hold_more_is_forbidden(namespaces: tuple[str, ...], words: str) -> None:
    with pytest.raises(StepFailedError, match=words) as raised:
        checked(replace(BACKUP, namespaces=namespaces), BY_NAME, TENANT)
    assert raised.value.type == FailureType.BACKUP_FORBIDDEN
    assert not raised.value.retryable
    assert "other-prod" not in str(raised.value), "what others have in it is not told"


def test_whether_it_is_complete_is_told_to_its_owner_only() -> None:
    with pytest.raises(StepFailedError) as raised:
        checked(replace(BACKUP, namespaces=("other-prod",), phase="Failed"), BY_NAME, TENANT)
    assert raised.value.type == FailureType.BACKUP_FORBIDDEN


def test_a_namespace_of_somebody_else_is_forbidden_before_any_backup_is_looked_at() -> None:
    with pytest.raises(StepFailedError, match="not one of the tenant's") as raised:
        checked(None, BY_NAME, ["acme-dev"])
    assert raised.value.type == FailureType.BACKUP_FORBIDDEN


@pytest.mark.parametrize(
    ("found", "wanted", "words"),
    [
        pytest.param(None, BY_NAME, "no Backup nightly-1", id="none of that name"),
        pytest.param(None, BY_SCHEDULE, "no completed Backup of the Schedule nightly", id="none of the schedule"),
        pytest.param(replace(BACKUP, phase="PartiallyFailed"), BY_NAME, "is PartiallyFailed", id="partially failed"),
        pytest.param(replace(BACKUP, phase="InProgress"), BY_NAME, "is InProgress", id="under way"),
        pytest.param(replace(BACKUP, phase="", started=0), BY_NAME, "is New", id="not begun"),
        pytest.param(replace(BACKUP, phase="Deleting"), BY_NAME, "is Deleting", id="being deleted"),
        pytest.param(
            replace(BACKUP, namespaces=("acme-data",)),
            BY_NAME,
            "does not hold",
            id="of another namespace of the tenant",
        ),
    ],
)
def test_a_backup_that_cannot_be_restored_is_not_found(found: Backup | None, wanted: VeleroRestore, words: str) -> None:
    with pytest.raises(StepFailedError, match=words) as raised:
        checked(found, wanted, TENANT)
    assert raised.value.type == FailureType.BACKUP_NOT_FOUND


def test_the_newest_completed_backup_counts_by_when_it_began() -> None:
    old, new = replace(BACKUP, name="old", started=10), replace(BACKUP, name="new", started=20)
    failed = replace(BACKUP, name="failed", started=30, phase="Failed")
    assert newest([new, failed, old]) == new
    assert newest([failed]) is None
    assert newest([]) is None


def test_a_restore_goes_into_the_drills_namespace_and_nowhere_else() -> None:
    restore = render_restore(REQUEST, BACKUP, "acme-prod")
    spec = restore["spec"]
    assert spec["includedNamespaces"] == ["acme-prod"]
    assert spec["namespaceMapping"] == {"acme-prod": "bascule-drill-0123"}
    assert (spec["includeClusterResources"], spec["restorePVs"], spec["preserveNodePorts"]) == (False, False, False)
    assert spec["existingResourcePolicy"] == "none"
    assert spec["backupName"] == "nightly-1"
    assert "scheduleName" not in spec, "another backup may be the newest by the time Velero looks"


@pytest.mark.parametrize("kind", ["pods", "roles", "rolebindings", "clusterroles", "jobs", "persistentvolumes", "*"])
def test_a_restore_brings_neither_rights_nor_what_runs_by_itself(kind: str) -> None:
    included = render_restore(REQUEST, BACKUP, "acme-prod")["spec"]["includedResources"]
    assert included
    assert kind not in {resource.partition(".")[0] for resource in included}


def test_a_restore_is_known_by_its_run_and_remembers_the_recovery_point() -> None:
    restore = render_restore(REQUEST, BACKUP, "acme-prod")
    assert restore["metadata"]["name"] == restore_name(REQUEST)
    standing = standing_of(restore)
    assert (standing.run, standing.backup, standing.recovery_point) == ("uid-1.3", "nightly-1", STARTED)
    assert not standing.over


def test_a_backup_is_read() -> None:
    body: dict[str, Any] = {
        "metadata": {"name": "b"},
        "spec": {"includedNamespaces": ["acme-prod"]},
        "status": {"phase": "Completed", "startTimestamp": "2026-11-22T13:06:59Z"},
    }
    assert backup_of(body) == Backup("b", ("acme-prod",), "Completed", 1_795_352_819)
    assert backup_of({"metadata": {"name": "b"}}) == Backup("b")
    deleted = body["metadata"] | {"deletionTimestamp": "2026-11-22T13:07:00Z"}
    assert backup_of(body | {"metadata": deleted}).phase == "Deleting"


def test_a_restore_is_read() -> None:
    status = {
        "phase": "PartiallyFailed",
        "errors": 2,
        "warnings": 1,
        "progress": {"itemsRestored": 3, "totalItems": 4},
        "startTimestamp": "2026-11-22T13:08:13Z",
        "completionTimestamp": "2026-11-22T13:08:14Z",
    }
    standing = standing_of({"metadata": {"name": "r"}, "spec": {"backupName": "b"}, "status": status})
    assert standing == RestoreStanding(
        "r", backup="b", phase="PartiallyFailed", items=3, total=4, warnings=1, errors=2,
        started=1_795_352_893, finished=1_795_352_894,
    )  # fmt: skip
    assert standing.over


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        pytest.param(replace(STANDING, phase="Completed", warnings=1), "", id="completed, with warnings"),
        pytest.param(replace(STANDING, phase="Completed", errors=1), "1 errors", id="completed, with errors"),
        pytest.param(
            replace(STANDING, phase="PartiallyFailed", errors=2), "velero restore logs", id="partially failed"
        ),
        pytest.param(replace(STANDING, phase="Failed", message="the store is gone"), "the store is gone", id="failed"),
        pytest.param(
            standing_of(
                {"metadata": {"name": "r"}, "status": {"phase": "FailedValidation", "validationErrors": ["a", "b"]}}
            ),
            "a; b",
            id="refused",
        ),
    ],
)
def test_only_a_restore_without_errors_has_succeeded(standing: RestoreStanding, words: str) -> None:
    assert standing.over
    assert words in failure(standing)
    assert bool(words) == bool(failure(standing))


def test_progress_says_what_is_going_on() -> None:
    assert "does its server run" in progress(STANDING)
    assert progress(replace(STANDING, phase="InProgress", items=1, total=4)).endswith("InProgress, 1 of 4 objects")


def test_backups_of_schedules_with_long_names_are_found() -> None:
    long = "n" * 80
    assert schedule_label("nightly") == "nightly"
    assert schedule_label(long) == "n" * 57 + hashlib.sha256(long.encode()).hexdigest()[:6]
