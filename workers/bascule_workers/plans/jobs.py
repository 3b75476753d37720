"""A step's Job, rendered from the pinned Procedure. Pure: the same request gives the same Job."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bascule_api import names
from bascule_api.base import ParameterValue
from bascule_api.parameters import effective_parameters
from bascule_api.procedures import Container, SecurityProfile, Submodules, Volume
from bascule_workers.errors import StepFailedError
from bascule_workers.messages import ProcedureRequest
from bascule_workers.plans import credentials

SHARED = "/bascule"
INPUT = "/bascule-input"
GIT = "/run/bascule/git"
CA_FOLDER = "/etc/bascule/ca"
CA_KEY = "ca-bundle.crt"
PREPARE = "bascule-prepare"
STEP_LIMIT = 96 * 1024
"""Bytes of what the prepare container is told, at most: an environment variable may have 128 KiB."""
USER = 65532
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

_RESTRICTED_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_NOT_ROOT = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER}
_SECCOMP = {"seccompProfile": {"type": "RuntimeDefault"}}


@dataclass(frozen=True)
class JobSettings:
    """What the platform adds to every Job."""

    tools_image: str
    """Image that holds this package: it prepares parameters and source."""
    ca_config_map: str = ""
    """ConfigMap of the steps namespace whose key `ca-bundle.crt` steps trust; empty: the images' own."""


@dataclass(frozen=True)
class JobTraits:
    """What the Jobs of one kind of step have besides what those of all steps have."""

    words: tuple[str, ...] = ()
    """What a Job's name says, and depends on, besides the step."""
    depends_on: Mapping[str, Any] = field(default_factory=dict)
    """What the step does, besides its Procedure with parameters and source: JSON."""
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of every container of the step."""
    candidate: str = ""
    """The image that `imageFrom: Candidate` means; empty: there is none."""
    own_mounts: Sequence[Mapping[str, Any]] = ()
    """Mounts of the step's own container."""
    own_environment: Mapping[str, str] = field(default_factory=dict)
    volumes: Sequence[Mapping[str, Any]] = ()
    pod: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the pod's spec, instead of those that all have."""
    host: bool = False
    """Whether the step may have the node itself."""
    secrets: Sequence[str] = ()
    """Names of Secrets of the Job's namespace whose values must not be shown, besides those of the run's own."""


PLAIN = JobTraits()


def job_name(request: ProcedureRequest, traits: JobTraits = PLAIN) -> str:
    """The same for every repetition of a step; a lost Job's successor gets another."""
    attempt = (f"a{request.job_attempt}",) if request.job_attempt > 1 else ()
    return names.object_name(request.run.uid, request.run.number, request.step, *traits.words, *attempt)


def spec_hash(request: ProcedureRequest, traits: JobTraits = PLAIN) -> str:
    """What a step does, as a label's value: of the request only, so that an upgrade in mid-run adopts its Jobs."""
    parts = {
        "procedure": request.procedure.hash,
        "parameters": request.parameters,
        "source": _source_facts(request),
        "attempt": request.job_attempt,
    }
    return hashlib.sha256(json.dumps({**parts, **traits.depends_on}, sort_keys=True).encode()).hexdigest()[:32]


def _source_facts(request: ProcedureRequest) -> dict[str, Any] | None:
    if request.source is None:
        return None
    # Without what is empty: a hash must not change because an upgrade brings another field.
    return {key: value for key, value in request.source.to_wire().items() if value != ""}


def identity(request: ProcedureRequest, traits: JobTraits = PLAIN) -> dict[str, str]:
    """The labels by which a Job is known to be this step of this run."""
    return {
        names.LABEL_RUN: names.run_label(request.run.uid, request.run.number),
        names.LABEL_STEP: request.step,
        names.LABEL_SPEC_HASH: spec_hash(request, traits),
    }


def render_job(request: ProcedureRequest, settings: JobSettings, traits: JobTraits = PLAIN) -> dict[str, Any]:
    """The Job of a step. Raises StepFailedError when the Procedure cannot be rendered."""
    spec = request.procedure.spec
    if spec.security_profile == SecurityProfile.HOST and not traits.host:
        raise StepFailedError(
            f"the Procedure {request.procedure.name} has the securityProfile Host: it is for nodes that are patched"
        )
    labels = {
        **identity(request, traits),
        names.LABEL_TENANT: request.tenant.name,
        names.LABEL_KIND: request.run.kind,
        **traits.labels,
    }
    annotations = {
        names.ANNOTATION_RUN: names.run_of(request.run.uid, request.run.number),
        names.ANNOTATION_RESOURCE: f"{request.run.namespace}/{request.run.name}",
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(request, traits),
            "namespace": request.job_namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {
            # The workflow repeats a step, not the Job controller: attempts are the run's to count.
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "activeDeadlineSeconds": request.timeout_seconds,
            "ttlSecondsAfterFinished": request.keep_seconds,
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": _pod(request, settings, traits),
            },
        },
    }


