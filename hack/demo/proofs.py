"""What a newcomer would check by hand, checked by hand: with cosign, skopeo and kubectl, never by our own word."""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster.handle import Cluster
from hack.installation import SYSTEM_NAMESPACE, TenantHandle


@dataclass(frozen=True)
class Proof:
    """A claim, what was run to check it, and whether it held."""

    claim: str
    command: str
    held: bool
    seen: str


def tags(cluster: Cluster, repository: str) -> list[str]:
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


def _verified(cluster: Cluster, folder: str, reference: str, kind: str) -> tuple[dict[str, Any], str]:
    """An attestation's predicate, as cosign verifies it with the key that the cluster publishes; or what is wrong."""
    published = ["configmap", "bascule-platform-key", "-n", SYSTEM_NAMESPACE]
    key = Path(folder, "platform.pub")
    key.write_text(cluster.kubectl("get", *published, "-o", "jsonpath={.data.cosign\\.pub}"))
    command = ["cosign", "verify-attestation", "--key", str(key), "--insecure-ignore-tlog=true", "--type", kind]
    found = cluster.exec([*command, reference])
    if found.returncode != 0:
        return {}, found.stderr.strip()[-300:]
    statement = json.loads(base64.b64decode(json.loads(found.stdout.splitlines()[0])["payload"]))
    return dict(statement["predicate"]), ""


def attested(cluster: Cluster, build: dict[str, Any], package: str) -> list[Proof]:
    """What the image consists of and how it came to be, in the platform's word for it."""
    reference, run = build["status"]["image"]["reference"], f"{build['metadata']['uid']}/1"
    with tempfile.TemporaryDirectory() as folder:
        sbom, sbom_problem = _verified(cluster, folder, reference, "spdxjson")
        provenance, provenance_problem = _verified(cluster, folder, reference, "slsaprovenance1")
    names = [item["name"] for item in sbom.get("packages", [])]
    definition = provenance.get("buildDefinition", {})
    dependencies = definition.get("resolvedDependencies") or [{}]
    command = "cosign verify-attestation --key platform.pub --type {} " + reference
    return [
        Proof(
            f"the SBOM verifies with the platform's key, and names {package}, which was installed",
            command.format("spdxjson"),
            package in names,
            sbom_problem or f"{len(names)} packages, {package} {'among' if package in names else 'not among'} them",
        ),
        Proof(
            "the provenance verifies with the platform's key, and names this run",
            command.format("slsaprovenance1"),
            definition.get("internalParameters", {}).get("run") == run,
            provenance_problem or f"run {run} from {dependencies[0].get('uri')}",
        ),
    ]


def file_published(cluster: Cluster, build: dict[str, Any], name: str) -> Proof:
    """A Packer template's file, where its tag points."""
    reference = f"{build['spec']['publish']['repository']}:v1"
    found = cluster.exec(["skopeo", "inspect", "--raw", f"docker://{reference}"])
    layers = json.loads(found.stdout).get("layers", []) if found.returncode == 0 else []
    titles = [layer.get("annotations", {}).get("org.opencontainers.image.title", "") for layer in layers]
    return Proof(
        f"the Packer build published its file {name}",
        f"skopeo inspect --raw docker://{reference}",
        name in titles,
        ", ".join(titles) or found.stderr.strip()[-300:],
    )


def candidates_gone(cluster: Cluster, repository: str, why: str) -> Proof:
    found = tags(cluster, f"{repository}-candidates")
    return Proof(
        f"{why}: its candidate is gone from the registry",
        f"skopeo list-tags docker://{repository}-candidates",
        not found,
        "no tags" if not found else ", ".join(found),
    )


def nothing_published(cluster: Cluster, repository: str) -> Proof:
    found = tags(cluster, repository)
    return Proof(
        "nothing of it was published",
        f"skopeo list-tags docker://{repository}",
        not found,
        "no tags" if not found else ", ".join(found),
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
