"""What the worker's right to make Restores is good for, where Velero has all rights: drills, and nothing else."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from bascule_workers.plans.velero import Backup, render_restore
from hack.cluster.handle import Cluster
from tests.support.requests import ADMIN_GROUP, WORKER, as_user, creation, refusal
from tests.support.velero import PATIENCE, VeleroSite
from tests.support.velero_subjects import drill_request

# With the tests that switch the object store off.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("object-store")]

AS_WORKER = as_user(WORKER)
WITH_ALL_RIGHTS = as_user(WORKER, ADMIN_GROUP)
"""The policy alone is asked: no Role would refuse."""


@pytest.fixture(scope="module")
def site(cluster: Cluster) -> VeleroSite:
    made = VeleroSite(cluster, cluster.add_velero())
    made.install_from_chart("bascule-velero", "bascule-worker-velero")
    deadline = time.monotonic() + PATIENCE
    # A policy holds some moments after it was made.
    while "changes none" not in creation(cluster, schedule(made), *WITH_ALL_RIGHTS):
        assert time.monotonic() < deadline, "the policy does not come to hold"
        time.sleep(0.5)
    return made


def schedule(site: VeleroSite) -> dict[str, Any]:
    metadata = {"name": "s", "namespace": site.velero.namespace}
    spec = {"schedule": "@daily", "template": {}}
    return {"apiVersion": "velero.io/v1", "kind": "Schedule", "metadata": metadata, "spec": spec}


def restore(site: VeleroSite, **spec: Any) -> dict[str, Any]:
    made = copy.deepcopy(render_restore(drill_request(), Backup("b", ("acme",), "Completed", 1), "acme"))
    made["metadata"]["namespace"] = site.velero.namespace
    made["spec"] |= spec
    return made


def test_it_makes_and_deletes_restores_of_runs(site: VeleroSite) -> None:
    wanted = restore(site)
    named = (wanted["metadata"]["name"], "-n", site.velero.namespace)
    assert creation(site.cluster, wanted, *AS_WORKER) == ""
    assert refusal(site.cluster, *AS_WORKER, "create", "-f", "-", document=wanted) == ""
    assert refusal(site.cluster, *AS_WORKER, "delete", "restore.velero.io", *named, "--wait=false") == ""
    assert refusal(site.cluster, *AS_WORKER, "get", "backups.velero.io", "-n", site.velero.namespace) == ""


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param({"namespaceMapping": {"acme": "kube-system"}}, "into that of a drill", id="into a live namespace"),
        pytest.param({"namespaceMapping": {}}, "into that of a drill", id="into the namespace itself"),
        pytest.param(
            {"namespaceMapping": {"acme": "bascule-drill-1", "b": "bascule-drill-1"}},
            "one namespace",
            id="of two namespaces",
        ),
        pytest.param(
            {"includedNamespaces": ["acme", "other"]}, "one namespace", id="of a namespace that is not mapped"
        ),
        pytest.param({"includedNamespaces": []}, "one namespace", id="of all namespaces"),
        pytest.param({"includedResources": []}, "restores configmaps", id="of all kinds"),
        pytest.param({"includedResources": ["rolebindings"]}, "restores configmaps", id="of rights"),
        pytest.param({"includedResources": ["pods"]}, "restores configmaps", id="of pods"),
        pytest.param({"includeClusterResources": True}, "restores configmaps", id="of the cluster's objects"),
        pytest.param(
            {"includeClusterResources": None}, "restores configmaps", id="of the cluster's objects by default"
        ),
        pytest.param({"existingResourcePolicy": "update"}, "changes nothing", id="over what is there"),
        pytest.param({"restorePVs": True}, "restores configmaps", id="of volumes"),
        pytest.param({"preserveNodePorts": True}, "restores configmaps", id="with the same node ports"),
        pytest.param(
            {"resourceModifier": {"kind": "ConfigMap", "name": "mine"}}, "by the rules of", id="by other rules"
        ),
        pytest.param({"resourceModifier": None}, "by the rules of", id="by no rules"),
        pytest.param({"scheduleName": "nightly"}, "does not know", id="of whatever is newest by then"),
        pytest.param({"restoreStatus": {"includedResources": ["*"]}}, "does not know", id="with another field"),
        pytest.param(
            {"hooks": {"resources": [{"name": "h", "postHooks": [{"exec": {"command": ["sh"]}}]}]}},
            "hooks",
            id="with hooks",
        ),
    ],
)
@pytest.mark.parametrize("caller", [AS_WORKER, WITH_ALL_RIGHTS], ids=["with its role", "with all rights"])
def test_no_restore_is_made(site: VeleroSite, spec: dict[str, Any], words: str, caller: list[str]) -> None:
    assert words in creation(site.cluster, restore(site, **spec), *caller)


@pytest.mark.parametrize("label", ["bascule.dev/run", "bascule.dev/tenant"])
def test_a_restore_without_a_run_is_nobodys(site: VeleroSite, label: str) -> None:
    wanted = restore(site)
    del wanted["metadata"]["labels"][label]
    assert "of runs" in creation(site.cluster, wanted, *AS_WORKER)


def test_it_neither_changes_restores_nor_deletes_those_of_others(site: VeleroSite) -> None:
    wanted = restore(site)
    wanted["metadata"]["labels"] = {}
    wanted["spec"]["backupName"] = "no-such-backup"
    named = (wanted["metadata"]["name"], "-n", site.velero.namespace)
    assert refusal(site.cluster, "create", "-f", "-", document=wanted) == ""
    try:
        deleted = refusal(site.cluster, *AS_WORKER, "delete", "restore.velero.io", *named, "--wait=false")
        assert "of runs" in deleted
        change = ("label", "restore.velero.io", *named, "a=b")
        assert "forbidden" in refusal(site.cluster, *AS_WORKER, *change)
        assert "changes none" in refusal(site.cluster, *WITH_ALL_RIGHTS, *change)
    finally:
        site.remove("Restore", wanted["metadata"]["name"])


@pytest.mark.parametrize("verb", ["create", "delete"])
@pytest.mark.parametrize("kind", ["backups", "schedules", "backupstoragelocations", "deletebackuprequests"])
def test_it_has_no_other_right_there(site: VeleroSite, verb: str, kind: str) -> None:
    asked = ("auth", "can-i", verb, f"{kind}.velero.io", "-n", site.velero.namespace)
    assert site.cluster.exec(["kubectl", *AS_WORKER, *asked]).stdout.strip() == "no"
