"""The proofs of the campaigns' story: from each node's package database, kubectl and the API server's audit log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hack.cluster.addresses import NODES
from hack.demo.acting import look, says
from hack.demo.campaign_story import PACKAGE, SERVICE
from hack.demo.proofs import Proof
from hack.demo.stage import Stage

Body = dict[str, Any]
KIND = "patchcampaign"
LABELS = ("bascule.dev/run", "bascule.dev/cordoned-by")


def package_versions(stage: Stage) -> dict[str, str]:
    """The package's version on each node, by the node's own dpkg."""
    return {node: stage.cluster.package_version(node, PACKAGE) for node in NODES}


def versions(stage: Stage, wanted: dict[str, str], claim: str) -> Proof:
    found = package_versions(stage)
    return Proof(claim, f"dpkg-query --show {PACKAGE}   (on each node)", found == wanted, _pairs(found))


def boot_ids(stage: Stage) -> dict[str, str]:
    return {node["metadata"]["name"]: node["status"]["nodeInfo"]["bootID"] for node in _nodes(stage)}


def rebooted(stage: Stage, before: dict[str, str], wanted: list[str]) -> Proof:
    changed = sorted(name for name, boot in boot_ids(stage).items() if before[name] != boot)
    return Proof(
        f"{', '.join(wanted)} rebooted, and nothing else",
        "kubectl get nodes -o custom-columns=NAME:.metadata.name,BOOT:.status.nodeInfo.bootID",
        changed == sorted(wanted),
        f"another boot id: {', '.join(changed) or 'none'}",
    )


def planned(stage: Stage, name: str) -> list[str]:
    body = look(stage, KIND, name) or {}
    return [target for wave in body.get("status", {}).get("waves", []) for target in wave.get("names", [])]


def as_planned(before: list[str], now: list[str]) -> Proof:
    seen = f"planned {', '.join(before)}; carried out {', '.join(now)}"
    return Proof(
        "what was planned is what is carried out", "kubectl get pcamp -o yaml   (status.waves)", before == now, seen
    )


def schedulable(stage: Stage) -> Proof:
    """No node is cordoned, by us or anybody."""
    held = [node["metadata"]["name"] for node in _nodes(stage) if node["spec"].get("unschedulable")]
    return Proof("no node is cordoned", "kubectl get nodes", not held, ", ".join(held) or "all schedulable")


def approved(stage: Stage, body: Body, approver: str) -> Proof:
    """The Approval that counted is of the plan that waited."""
    listed = json.loads(stage.cluster.kubectl("get", "approvals", "-n", stage.tenant.namespace, "-o", "json"))["items"]
    counted = [item["spec"] for item in listed if item.get("status", {}).get("state") == "Counted"]
    plan = body["status"]["plan"]["digest"]
    held = [(spec["approver"], spec["subject"]) for spec in counted] == [(approver, plan)]
    seen = ", ".join(f"{spec['approver']} approved {spec['subject']}" for spec in counted) or "no Approval has counted"
    return Proof(
        f"the Approval on record is {approver}'s, of the plan that waited",
        f"kubectl get approvals -n {stage.tenant.namespace}",
        held,
        seen,
    )


def failed_at(stage: Stage, name: str, node: str, message: str) -> Proof:
    body = look(stage, KIND, name) or {}
    failures = body.get("status", {}).get("targets", {}).get("failures", [])
    held = len(failures) == 1 and failures[0]["name"] == node and message in failures[0]["message"]
    seen = "; ".join(f"{each['name']} in {each['phase']}: {each['message']}" for each in failures)
    return Proof(
        "the status names the node and says why",
        f"kubectl get pcamp {name} -o jsonpath='{{.status.targets.failures}}'",
        held,
        seen or says(body),
    )


def skipped(stage: Stage, name: str, wanted: int) -> Proof:
    body = look(stage, KIND, name) or {}
    status = body.get("status", {})
    found, run = status.get("targets", {}).get("skipped", 0), status.get("run", {}).get("number")
    return Proof(
        "what the first run patched was left alone by the second",
        f"kubectl get pcamp {name} -o jsonpath='{{.status.targets.skipped}}'",
        found == wanted,
        f"run {run} skipped {found}",
    )


def was_patched(stage: Stage, name: str, node: str) -> Proof:
    """The canary had been patched: else there was nothing to roll back."""
    body = look(stage, KIND, name) or {}
    targets = body.get("status", {}).get("targets", {})
    cells = [wave.get("cells", "") for wave in body.get("status", {}).get("waves", [])]
    return Proof(
        f"{node} had been patched, and was rolled back",
        f"kubectl get pcamp {name} -o jsonpath='{{.status.waves[*].cells}}'",
        bool(cells) and cells[0] == "R",
        f"waves {' '.join(cells)}; {targets.get('summary', '')}",
    )


def nothing_held(stage: Stage) -> Proof:
    """No node has a mark of a run; no Lease, no copy and no Job at work is left in the steps namespace."""
    marked = [node["metadata"]["name"] for node in _nodes(stage) if set(LABELS) & set(node["metadata"]["labels"])]
    space = stage.tenant.steps_namespace
    kinds = "leases,jobs,secrets,configmaps"
    items = json.loads(stage.cluster.kubectl("get", kinds, "-n", space, "-o", "json"))["items"]
    left = [f"{item['kind']}/{item['metadata']['name']}" for item in items if _holds(item)]
    return Proof(
        "no run holds anything any more",
        f"kubectl get nodes -L {','.join(LABELS)}; kubectl get {kinds} -n {space}",
        not marked and not left,
        ", ".join([*marked, *left]) or "nothing",
    )


def _holds(item: Body) -> bool:
    """Whether an object of the steps namespace is a run's: Jobs that are over stay a while, for their logs."""
    if item["kind"] == "Lease":
        return bool(item["spec"].get("holderIdentity"))
    ours = "bascule.dev/run" in item["metadata"].get("labels", {})
    return ours and (item["kind"] != "Job" or bool(item.get("status", {}).get("active")))


