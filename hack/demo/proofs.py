"""What a newcomer would check by hand, checked by hand: with cosign, skopeo and kubectl, never by our own word."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster.handle import Cluster
from hack.installation import TenantHandle


@dataclass(frozen=True)
class Proof:
    """A claim, what was run to check it, and whether it held."""

    claim: str
    command: str
    held: bool
    seen: str


def _tags(cluster: Cluster, repository: str) -> list[str]:
    """Tags of a repository; none when the registry does not know it."""
    found = cluster.exec(["skopeo", "list-tags", f"docker://{repository}"])
    if found.returncode != 0:
        if "unknown" in found.stderr or "not found" in found.stderr or "404" in found.stderr:
            return []
        raise RuntimeError(f"skopeo list-tags {repository}: {found.stderr.strip()}")
    return list(json.loads(found.stdout)["Tags"] or [])


def published_and_signed(cluster: Cluster, tenant: TenantHandle, build: dict[str, Any]) -> list[Proof]:
    reference = build["status"]["image"]["reference"]
    repository = build["spec"]["publish"]["repository"]
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder, "cosign.pub")
        key.write_text(tenant.public_key)
        verified = cluster.exec(["cosign", "verify", "--key", str(key), "--insecure-ignore-tlog=true", reference])
    inspected = cluster.exec(["skopeo", "inspect", "--format", "{{.Digest}}", f"docker://{repository}:v1"])
    digest = reference.partition("@")[2]
    return [
        Proof(
            "the signature of the published image verifies with the tenant's public key",
            f"cosign verify --key cosign.pub {reference}",
            verified.returncode == 0,
            "verified" if verified.returncode == 0 else verified.stderr.strip()[-300:],
        ),
        Proof(
            "the tag v1 points at the digest that the status names",
            f"skopeo inspect docker://{repository}:v1",
            inspected.stdout.strip() == digest,
            inspected.stdout.strip() or inspected.stderr.strip()[-300:],
        ),
    ]


def candidates_gone(cluster: Cluster, repository: str, why: str) -> Proof:
    tags = _tags(cluster, f"{repository}-candidates")
    return Proof(
        f"{why}: its candidate is gone from the registry",
        f"skopeo list-tags docker://{repository}-candidates",
        not tags,
        "no tags" if not tags else ", ".join(tags),
    )


def nothing_published(cluster: Cluster, repository: str) -> Proof:
    tags = _tags(cluster, repository)
    return Proof(
        "nothing of it was published",
        f"skopeo list-tags docker://{repository}",
        not tags,
        "no tags" if not tags else ", ".join(tags),
    )


def no_leftovers(cluster: Cluster, tenant: TenantHandle, uid: str) -> Proof:
    """No Job, pod, Secret or ConfigMap of the deleted resource's runs remains among the steps."""
    listed = cluster.kubectl("get", "jobs,pods,secrets,configmaps", "-n", tenant.steps_namespace, "-o", "json")
    left = [
        f"{item['kind']}/{item['metadata']['name']}"
        for item in json.loads(listed)["items"]
        if item["metadata"].get("labels", {}).get("bascule.dev/run", "").startswith(uid)
    ]
    return Proof(
        "the deleted build left nothing in the cluster",
        f"kubectl get jobs,pods,secrets,configmaps -n {tenant.steps_namespace}",
        not left,
        "nothing" if not left else ", ".join(left),
    )
