"""Steps at nodes without a campaign: the container of a shipped Procedure, in a plain pod with the same contract."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import yaml

from bascule_api.base import ParameterValue
from bascule_api.parameters import effective_parameters, parameter_errors
from bascule_api.procedures import Procedure, SecurityProfile, Volume
from hack.cluster.handle import Cluster
from hack.generated import ROOT

CHART = ROOT / "charts" / "bascule"
PATIENCE = 300.0
_RESTRICTED = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True)
class Ended:
    """How a step ended."""

    code: int
    message: str
    results: Mapping[str, str]
    log: str


@dataclass(frozen=True)
class Platform:
    """The shipped Procedures as the chart renders them, and a namespace that stands for a steps namespace."""

    cluster: Cluster
    namespace: str
    images: Mapping[str, str] = field(default_factory=dict)
    """More images for the chart's `procedures.images`."""

    @cached_property
    def procedures(self) -> Mapping[str, Procedure]:
        images = {"worker.image": self.cluster.images["worker"]}
        images |= {f"procedures.images.{name}": reference for name, reference in self.images.items()}
        settings = [word for name, value in images.items() for word in ("--set", f"{name}={value}")]
        argv = ["helm", "template", "bascule", str(CHART), "--values", str(CHART / "ci/values.yaml"), *settings]
        documents = yaml.safe_load_all(self.cluster.exec(argv, check=True).stdout)
        found = (Procedure.model_validate(made) for made in documents if made and made["kind"] == "Procedure")
        return {procedure.metadata.name: procedure for procedure in found}

    def holder(self, node: str, program: str) -> Attempt:
        """A pod that runs some Python in the node's root until it is killed."""
        name = f"holder-{secrets.token_hex(4)}"
        container = {
            "name": "step",
            "image": self.cluster.images["worker"],
            "command": ["python3", "-c", f"import os; os.chdir('/host'); {program}"],
            "volumeMounts": [{"name": "host", "mountPath": "/host"}],
            "securityContext": {"privileged": True, "runAsUser": 0},
        }
        volumes = [{"name": "host", "hostPath": {"path": "/"}}]
        spec = {"nodeName": node, "restartPolicy": "Never", "containers": [container], "volumes": volumes}
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        self.cluster.kubectl("apply", "-f", "-", input=json.dumps(body))
        attempt = Attempt(self.cluster, self.namespace, name)
        attempt.until("holding")
        return attempt

    def step(self, procedure: str, node: str, run: str, **parameters: ParameterValue) -> HostStep:
        """A step of a run (`uid/number`) that is to be carried out at a node."""
        spec = self.procedures[procedure].spec
        assert parameter_errors(spec.parameters, parameters) == []
        return HostStep(self, self.procedures[procedure], node, run, parameters)


