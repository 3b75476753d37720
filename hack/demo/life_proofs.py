"""The proofs of the second story: with kubectl and skopeo, never by our own word."""

from __future__ import annotations

import json
from typing import Any

from hack.cluster.handle import Cluster
from hack.demo.acting import says
from hack.demo.proofs import Proof, tags
from hack.installation import TenantHandle

Body = dict[str, Any]


def look(cluster: Cluster, tenant: TenantHandle, name: str) -> Body | None:
    """The ImageBuild as the API server has it; None when it is gone."""
    found = cluster.kubectl("get", "imagebuild", name, "-n", tenant.namespace, "--ignore-not-found", "-o", "json")
    return json.loads(found) if found.strip() else None


def ended(claim: str, command: str, code: int, wanted: int) -> Proof:
    return Proof(claim, command, code == wanted, f"exit code {code}")


def decided(cluster: Cluster, tenant: TenantHandle, build: Body, approver: str) -> Proof:
    """One Approval has counted, by that person, of the digest that was waited for."""
    listed = json.loads(cluster.kubectl("get", "approvals", "-n", tenant.namespace, "-o", "json"))["items"]
    counted = [item for item in listed if item.get("status", {}).get("state") == "Counted"]
    waited = build["status"]["waitingFor"]["subject"]
    right = [item for item in counted if (item["spec"]["approver"], item["spec"]["subject"]) == (approver, waited)]
    seen = ", ".join(f"{item['spec']['approver']} approved {item['spec']['subject']}" for item in counted)
    return Proof(
        f"the Approval on record is {approver}'s, of the digest that waited",
        f"kubectl get approvals -n {tenant.namespace}",
        len(right) == len(counted) == 1,
        seen or "no Approval has counted",
    )


def published(cluster: Cluster, build: Body, digest: str) -> Proof:
    reference = f"{build['spec']['publish']['repository']}:v1"
    found = cluster.exec(["skopeo", "inspect", "--format", "{{.Digest}}", f"docker://{reference}"])
    return Proof(
        "what was approved is what got published",
        f"skopeo inspect docker://{reference}",
        found.stdout.strip() == digest,
        found.stdout.strip() or found.stderr.strip()[-300:],
    )


def candidate_there(cluster: Cluster, repository: str) -> Proof:
    found = tags(cluster, f"{repository}-candidates")
    return Proof(
        "its candidate is in the registry",
        f"skopeo list-tags docker://{repository}-candidates",
        bool(found),
        ", ".join(found) or "no tags",
    )


def nothing_runs(cluster: Cluster, tenant: TenantHandle, build: Body) -> Proof:
    """No Job of the run is at work while it is suspended."""
    label = f"bascule.dev/run={build['metadata']['uid']}.{build['status']['run']['number']}"
    listed = json.loads(cluster.kubectl("get", "jobs", "-n", tenant.steps_namespace, "-l", label, "-o", "json"))[
        "items"
    ]
    active = [item["metadata"]["name"] for item in listed if item.get("status", {}).get("active")]
    return Proof(
        "nothing of it runs while it is suspended",
        f"kubectl get jobs -n {tenant.steps_namespace} -l {label}",
        not active,
        f"{len(listed)} Jobs, none active" if not active else ", ".join(active),
    )


def one_run(build: Body) -> Proof:
    status = build["status"]
    return Proof(
        "suspending and resuming made no second run",
        f"kubectl get imagebuild {build['metadata']['name']} -o jsonpath='{{.status.run.number}}'",
        status["run"]["number"] == 1 and status["phase"] == "Succeeded",
        f"run {status['run']['number']} {status['phase']}, waited {status['run'].get('waited') or 'no time'}",
    )


def gone(cluster: Cluster, tenant: TenantHandle, name: str) -> Proof:
    found = look(cluster, tenant, name)
    return Proof(
        f"{name} is gone, and its finalizer let it go only after that was settled",
        f"kubectl get imagebuild {name} -n {tenant.namespace}",
        found is None,
        "not found" if found is None else says(found),
    )


def unpublished(cluster: Cluster, build: Body) -> Proof:
    repository = build["spec"]["publish"]["repository"]
    found = tags(cluster, repository)
    return Proof(
        "its tags are gone from the registry",
        f"skopeo list-tags docker://{repository}",
        not set(found) & set(build["spec"]["publish"]["tags"]),
        ", ".join(found) or "no tags",
    )


def untouched(cluster: Cluster, tenant: TenantHandle, name: str) -> Proof:
    found = look(cluster, tenant, name) or {"metadata": {}}
    metadata = found["metadata"]
    forced = "bascule.dev/force-delete" in metadata.get("annotations", {})
    held = bool(metadata) and not forced and "deletionTimestamp" not in metadata
    return Proof(
        f"{name} is as it was",
        f"kubectl get imagebuild {name} -n {tenant.namespace} -o yaml",
        held,
        "there, without the annotation" if held else "changed",
    )
