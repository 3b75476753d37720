"""An executor that does nothing: every port of the workers answers at once. It exists in the bench only. Nodes and
their Leases are real, though the nodes are KWOK's.

Workflow, activities, interceptors and codec are the real ones; only the world that they would change is not there. An
image's digest is made of its run, so that nothing has to be remembered, not even over a restart.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

from bascule_api import names
from bascule_workers.activities.image_builds import Builder, ImageBuildPorts
from bascule_workers.activities.patch_targets import PatchTargetPorts
from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.kubernetes_nodes import KubernetesNodes
from bascule_workers.adapters.node_watch import NodeWatch
from bascule_workers.adapters.target_leases import KubernetesTargetLeases
from bascule_workers.plans.jobs import JobSettings
from bascule_workers.plans.outcomes import Outcome, Succeeded
from bascule_workers.ports.registry import Manifest, Repository
from bascule_workers.ports.secrets import Labelled
from bascule_workers.ports.signer import Attestation, PredicateType, SigningKey
from bascule_workers.ports.steps import Stopped

SECONDS_VARIABLE = "PARAM_SECONDS"
"""How long a step pretends to take: the parameter `seconds` of the bench's Procedure."""
_UID_LENGTH = 36


def run_tag_digest(tag: str) -> str:
    """The digest of the image that a run pushed under its tag `r-<uid>-<number>`."""
    uid, number = tag[2 : 2 + _UID_LENGTH], int(tag[3 + _UID_LENGTH :])
    return f"sha256:{uid.replace('-', '')}{number:032x}"


def run_of_digest(digest: str) -> str:
    """`<uid>/<number>` of the run that made the image."""
    text = digest.removeprefix("sha256:")
    parts = (text[:8], text[8:12], text[12:16], text[16:20], text[20:32])
    return names.run_of("-".join(parts), int(text[32:], 16))


class NoObjects:
    """Every Secret is a signing key, every ConfigMap a source."""

    async def secret(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        values = {"cosign.key": "none", "cosign.password": "none"}
        return {
            "metadata": {"name": name, "namespace": namespace, "labels": {names.LABEL_USE: "signing"}},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
        }

    async def config_map(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        return {"metadata": {"name": name, "namespace": namespace}, "data": {"Containerfile": "FROM scratch\n"}}

    async def labelled(self, namespace: str, label: str, value: str) -> list[Labelled]:
        return []

    async def create(self, objects: Sequence[Mapping[str, Any]]) -> None:
        pass

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        pass


class NoSteps:
    """No Job is created; a step succeeds after as many seconds as its parameter says."""

    async def run(self, job: Mapping[str, Any], *, known_note: str, limit_seconds: float) -> Outcome:
        variables = job["spec"]["template"]["spec"]["containers"][0]["env"]
        await asyncio.sleep(next((float(v["value"]) for v in variables if v["name"] == SECONDS_VARIABLE), 0.0))
        return Succeeded()

    async def log_tail(self, namespace: str, pod: str, container: str, lines: int = 40) -> str:
        return ""

    async def log(self, namespace: str, pod: str, container: str, *, limit_bytes: int) -> str:
        return ""

    async def stop(
        self, namespace: str, run: str, *, finished_too: bool, limit_seconds: float, target: str = ""
    ) -> Stopped:
        return Stopped(0, [])


class NoRegistry:
    """Holds the candidate of every run, and nothing that was published before."""

    async def check_push(self, repository: Repository) -> None:
        pass

    async def manifest(self, repository: Repository, reference: str) -> Manifest | None:
        digest = run_tag_digest(reference) if reference.startswith("r-") else reference
        if not digest.startswith("sha256:"):
            return None
        annotations = {names.IMAGE_RUN_ANNOTATION: run_of_digest(digest)}
        return Manifest(digest, "application/vnd.oci.image.manifest.v1+json", 1, annotations)

    async def tags(self, repository: Repository) -> list[str]:
        return []

    async def copy(self, source: Repository, target: Repository, digest: str) -> None:
        pass

    async def tag(self, repository: Repository, digest: str, tag: str) -> None:
        pass

    async def delete_tag(self, repository: Repository, tag: str) -> bool:
        return True

    async def delete(self, repository: Repository, digest: str) -> bool:
        return True


class NoSignatures:
    """Signer and verifier of one mind; there is no key of the platform, and so nothing is attested."""

    async def sign(self, repository: Repository, digest: str, key: SigningKey, annotations: Mapping[str, str]) -> None:
        pass

    async def verify(self, repository: Repository, digest: str, public_key: str, annotations: Mapping[str, str]) -> str:
        return digest

    async def attestations(
        self, repository: Repository, digest: str, public_key: str, kind: PredicateType
    ) -> list[Attestation]:
        return []

    async def attest(
        self, repository: Repository, digest: str, key: SigningKey, kind: PredicateType, predicate: Mapping[str, Any]
    ) -> None:
        pass

    async def describe(self, repository: Repository, digest: str) -> Mapping[str, Any]:
        return {}

    def private(self) -> SigningKey | None:
        return None

    def public(self) -> str | None:
        return None


class NoGit:
    async def resolve(self, url: str, revision: str, credentials: Mapping[str, str]) -> str:
        return "0" * 40


class NoTenants:
    async def keeps_artifacts_for(self, tenant: str) -> int:
        return 0

    async def build_cache(self, tenant: str) -> str | None:
        return None

    async def artifacts(self, tenant: str) -> Repository | None:
        return None

    async def public_key(self, tenant: str) -> str | None:
        return "none"


class NoLogs:
    async def keep(
        self, repository: Repository, tag: str, log: bytes, annotations: Mapping[str, str], media_type: str = ""
    ) -> str:
        return "sha256:" + "0" * 64

    async def expire(self, repository: Repository, before: date, most: int) -> int:
        return 0


class NoLeases:
    """Every lease is free, and remembers nothing."""

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[NoLeases]:
        yield self

    def check(self) -> None:
        pass

    def record(self, run: str) -> Mapping[str, str]:
        return {}

    async def keep(self, run: str, record: Mapping[str, str]) -> None:
        pass


def ports() -> ImageBuildPorts:
    """The world as the bench's worker sees it."""
    signatures = NoSignatures()
    return ImageBuildPorts(
        objects=NoObjects(),
        steps=NoSteps(),
        git=NoGit(),
        registry=NoRegistry(),
        signer=signatures,
        verifier=signatures,
        sboms=signatures,
        attester=signatures,
        platform_key=signatures,
        builder=Builder("https://bench.example.com", "bench"),
        tenants=NoTenants(),
        logs=NoLogs(),
        leases=NoLeases(),
        job_settings=JobSettings("bench.example.com/none"),
    )


def target_ports(api: ApiServer, nodes: NodeWatch) -> PatchTargetPorts:
    """The world of campaigns: real nodes, on which nothing is done."""
    world = ports()
    return PatchTargetPorts(
        nodes=KubernetesNodes(api, nodes),
        leases=KubernetesTargetLeases(api),
        steps=world.steps,
        objects=world.objects,
        tenants=world.tenants,
        logs=world.logs,
        job_settings=world.job_settings,
    )