@dataclass(frozen=True)
class HostStep:
    """One step at a node; every `start` is another attempt in another pod."""

    platform: Platform
    procedure: Procedure
    node: str
    run: str
    parameters: Mapping[str, ParameterValue]
    name: str = "wave-canary"
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    ssh: Mapping[str, str] = field(default_factory=dict)

    def given(self, *, files: Mapping[str, str], ssh: Mapping[str, str], environment: Mapping[str, str]) -> HostStep:
        """The same with files at /bascule/source, an SSH login, and more variables."""
        return replace(self, files=files, ssh=ssh, environment=environment)

    def start(self) -> Attempt:
        pod = f"{self.procedure.metadata.name}-{secrets.token_hex(4)}"
        for kind, name, content in (("ConfigMap", "files", self.files), ("Secret", "ssh", self.ssh)):
            metadata = {"name": f"{pod}-{name}", "namespace": self.platform.namespace}
            text = {"data" if kind == "ConfigMap" else "stringData": dict(content)}
            given = {"apiVersion": "v1", "kind": kind, "metadata": metadata} | text
            self.platform.cluster.kubectl("apply", "-f", "-", input=json.dumps(given))
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod, "namespace": self.platform.namespace},
            "spec": self._pod(pod),
        }
        self.platform.cluster.kubectl("apply", "-f", "-", input=json.dumps(body))
        return Attempt(self.platform.cluster, self.platform.namespace, pod)

    def carried_out(self) -> Ended:
        return self.start().ended()

    def _pod(self, name: str) -> dict[str, Any]:
        spec = self.procedure.spec
        host = spec.security_profile is SecurityProfile.HOST
        shared = {"name": "bascule", "mountPath": "/bascule"}
        files = {"name": "files", "mountPath": "/bascule-input", "readOnly": True}
        ssh = {"name": "ssh", "mountPath": "/run/bascule/ssh", "readOnly": True}
        values = effective_parameters(spec.parameters, self.parameters)
        source = {"configMap": "/bascule-input"} if self.files else None
        step = {
            "name": "BASCULE_STEP",
            "value": json.dumps({"parameters": values, "source": source}).replace("$", "$$"),
        }
        container = spec.template.container
        own = [
            {"name": mount.name, "mountPath": mount.mount_path, "readOnly": mount.read_only}
            for mount in container.volume_mounts
        ]
        return {
            **({"nodeName": self.node} if self.node else {}),
            "hostPID": host,
            "restartPolicy": "Never",
            "securityContext": {"runAsUser": 0, "runAsGroup": 0} if host else {"fsGroup": 65532},
            "initContainers": [
                {
                    "name": "prepare",
                    "image": self.platform.cluster.images["worker"],
                    "command": ["python", "-m", "bascule_workers.prepare"],
                    "env": [step],
                    "volumeMounts": [shared, files],
                }
            ],
            "containers": [
                {
                    "name": "step",
                    "image": container.image,
                    "command": container.command,
                    "env": self._environment(),
                    "volumeMounts": [shared, ssh, *own],
                    "securityContext": {"privileged": True} if host else _RESTRICTED,
                }
            ],
            "volumes": [
                {"name": "bascule", "emptyDir": {}},
                {"name": "files", "configMap": {"name": f"{name}-files"}},
                {"name": "ssh", "secret": {"secretName": f"{name}-ssh", "defaultMode": 0o440}},
                *map(_volume, spec.template.volumes),
            ],
        }

    def _environment(self) -> list[dict[str, str]]:
        values = {
            "BASCULE_PARAMS_DIR": "/bascule/params",
            "BASCULE_SOURCE_DIR": "/bascule/source",
            "BASCULE_RUN": self.run,
            "BASCULE_STEP_NAME": self.name,
            "BASCULE_TARGET": self.node,
        }
        values |= {variable.name: variable.value for variable in self.procedure.spec.template.container.env}
        return [{"name": name, "value": value} for name, value in (values | dict(self.environment)).items()]


def _volume(volume: Volume) -> dict[str, Any]:
    if volume.host_path:
        return {"name": volume.name, "hostPath": {"path": volume.host_path}}
    if volume.config_map:
        return {"name": volume.name, "configMap": {"name": volume.config_map, "optional": True}}
    return {"name": volume.name, "emptyDir": {}}


@dataclass(frozen=True)
class Attempt:
    """A pod that carries out a step."""

    cluster: Cluster
    namespace: str
    pod: str

    def status(self) -> dict[str, Any]:
        body = json.loads(self.cluster.kubectl("get", "pod", self.pod, "-n", self.namespace, "-o", "json"))
        status: dict[str, Any] = body["status"]
        return status

    def log(self) -> str:
        return self.cluster.kubectl("logs", "-n", self.namespace, self.pod, "-c", "step")

    def until(self, holds: str) -> None:
        """Wait until its log has these words."""
        deadline = time.monotonic() + PATIENCE
        while self.status()["phase"] == "Pending" or holds not in self.log():
            assert time.monotonic() < deadline, f"{self.pod} never said {holds!r}"
            time.sleep(0.2)

    def outcome(self) -> str:
        """Wait until the pod is over, whoever ended it. Returns its phase."""
        deadline = time.monotonic() + PATIENCE
        while (status := self.status())["phase"] not in ("Succeeded", "Failed"):
            assert time.monotonic() < deadline, f"{self.pod} does not end: {status}"
            time.sleep(0.3)
        return str(status["phase"])

    def ended(self) -> Ended:
        self.outcome()
        status = self.status()
        state = status["containerStatuses"][0]["state"]["terminated"]
        report = json.loads(state.get("message") or "{}")
        return Ended(state["exitCode"], report.get("message", ""), report.get("results", {}), self.log())

    def kill(self) -> None:
        """End the pod as a lost node's is: at once."""
        self.cluster.kubectl("delete", "pod", self.pod, "-n", self.namespace, "--grace-period=0", "--force")
