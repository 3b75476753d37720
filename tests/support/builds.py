"""A fluent builder of ImageBuilds, and what tests ask of a real one."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hack import installation
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle

BASE = "library/busybox:stable"
CONTAINERFILE = "ARG BASE\nFROM ${BASE}\nCOPY greeting /greeting\nUSER 65532\n"
TERMINAL = ("Succeeded", "Failed", "Cancelled", "Rejected")
PATIENCE = 300

Body = dict[str, Any]


@dataclass(frozen=True)
class ImageBuildBuilder:
    """Builds the object; a test states only what matters to it."""

    name: str
    cluster: Cluster
    tenant: TenantHandle
    files: dict[str, str] = field(default_factory=lambda: {"Containerfile": CONTAINERFILE, "greeting": "hello\n"})
    spec: Body = field(default_factory=dict)
    metadata: Body = field(default_factory=dict)

    @property
    def repository(self) -> str:
        return str(self.spec.get("publish", {}).get("repository") or self.default_repository)

    @property
    def default_repository(self) -> str:
        return f"{self.cluster.registry}/{self.tenant.name}/{self.name[:60].strip('.-')}"

    @property
    def candidates(self) -> str:
        return f"{self.repository}-candidates"

    def with_file(self, name: str, content: str) -> ImageBuildBuilder:
        return replace(self, files=self.files | {name: content})

    def with_test(self, name: str, *command: str, timeout: str | None = None) -> ImageBuildBuilder:
        test: Body = {"name": name, "procedure": "run-image", "parameters": {"command": list(command)}}
        if timeout:
            test["timeout"] = timeout
        return replace(self, spec=self.spec | {"tests": [*self.spec.get("tests", []), test]})

    def with_spec(self, **fields: Any) -> ImageBuildBuilder:
        return replace(self, spec=self.spec | fields)

    def with_publish(self, **fields: Any) -> ImageBuildBuilder:
        return replace(self, spec=self.spec | {"publish": self.spec.get("publish", {}) | fields})

    def with_metadata(self, **fields: Any) -> ImageBuildBuilder:
        return replace(self, metadata=self.metadata | fields)

    @property
    def body(self) -> Body:
        defaults: Body = {
            "source": {"configMap": {"name": f"{self.name[:200].rstrip('.-')}-source"}},
            "build": {"procedure": "buildah", "parameters": {"buildArgs": [f"BASE={self.cluster.registry}/{BASE}"]}},
            "sign": {"keySecretRef": {"name": "signing-key"}},
        }
        publish = {"repository": self.default_repository, "tags": ["v1"]} | self.spec.get("publish", {})
        spec = defaults | self.spec | {"publish": publish}
        return installation.image_build(self.tenant.namespace, self.name, spec, **self.metadata)

    def apply(self) -> Build:
        """Apply source and resource, as a user would."""
        body = self.body
        documents = [body]
        if "configMap" in body["spec"]["source"]:
            source = body["spec"]["source"]["configMap"]["name"]
            documents.insert(0, installation.config_map(self.tenant.namespace, source, self.files))
        installation.apply(self.cluster, *documents)
        return Build(self)


class Applied(ABC):
    """An applied resource, looked at through the API only."""

    @property
    @abstractmethod
    def cluster(self) -> Cluster: ...
    @property
    @abstractmethod
    def arguments(self) -> list[str]:
        """What kubectl calls it: kind, name and namespace."""

    @property
    def name(self) -> str:
        return self.arguments[1]

    def get(self) -> Body | None:
        found = self.cluster.kubectl("get", *self.arguments, "--ignore-not-found", "-o", "json")
        return json.loads(found) if found.strip() else None

    def until(self, wanted: Callable[[Body], bool], what: str, seconds: int = PATIENCE) -> Body:
        """The object once `wanted` holds. Fails naming `what` and the last status."""
        body: Body | None = None
        for _ in range(seconds * 2):
            body = self.get()
            if body is not None and wanted(body):
                return body
            time.sleep(0.5)
        raise AssertionError(f"{self.name}: not {what} in {seconds} s; last seen: {json.dumps(body, indent=2)}")

    def until_over(self) -> Body:
        """The object once its run is over and its compensation settled."""

        def over(body: Body) -> bool:
            status = body.get("status", {})
            current = status.get("observedGeneration") == body["metadata"]["generation"]
            return current and status.get("phase") in TERMINAL

        return self.until(over, "over")

    def until_phase(self, phase: str) -> Body:
        body = self.until_over() if phase in TERMINAL else self.until(lambda b: phase_of(b) == phase, phase)
        assert phase_of(body) == phase, json.dumps(body["status"], indent=2)
        return body

    def until_step(self, name: str, state: str) -> Body:
        return self.until(lambda body: steps_of(body).get(name) == state, f"step {name} {state}")

    def delete(self) -> None:
        self.cluster.kubectl("delete", *self.arguments, "--wait=false")

    def until_gone(self, seconds: int = PATIENCE) -> None:
        for _ in range(seconds * 2):
            if self.get() is None:
                return
            time.sleep(0.5)
        raise AssertionError(f"{self.name} still there after {seconds} s: {json.dumps(self.get(), indent=2)}")

    def annotate(self, **annotations: str) -> None:
        pairs = [f"bascule.dev/{key.replace('_', '-')}={value}" for key, value in annotations.items()]
        self.cluster.kubectl("annotate", "--overwrite", *self.arguments, *pairs)


@dataclass(frozen=True)
class Build(Applied):
    """An applied ImageBuild."""

    made: ImageBuildBuilder

    @property
    def cluster(self) -> Cluster:
        return self.made.cluster

    @property
    def arguments(self) -> list[str]:
        return ["imagebuild", self.made.name, "-n", self.made.tenant.namespace]


def phase_of(body: Body) -> str:
    return str(body.get("status", {}).get("phase", ""))


def steps_of(body: Body) -> dict[str, str]:
    return {step["name"]: step["state"] for step in body.get("status", {}).get("steps", [])}


def condition(body: Body, kind: str) -> Body:
    """The condition of that type, or an empty object."""
    return next((c for c in body.get("status", {}).get("conditions", []) if c["type"] == kind), {})


def tags(cluster: Cluster, repository: str, *credentials: str) -> list[str]:
    """Tags of a repository as skopeo sees them; none when the registry does not know the repository."""
    found = cluster.exec(["skopeo", "list-tags", *credentials, f"docker://{repository}"])
    if found.returncode != 0:
        assert any(word in found.stderr.lower() for word in ("unknown", "not found", "404")), found.stderr
        return []
    return list(json.loads(found.stdout)["Tags"] or [])


def digest_of(cluster: Cluster, reference: str, *credentials: str) -> str:
    inspected = cluster.exec(
        ["skopeo", "inspect", "--format", "{{.Digest}}", *credentials, f"docker://{reference}"], check=True
    )
    return inspected.stdout.strip()


def step_objects(cluster: Cluster, tenant: TenantHandle, uid: str, kinds: str) -> list[str]:
    """`Kind/name` of what a resource's runs have among the steps."""
    listed = json.loads(cluster.kubectl("get", kinds, "-n", tenant.steps_namespace, "-o", "json"))["items"]
    return [
        f"{item['kind']}/{item['metadata']['name']}"
        for item in listed
        if item["metadata"].get("labels", {}).get("bascule.dev/run", "").startswith(uid)
    ]
