"""What the pods of a drill's manifests may be: Pod Security baseline, and nothing that reaches out of the namespace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bascule_workers.plans.manifest_claims import check_claim
from bascule_workers.plans.manifest_fields import Findings, check_labels, is_ours, words

_POD = words(
    "containers initContainers volumes restartPolicy terminationGracePeriodSeconds activeDeadlineSeconds "
    "securityContext serviceAccountName serviceAccount automountServiceAccountToken enableServiceLinks "
    "imagePullSecrets hostname subdomain affinity topologySpreadConstraints nodeSelector hostAliases "
    "setHostnameAsFQDN shareProcessNamespace os hostUsers"
)
_NODE = "the scheduler chooses where a drill's pods run: leave it out"
_POD_REFUSED = {
    "hostNetwork": "a drill's pods have the network of their namespace only: leave it out",
    "hostPID": "a drill's pods see nothing of their node: leave it out",
    "hostIPC": "a drill's pods see nothing of their node: leave it out",
    "nodeName": _NODE,
    "schedulerName": _NODE,
    "tolerations": "a drill takes no node that is kept for others: leave it out",
    "priorityClassName": "a drill displaces nothing that is live: leave it out",
    "priority": "a drill displaces nothing that is live: leave it out",
    "preemptionPolicy": "a drill displaces nothing that is live: leave it out",
    "runtimeClassName": "leave it out: drills use the cluster's own runtime",
    "dnsPolicy": "a drill's pods ask the cluster's DNS: leave it out",
    "dnsConfig": "a drill's pods ask the cluster's DNS: leave it out",
    "resourceClaims": "devices are not for drills: leave it out",
    "schedulingGates": "nobody would take them away: leave it out",
    "readinessGates": "nobody would answer them: leave it out",
    "ephemeralContainers": "leave it out",
}
_FALSE_ONLY = ("automountServiceAccountToken",)
_CONTAINER = words(
    "name image imagePullPolicy command args workingDir env envFrom ports resources volumeMounts livenessProbe "
    "readinessProbe startupProbe lifecycle securityContext terminationMessagePath terminationMessagePolicy "
    "restartPolicy stdin stdinOnce tty"
)
_CONTAINER_REFUSED = {"volumeDevices": "raw block devices are not for drills: use a volume with a file system"}
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_CAPABILITIES = frozenset(
    words(
        "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID "
        "SYS_CHROOT"
    )
)
"""Those that Pod Security *baseline* lets a container add."""
_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_SOURCES = {
    "configMap": "",
    "secret": "",
    "emptyDir": "",
    "persistentVolumeClaim": "",
    "projected": "",
    "downwardAPI": "",
    "ephemeral": "",
}
_PROJECTED = ("configMap", "secret", "downwardAPI")
_VALUES_FROM = ("configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef")


def check_template(found: Findings, path: str, template: Any) -> None:
    """A pod template."""
    if not found.only(path, template, ("metadata", "spec")):
        return
    metadata = template.get("metadata")
    if metadata is not None and found.only(
        f"{path}.metadata", metadata, ("labels", "annotations", "creationTimestamp", "name")
    ):
        check_labels(found, f"{path}.metadata.labels", metadata.get("labels"))
        for key in found.texts(f"{path}.metadata.annotations", metadata.get("annotations")):
            if is_ours(key):
                found.add(f"{path}.metadata.annotations.{key[:80]}", "is the platform's: leave it out")
    _check_pod(found, f"{path}.spec", template.get("spec"))


def _check_pod(found: Findings, path: str, spec: Any) -> None:
    if not found.only(path, spec, _POD, _POD_REFUSED):
        return
    for name in _FALSE_ONLY:
        if spec.get(name) not in (None, False):
            found.add(f"{path}.{name}", "a drill's pods have no access to the API server: set it to false")
    if not isinstance(spec.get("containers"), list) or not spec["containers"]:
        found.add(f"{path}.containers", "at least one is required")
    for part in ("initContainers", "containers"):
        for where, container in found.objects(f"{path}.{part}", spec.get(part)):
            _check_container(found, where, container)
    for where, volume in found.objects(f"{path}.volumes", spec.get("volumes")):
        _check_volume(found, where, volume)
    _check_pod_security(found, f"{path}.securityContext", spec.get("securityContext"))
    _check_affinity(found, f"{path}.affinity", spec.get("affinity"))


def _check_pod_security(found: Findings, path: str, context: Any) -> None:
    context = found.object(path, context)
    if context.get("sysctls"):
        found.add(f"{path}.sysctls", "a drill's pods change no setting of their kernel: leave it out")
    _check_profiles(found, path, context)


def _check_profiles(found: Findings, path: str, context: Mapping[str, Any]) -> None:
    """What pods' and containers' security contexts share."""
    if context.get("windowsOptions"):
        found.add(f"{path}.windowsOptions", "leave it out")
    for name in ("seccompProfile", "appArmorProfile"):
        profile = found.object(f"{path}.{name}", context.get(name))
        if profile and profile.get("type") not in ("RuntimeDefault", "Localhost"):
            found.add(f"{path}.{name}.type", "RuntimeDefault or Localhost: a drill's pods stay confined")
    selinux = found.object(f"{path}.seLinuxOptions", context.get("seLinuxOptions"))
    if selinux.get("user") or selinux.get("role") or selinux.get("type", "") not in _SELINUX_TYPES:
        found.add(f"{path}.seLinuxOptions", "a type for containers only")


def _check_container(found: Findings, path: str, container: Mapping[str, Any]) -> None:
    found.only(path, container, _CONTAINER, _CONTAINER_REFUSED)
    for where, port in found.objects(f"{path}.ports", container.get("ports")):
        for name in ("hostPort", "hostIP"):
            if port.get(name) not in (None, 0, ""):
                found.add(f"{where}.{name}", "a drill takes no port of a node: leave it out, and use a Service")
    for where, variable in found.objects(f"{path}.env", container.get("env")):
        source = variable.get("valueFrom")
        if source is not None:
            found.only(f"{where}.valueFrom", source, _VALUES_FROM)
    for where, source in found.objects(f"{path}.envFrom", container.get("envFrom")):
        found.only(where, source, ("prefix", "configMapRef", "secretRef"))
    for name in _PROBES:
        _check_asked(found, f"{path}.{name}", container.get(name))
    lifecycle = found.object(f"{path}.lifecycle", container.get("lifecycle"))
    for name in ("postStart", "preStop"):
        _check_asked(found, f"{path}.lifecycle.{name}", lifecycle.get(name))
    _check_container_security(found, f"{path}.securityContext", container.get("securityContext"))


def _check_asked(found: Findings, path: str, asked: Any) -> None:
    """A probe or hook. The kubelet asks from its node, where no NetworkPolicy holds: only the pod itself is asked."""
    asked = found.object(path, asked)
    for name in ("httpGet", "tcpSocket"):
        if found.object(f"{path}.{name}", asked.get(name)).get("host"):
            found.add(f"{path}.{name}.host", "a kubelet asks a drill's own pods only: leave it out")


def _check_container_security(found: Findings, path: str, context: Any) -> None:
    context = found.object(path, context)
    if context.get("privileged") not in (None, False):
        found.add(f"{path}.privileged", "a drill's pods are not privileged: leave it out")
    if context.get("procMount") not in (None, "Default"):
        found.add(f"{path}.procMount", "Default only: leave it out")
    added = found.object(f"{path}.capabilities", context.get("capabilities")).get("add")
    for name in added if isinstance(added, list) else [added] if added is not None else []:
        if not isinstance(name, str) or name not in _CAPABILITIES:
            found.add(f"{path}.capabilities.add", f"{str(name)[:40]} is more than Pod Security baseline allows")
    _check_profiles(found, path, context)


def _check_affinity(found: Findings, path: str, affinity: Any) -> None:
    """Pods of other namespaces are none of its business: anti-affinity would keep live ones off a node."""
    affinity = found.object(path, affinity)
    waiting: list[tuple[str, Any]] = [
        (f"{path}.{name}", affinity[name]) for name in ("podAffinity", "podAntiAffinity") if name in affinity
    ]
    while waiting:
        where, value = waiting.pop()
        if isinstance(value, list):
            waiting += [(f"{where}[{index}]", item) for index, item in enumerate(value)]
        elif isinstance(value, dict):
            for name, item in value.items():
                if name in ("namespaces", "namespaceSelector"):
                    found.add(f"{where}.{name}", "a drill knows its own namespace only: leave it out")
                waiting.append((f"{where}.{name}", item))


def _check_volume(found: Findings, path: str, volume: Mapping[str, Any]) -> None:
    sources = [name for name in volume if name != "name"]
    if len(sources) != 1:
        found.add(path, "needs exactly one source besides its name")
    for name in sources:
        if name not in _SOURCES:
            found.add(f"{path}.{name}", f"is not allowed in a drill; {', '.join(_SOURCES)} are")
    projected = found.object(f"{path}.projected", volume.get("projected"))
    for where, source in found.objects(f"{path}.projected.sources", projected.get("sources")):
        found.only(where, source, _PROJECTED, {"serviceAccountToken": "a drill's pods get no token: leave it out"})
    ephemeral = found.object(f"{path}.ephemeral", volume.get("ephemeral"))
    if ephemeral:
        template = ephemeral.get("volumeClaimTemplate")
        where = f"{path}.ephemeral.volumeClaimTemplate"
        if isinstance(template, dict) and found.only(where, template, ("metadata", "spec")):
            found.only(f"{where}.metadata", template.get("metadata") or {}, ("labels", "creationTimestamp"))
            check_labels(found, f"{where}.metadata.labels", (template.get("metadata") or {}).get("labels"))
            check_claim(found, f"{where}.spec", template.get("spec"))
        else:
            found.add(where, "is required")
