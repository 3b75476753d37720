"""A step's Job, rendered from the pinned Procedure. Pure: the same request gives the same Job."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from bascule_api import names
from bascule_api.base import ParameterValue
from bascule_api.parameters import effective_parameters
from bascule_api.procedures import Container, SecurityProfile, Submodules, Volume
from bascule_workers.errors import StepFailedError
from bascule_workers.messages import JobRequest
from bascule_workers.plans import credentials

SHARED = "/bascule"
INPUT = "/bascule-input"
GIT = "/run/bascule/git"
REGISTRY = "/run/bascule/registry"
CA_FOLDER = "/etc/bascule/ca"
CA_KEY = "ca-bundle.crt"
PREPARE = "bascule-prepare"
STEP_LIMIT = 96 * 1024
"""Bytes of what the prepare container is told, at most: an environment variable may have 128 KiB."""
USER = 65532

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


def job_name(request: JobRequest) -> str:
    """The same for every repetition of a step; a lost Job's successor gets another."""
    attempt = (f"a{request.job_attempt}",) if request.job_attempt > 1 else ()
    return names.object_name(request.run.uid, request.run.number, request.step, *attempt)


def spec_hash(request: JobRequest) -> str:
    """What a step does, as a label's value: of the request only, so that an upgrade in mid-run adopts its Jobs."""
    parts = {
        "procedure": request.procedure.hash,
        "parameters": request.parameters,
        "source": request.source.to_wire() if request.source else None,
        "candidate": request.candidate,
        "image": request.image,
        "attempt": request.job_attempt,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def identity(request: JobRequest) -> dict[str, str]:
    """The labels by which a Job is known to be this step of this run."""
    return {
        names.LABEL_RUN: names.run_label(request.run.uid, request.run.number),
        names.LABEL_STEP: request.step,
        names.LABEL_SPEC_HASH: spec_hash(request),
    }


def render_job(request: JobRequest, settings: JobSettings) -> dict[str, Any]:
    """The Job of a step. Raises StepFailedError when the Procedure cannot be rendered."""
    spec = request.procedure.spec
    if spec.security_profile == SecurityProfile.HOST:
        raise StepFailedError(f"the Procedure {request.procedure.name} has the securityProfile Host: not for builds")
    labels = identity(request) | {names.LABEL_TENANT: request.tenant.name, names.LABEL_KIND: request.run.kind}
    annotations = {
        names.ANNOTATION_RUN: names.run_of(request.run.uid, request.run.number),
        names.ANNOTATION_RESOURCE: f"{request.run.namespace}/{request.run.name}",
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(request),
            "namespace": request.tenant.steps_namespace,
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
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": _pod(request, settings)},
        },
    }


def _pod(request: JobRequest, settings: JobSettings) -> dict[str, Any]:
    template = request.procedure.spec.template
    pod: dict[str, Any] = {
        "serviceAccountName": request.tenant.service_account,
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
        + [_container(container, request, settings, main=False) for container in template.init_containers],
        "containers": [_container(template.container, request, settings, main=True)],
        "volumes": _volumes(request, settings),
    }
    if request.registry_login and request.image:
        pod["imagePullSecrets"] = [{"name": credentials.pull_secret_name(request.run)}]
    return pod


def _pod_security(request: JobRequest) -> dict[str, Any]:
    if request.procedure.spec.security_profile == SecurityProfile.BUILD:
        return {"fsGroup": USER}
    return {**_NOT_ROOT, "fsGroup": USER, **_SECCOMP}


def _prepare(request: JobRequest, settings: JobSettings) -> dict[str, Any]:
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