def _pod(request: ProcedureRequest, settings: JobSettings, traits: JobTraits) -> dict[str, Any]:
    template = request.procedure.spec.template
    return {
        # A tenant's ServiceAccount is in its steps namespace; elsewhere there is none but the namespace's own.
        "serviceAccountName": "default" if request.namespace else request.tenant.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        # A build that makes things elsewhere has to take back, when it is stopped, what it began.
        "terminationGracePeriodSeconds": 30 if request.procedure.spec.undo else 10,
        "tolerations": [
            # A step moves off a lost node after a minute, not after the default five.
            {
                "key": f"node.kubernetes.io/{trouble}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 60,
            }
            for trouble in ("not-ready", "unreachable")
        ],
        "securityContext": _pod_security(request),
        "initContainers": [_prepare(request, settings)]
        + [_container(container, request, settings, traits, main=False) for container in template.init_containers],
        "containers": [_container(template.container, request, settings, traits, main=True)],
        "volumes": _volumes(request, settings, traits),
        **traits.pod,
    }


def _pod_security(request: ProcedureRequest) -> dict[str, Any]:
    if request.procedure.spec.security_profile != SecurityProfile.RESTRICTED:
        return {"fsGroup": USER}
    return {**_NOT_ROOT, "fsGroup": USER, **_SECCOMP}


def _prepare(request: ProcedureRequest, settings: JobSettings) -> dict[str, Any]:
    """The container that puts parameters and source where the step finds them."""
    mounts = [{"name": "bascule", "mountPath": SHARED}, *_ca_mount(settings)]
    source: dict[str, Any] | None = None
    if request.source and request.source.git:
        allowed = request.procedure.spec.source.submodules == Submodules.ALLOW
        source = {"git": request.source.git.to_wire() | ({"submodules": True} if allowed else {})}
        if request.source.git.login:
            mounts.append({"name": "bascule-git", "mountPath": GIT, "readOnly": True})
    elif request.source:
        source = {"configMap": INPUT}
        mounts.append({"name": "bascule-input", "mountPath": INPUT, "readOnly": True})
    step = json.dumps({"parameters": parameters(request), "source": source}, ensure_ascii=False)
    if len(step.encode()) > STEP_LIMIT:
        raise StepFailedError(f"the parameters of {request.step} are larger than {STEP_LIMIT} bytes")
    return {
        "name": PREPARE,
        "image": settings.tools_image,
        "command": ["python", "-m", "bascule_workers.prepare"],
        "env": [{"name": "BASCULE_STEP", "value": escaped(step)}, *_ca_env(settings)],
        "volumeMounts": mounts,
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {**_RESTRICTED_CONTAINER, **_NOT_ROOT, **_SECCOMP},
    }


def _container(
    container: Container, request: ProcedureRequest, settings: JobSettings, traits: JobTraits, *, main: bool
) -> dict[str, Any]:
    mounts = [{"name": "bascule", "mountPath": SHARED}, *_ca_mount(settings)]
    env = environment(request, settings, traits)
    # What a tenant's own image runs gets no credentials of the run.
    if main and container.image_from is None:
        mounts += [dict(mount) for mount in traits.own_mounts]
        env += [{"name": name, "value": escaped(value)} for name, value in traits.own_environment.items()]
    mounts += [_mount(mount.name, mount.mount_path, read_only=mount.read_only) for mount in container.volume_mounts]
    rendered: dict[str, Any] = {
        "name": container.name,
        "image": _image(container, request, traits),
        "env": env + [{"name": variable.name, "value": variable.value} for variable in container.env],
        "volumeMounts": mounts,
    }
    if container.command:
        rendered["command"] = container.command
    if container.args:
        rendered["args"] = container.args
    if container.working_dir:
        rendered["workingDir"] = container.working_dir
    if resources := container.resources.to_wire():
        rendered["resources"] = {key: value for key, value in resources.items() if value}
    match request.procedure.spec.security_profile:
        case SecurityProfile.RESTRICTED:
            rendered["securityContext"] = dict(_RESTRICTED_CONTAINER)
        case SecurityProfile.BUILD if main:
            rendered["securityContext"] = {"runAsUser": 0}
        case SecurityProfile.HOST:
            rendered["securityContext"] = {"privileged": True, "runAsUser": 0}
    return rendered


