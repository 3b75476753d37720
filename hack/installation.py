"""Bascule in a cluster, as demo and tests need it: the chart installed, a tenant with its keys, things applied."""

from __future__ import annotations

import base64
import json
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hack.cluster.handle import Cluster
from hack.cluster.temporal_access import ADMINISTRATOR
from hack.cluster.temporal_server import TemporalKind

ROOT = Path(__file__).resolve().parent.parent
SYSTEM_NAMESPACE = "bascule-system"
PLATFORM_SECRET = "bascule-platform-signing"  # noqa: S105 - a Secret's name
TEMPORAL_OPERATOR_SECRET, TEMPORAL_WORKER_SECRET = "temporal-operator", "temporal-worker"
BASE_IMAGE = "library/debian:bookworm"


@dataclass(frozen=True)
class TenantHandle:
    """A tenant with one namespace, a signing key and the Secrets that its resources name."""

    name: str
    namespace: str
    public_key: str

    @property
    def steps_namespace(self) -> str:
        return f"bascule-steps-{self.name}"


def install(cluster: Cluster, *, extra_images: Mapping[str, str] | None = None, **overrides: Any) -> None:
    """Install or upgrade the chart with the images of this checkout and wait until its pods are ready.

    `extra_images`: of Procedures that are shipped only with an image of their own, such as `postgres`.

    Raises subprocess.CalledProcessError with helm's own words when it does not come up.
    """
    images = cluster.images
    values = {
        "provenance": {"keySecretName": PLATFORM_SECRET, "publicKey": make_platform_key(cluster)},
        "operator": {"image": images["operator"], "replicas": 1},
        "worker": {"image": images["worker"], "replicas": 1},
        "temporal": temporal_values(cluster),
        "drills": {"enabled": True},
        "trust": {"caBundle": cluster.ca_file.read_text()},
        "procedures": {
            "images": {
                "builder": images["builder"],
                "testRunner": images["test-runner"],
                "packer": images["packer"],
                **(extra_images or {}),
            }
        },
    } | overrides
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        cluster.exec(
            ["helm", "upgrade", "--install", "bascule", str(ROOT / "charts" / "bascule")]
            + ["--namespace", SYSTEM_NAMESPACE, "--create-namespace", "--values", file.name]
            + ["--wait", "--timeout", "4m"],
            check=True,
        )


def prepare_system_namespace(cluster: Cluster) -> None:
    """Make the platform's own namespace, for what is to be there before the chart."""
    apply(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}})


def temporal_values(cluster: Cluster) -> dict[str, Any]:
    """The chart's values for this cluster's Temporal, and the Secrets that they name."""
    values = {"address": cluster.temporal_in_cluster, "uiUrl": cluster.temporal_ui}
    if cluster.temporal is TemporalKind.DEV:
        return values
    prepare_system_namespace(cluster)
    named = {"operatorSecretName": TEMPORAL_OPERATOR_SECRET, "workerSecretName": TEMPORAL_WORKER_SECRET}
    for name in named.values():
        apply(cluster, temporal_secret(cluster, name, ADMINISTRATOR))
    return values | named


def temporal_secret(cluster: Cluster, name: str, permissions: Sequence[str]) -> dict[str, Any]:
    """A Secret with what this cluster's Temporal demands of who has these permissions."""
    content = cluster.temporal_credentials(name, permissions)
    metadata = {"name": name, "namespace": SYSTEM_NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": content}


def apply(cluster: Cluster, *documents: dict[str, Any]) -> None:
    """Apply objects server-side, as a GitOps controller would."""
    text = "\n---\n".join(json.dumps(document) for document in documents)
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=text)


def make_key_pair(cluster: Cluster) -> tuple[str, str, str]:
    """A new cosign key: private PEM, its password, public PEM."""
    password = secrets.token_urlsafe(18)
    with tempfile.TemporaryDirectory() as folder:
        cluster.exec(
            ["cosign", "generate-key-pair", "--output-key-prefix", f"{folder}/cosign"],
            env={"COSIGN_PASSWORD": password},
            check=True,
        )
        return Path(folder, "cosign.key").read_text(), password, Path(folder, "cosign.pub").read_text()


def make_platform_key(cluster: Cluster) -> str:
    """Make the platform's signing key once, as a platform team does. Returns its public half."""
    named = ["secret", PLATFORM_SECRET, "-n", SYSTEM_NAMESPACE]
    found = cluster.kubectl("get", *named, "--ignore-not-found", "-o", "json")
    if found.strip():
        return base64.b64decode(json.loads(found)["data"]["cosign.pub"]).decode()
    key, password, public = make_key_pair(cluster)
    secret = signing_secret(SYSTEM_NAMESPACE, key, password, PLATFORM_SECRET)
    secret["data"]["cosign.pub"] = base64.b64encode(public.encode()).decode()
    prepare_system_namespace(cluster)
    apply(cluster, secret)
    return public


def make_tenant(
    cluster: Cluster,
    name: str,
    namespace: str | None = None,
    *,
    temporal: dict[str, Any] | None = None,
    node_selector: dict[str, str] | None = None,
    ready: str = "True",
) -> TenantHandle:
    """Create a tenant as a platform team does, and wait until its condition Ready is as `ready` says.

    Its namespace, the manifests that `bascule tenant manifests` prints, a signing key, and the Tenant itself, whose
    spec.temporal is `temporal`. With a `node_selector` its campaigns may patch those nodes.
    """
    namespace = namespace or f"{name}-dev"
    key, password, public = make_key_pair(cluster)
    apply(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    manifests = cluster.exec(
        [str(ROOT / ".venv/bin/bascule"), "tenant", "manifests", name, "--namespace", namespace]
        + ["--ca-file", str(cluster.ca_file)]
        + (["--patches-nodes"] if node_selector else []),
        check=True,
    ).stdout
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=manifests)
    spec = {"namespaces": [namespace], "signing": {"publicKey": public}, "temporal": temporal or {}}
    apply(
        cluster,
        signing_secret(namespace, key, password),
        {
            "apiVersion": "bascule.dev/v1alpha1",
            "kind": "Tenant",
            "metadata": {"name": name},
            "spec": spec | ({"nodeSelector": node_selector} if node_selector else {}),
        },
    )
    cluster.kubectl("wait", f"--for=condition=Ready={ready}", f"tenant/{name}", "--timeout=90s")
    return TenantHandle(name, namespace, public)


def signing_secret(namespace: str, key: str, password: str, name: str = "signing-key") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": {"bascule.dev/use": "signing"}},
        "data": {
            "cosign.key": base64.b64encode(key.encode()).decode(),
            "cosign.password": base64.b64encode(password.encode()).decode(),
        },
    }


def registry_secret(namespace: str, host: str, user: str, password: str, name: str = "push") -> dict[str, Any]:
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"bascule.dev/use": "registry"},
            "annotations": {"bascule.dev/host": host},
        },
        "stringData": {".dockerconfigjson": json.dumps({"auths": {host: {"auth": token}}})},
    }


def config_map(namespace: str, name: str, files: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": files}


def image_build(namespace: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "bascule.dev/v1alpha1",
        "kind": "ImageBuild",
        "metadata": {"name": name, "namespace": namespace} | metadata,
        "spec": spec,
    }