def evicted(stage: Stage) -> Proof:
    """Pods of the service left by evictions, and nobody deleted one of them by hand."""
    evictions, deletions = 0, 0
    for line in stage.cluster.audit_log.read_text().splitlines():
        event = json.loads(line)
        reference, user = event.get("objectRef") or {}, event.get("user", {}).get("username", "")
        if reference.get("resource") != "pods" or reference.get("namespace") != stage.tenant.namespace:
            continue
        worker = user.endswith(":bascule-worker")
        evictions += worker and reference.get("subresource") == "eviction" and _accepted(event)
        deletions += worker and event["verb"] == "delete"
    return Proof(
        "its pods left by the Eviction API alone, so their disruption budget held",
        f"jq 'select(.objectRef.subresource == \"eviction\")' {stage.cluster.audit_log}",
        evictions > 0 and deletions == 0,
        f"{evictions} evictions, {deletions} deletions",
    )


def service_is_there(stage: Stage) -> Proof:
    name = ["deployment", SERVICE, "-n", stage.tenant.namespace]
    ready = json.loads(stage.cluster.kubectl("get", *name, "-o", "json"))["status"].get("readyReplicas", 0)
    return Proof("the service runs", f"kubectl get {' '.join(name)}", ready >= 1, f"{ready} of 2 pods ready")


def picture_written(path: Path, node: str) -> Proof:
    text = path.read_text() if path.exists() else ""
    held = text.startswith("<!DOCTYPE html>") and node in text and "<script" not in text
    return Proof("the picture is a page of its own", f"less {path}", held, f"{len(text)} bytes, without a script")


def _nodes(stage: Stage) -> list[Body]:
    found: list[Body] = json.loads(stage.cluster.kubectl("get", "nodes", *NODES, "-o", "json"))["items"]
    return found


def _accepted(event: Body) -> bool:
    return 200 <= int(event.get("responseStatus", {}).get("code", 0)) < 300


def _pairs(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {value or 'none'}" for name, value in found.items())