def _image(container: Container, request: ProcedureRequest, traits: JobTraits) -> str:
    if container.image_from is None:
        return container.image or ""
    if not traits.candidate:
        raise StepFailedError(f"the Procedure {request.procedure.name} wants the built image, and there is none yet")
    return traits.candidate


def parameters(request: ProcedureRequest) -> dict[str, ParameterValue]:
    """The values that the step runs with. Raises StepFailedError for one that no environment variable can hold."""
    values = effective_parameters(request.procedure.spec.parameters, request.parameters)
    for name, value in values.items():
        if "\0" in (value if isinstance(value, str) else "".join(value) if isinstance(value, list) else ""):
            raise StepFailedError(f"the parameter {name} of {request.step} holds a NUL character")
    return values


def environment(request: ProcedureRequest, settings: JobSettings, traits: JobTraits = PLAIN) -> list[dict[str, str]]:
    """What every container of the step finds in its environment. Lists: one item per line; exact ones are files."""
    values = {f"PARAM_{_upper_snake(name)}": _text(value) for name, value in parameters(request).items()}
    values |= {
        "BASCULE_PARAMS_DIR": f"{SHARED}/params",
        "BASCULE_SOURCE_DIR": f"{SHARED}/source",
        "BASCULE_RUN": names.run_of(request.run.uid, request.run.number),
        "BASCULE_STEP_NAME": request.step,
        **traits.environment,
    }
    return [{"name": name, "value": escaped(value)} for name, value in values.items()] + _ca_env(settings)


def escaped(value: str) -> str:
    """The value such that the kubelet, which expands `$(NAME)`, hands it on unchanged."""
    return value.replace("$", "$$")


def _upper_snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


def _text(value: ParameterValue) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "\n".join(value) if isinstance(value, list) else str(value)


def _claim(parameter: str, request: ProcedureRequest) -> str:
    """The claim that a parameter names. Raises StepFailedError where there can be none."""
    if not request.namespace:
        raise StepFailedError(f"the Procedure {request.procedure.name} mounts a claim: it is for drills")
    value = str(parameters(request).get(parameter, ""))
    if len(value) > 253 or not _OBJECT_NAME.fullmatch(value):
        told = f"the parameter {parameter} of {request.step} names no PersistentVolumeClaim"
        raise StepFailedError(f"{told}: {value[:64]}")
    return value


def _mount(name: str, path: str, *, read_only: bool) -> dict[str, Any]:
    return {"name": name, "mountPath": path} | ({"readOnly": True} if read_only else {})


def _ca_mount(settings: JobSettings) -> list[dict[str, Any]]:
    return [_mount("bascule-ca", CA_FOLDER, read_only=True)] if settings.ca_config_map else []


def _ca_env(settings: JobSettings) -> list[dict[str, str]]:
    return [{"name": "SSL_CERT_FILE", "value": f"{CA_FOLDER}/{CA_KEY}"}] if settings.ca_config_map else []


def _volumes(request: ProcedureRequest, settings: JobSettings, traits: JobTraits) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [{"name": "bascule", "emptyDir": {"sizeLimit": "1Gi"}}]
    if settings.ca_config_map:
        volumes.append({"name": "bascule-ca", "configMap": {"name": settings.ca_config_map, "optional": True}})
    if request.source and request.source.git and request.source.git.login:
        keys = {f"git.{key}": key for key in credentials.GIT_KEYS}
        volumes.append(secret_volume("bascule-git", credentials.credentials_name(request.run), keys))
    elif request.source and not request.source.git:
        copy = credentials.source_name(request.run, request.source.part)
        volumes.append({"name": "bascule-input", "configMap": {"name": copy}})
    volumes += [dict(volume) for volume in traits.volumes]
    return volumes + [_template_volume(volume, request) for volume in request.procedure.spec.template.volumes]


def secret_volume(name: str, secret: str, files: Mapping[str, str]) -> dict[str, Any]:
    """Those of a Secret's keys that are there, as files."""
    # Projected, since items of a plain secret volume must all exist.
    sources = [
        {"secret": {"name": secret, "items": [{"key": key, "path": path}], "optional": True}}
        for key, path in files.items()
    ]
    return {"name": name, "projected": {"defaultMode": 0o440, "sources": sources}}


def _template_volume(volume: Volume, request: ProcedureRequest) -> dict[str, Any]:
    if volume.claim_from is not None:
        return {"name": volume.name, "persistentVolumeClaim": {"claimName": _claim(volume.claim_from, request)}}
    if volume.host_path is not None:
        return {"name": volume.name, "hostPath": {"path": volume.host_path}}
    if volume.config_map:
        return {"name": volume.name, "configMap": {"name": volume.config_map, "optional": True}}
    return {"name": volume.name, "emptyDir": {"sizeLimit": volume.size_limit} if volume.size_limit else {}}