def _container(container: Container, request: JobRequest, settings: JobSettings, *, main: bool) -> dict[str, Any]:
    mounts = [{"name": "bascule", "mountPath": SHARED}, *_ca_mount(settings)]
    env = environment(request, settings)
    if main and _wants_login(request) and container.image_from is None:
        mounts.append({"name": "bascule-registry", "mountPath": REGISTRY, "readOnly": True})
        env.append({"name": "REGISTRY_AUTH_FILE", "value": f"{REGISTRY}/config.json"})
    mounts += [_mount(mount.name, mount.mount_path, read_only=mount.read_only) for mount in container.volume_mounts]
    rendered: dict[str, Any] = {
        "name": container.name,
        "image": _image(container, request),
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
    if request.procedure.spec.security_profile != SecurityProfile.BUILD:
        rendered["securityContext"] = dict(_RESTRICTED_CONTAINER)
    elif main:
        rendered["securityContext"] = {"runAsUser": 0}
    return rendered


def _wants_login(request: JobRequest) -> bool:
    """Whether the step's own program talks to the registry: builds do, tests where the platform says so."""
    return request.registry_login and (not request.image or request.procedure.spec.registry_login)


def _image(container: Container, request: JobRequest) -> str:
    if container.image_from is None:
        return container.image or ""
    if not request.image:
        raise StepFailedError(f"the Procedure {request.procedure.name} wants the built image, and there is none yet")
    return request.image


def parameters(request: JobRequest) -> dict[str, ParameterValue]:
    """The values that the step runs with. Raises StepFailedError for one that no environment variable can hold."""
    values = effective_parameters(request.procedure.spec.parameters, request.parameters)
    for name, value in values.items():
        if "\0" in (value if isinstance(value, str) else "".join(value) if isinstance(value, list) else ""):
            raise StepFailedError(f"the parameter {name} of {request.step} holds a NUL character")
    return values


def environment(request: JobRequest, settings: JobSettings) -> list[dict[str, str]]:
    """What every container of the step finds in its environment. Lists: one item per line; exact ones are files."""
    values = {f"PARAM_{_upper_snake(name)}": _text(value) for name, value in parameters(request).items()}
    values |= {
        "BASCULE_PARAMS_DIR": f"{SHARED}/params",
        "BASCULE_SOURCE_DIR": f"{SHARED}/source",
        "BASCULE_RUN": names.run_of(request.run.uid, request.run.number),
        "BASCULE_CANDIDATE": request.candidate,
        "BASCULE_STEP_NAME": request.step,
    }
    if request.image:
        values["BASCULE_IMAGE"] = request.image
    if request.cache:
        values["BASCULE_CACHE"] = request.cache
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


def _mount(name: str, path: str, *, read_only: bool) -> dict[str, Any]:
    return {"name": name, "mountPath": path} | ({"readOnly": True} if read_only else {})


def _ca_mount(settings: JobSettings) -> list[dict[str, Any]]:
    return [_mount("bascule-ca", CA_FOLDER, read_only=True)] if settings.ca_config_map else []


def _ca_env(settings: JobSettings) -> list[dict[str, str]]:
    return [{"name": "SSL_CERT_FILE", "value": f"{CA_FOLDER}/{CA_KEY}"}] if settings.ca_config_map else []


def _volumes(request: JobRequest, settings: JobSettings) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [{"name": "bascule", "emptyDir": {"sizeLimit": "1Gi"}}]
    if settings.ca_config_map:
        volumes.append({"name": "bascule-ca", "configMap": {"name": settings.ca_config_map, "optional": True}})
    secret = credentials.credentials_name(request.run)
    if request.source and request.source.git and request.source.git.login:
        items = [{"key": f"git.{key}", "path": key} for key in credentials.GIT_KEYS]
        # Projected, since items of a plain secret volume must all exist.
        projected = {"defaultMode": 0o440, "sources": [_secret_part(secret, item) for item in items]}
        volumes.append({"name": "bascule-git", "projected": projected})
    elif request.source and not request.source.git:
        volumes.append({"name": "bascule-input", "configMap": {"name": credentials.source_name(request.run)}})
    if _wants_login(request):
        items = [{"key": credentials.REGISTRY_KEY, "path": "config.json"}]
        volumes.append({"name": "bascule-registry", "secret": {"secretName": secret, "items": items}})
    return volumes + [_template_volume(volume) for volume in request.procedure.spec.template.volumes]


def _secret_part(secret: str, item: dict[str, str]) -> dict[str, Any]:
    return {"secret": {"name": secret, "items": [item], "optional": True}}


def _template_volume(volume: Volume) -> dict[str, Any]:
    return {"name": volume.name, "emptyDir": {"sizeLimit": volume.size_limit} if volume.size_limit else {}}
