"""A drill's manifests: validated as a whole, and normalised, before anything of them is applied.

What a tenant writes is hostile. Only what is listed here passes: kinds, fields, and in pods what Pod Security baseline
lets through. Whatever reaches out of the drill's namespace is refused with the document, the field and the remedy.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bascule_api import names
from bascule_workers.errors import ManifestsRefusedError
from bascule_workers.plans.manifest_claims import check_claim
from bascule_workers.plans.manifest_fields import (
    AFTER_RESTORE,
    PROBLEMS_SHOWN,
    Findings,
    check_labels,
    check_metadata,
    is_name,
    words,
)
from bascule_workers.plans.manifest_files import Document, documents
from bascule_workers.plans.manifest_pods import check_template
from bascule_workers.plans.manifest_references import check_references

NORMALISED_LIMIT = 900 * 1024
"""Bytes of all manifests as JSON: they have to fit into a ConfigMap."""
REPLICAS_LIMIT = 1000

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind that drills may have."""

    api_version: str
    plural: str
    content: tuple[str, ...]
    """Fields besides apiVersion, kind and metadata."""
    check: Callable[[Findings, Manifest], None]


def load(files: Mapping[str, bytes], reserved: Collection[str] = ()) -> list[Manifest]:
    """The manifests of all files, in the order in which they are applied.

    `reserved`: names that the platform uses in the drill's namespace. Raises ManifestsRefusedError.
    """
    found = documents(files)
    taken = frozenset({"default", "kube-root-ca.crt", *reserved})
    problems = [problem for document in found for problem in _problems(document, taken)]
    if not problems:
        problems = [*_twice(found), *check_references(found)]
    if problems:
        more = len(problems) - PROBLEMS_SHOWN
        shown = "; ".join(problem[:400] for problem in problems[:PROBLEMS_SHOWN])
        raise ManifestsRefusedError(shown + (f"; and {more} more" if more > 0 else ""))
    result = [normalised(document.body) for document in found]
    if len(packed(result).encode()) > NORMALISED_LIMIT:
        raise ManifestsRefusedError(f"the manifests have more than {NORMALISED_LIMIT} bytes as JSON")
    return sorted(result, key=_rank)


def packed(manifests: Sequence[Manifest]) -> str:
    """As they are kept and hashed."""
    return json.dumps(manifests, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def is_after_restore(manifest: Mapping[str, Any]) -> bool:
    return (manifest["metadata"].get("annotations") or {}).get(names.ANNOTATION_APPLY) == AFTER_RESTORE


def plural(kind: str) -> str:
    """`deployments`."""
    return KINDS[kind].plural


def normalised(body: Mapping[str, Any]) -> Manifest:
    """A manifest as it is applied: without what is empty, and its pods without a token."""
    result = copy.deepcopy(dict(body))
    result["metadata"] = {key: value for key, value in result["metadata"].items() if value is not None}
    result.pop("status", None)
    template = (result.get("spec") or {}).get("template")
    if isinstance(template, dict):
        template["spec"]["automountServiceAccountToken"] = False
        (template.get("metadata") or {}).pop("creationTimestamp", None)
    if result["kind"] == "ServiceAccount":
        result["automountServiceAccountToken"] = False
    return result


def _rank(manifest: Manifest) -> tuple[int, str]:
    return list(KINDS).index(manifest["kind"]), manifest["metadata"]["name"]


# One document


def _problems(document: Document, reserved: frozenset[str]) -> list[str]:
    found, body = Findings(document.place), document.body
    kind = _kind(found, body)
    if kind is None:
        return found.problems
    found.only("", body, ("apiVersion", "kind", "metadata", "status", *kind.content))
    if body.get("status"):
        found.add("status", "leave it out: it is what the cluster says")
    check_metadata(found, body.get("metadata"), reserved)
    kind.check(found, body)
    return found.problems


def _kind(found: Findings, body: Manifest) -> Kind | None:
    name, version = body.get("kind"), body.get("apiVersion")
    if not isinstance(name, str) or not isinstance(version, str):
        found.add("", "apiVersion and kind are required, as text")
        return None
    known = KINDS.get(name)
    if known is None:
        found.add("kind", _refusal(name, version))
    elif known.api_version != version:
        found.add("apiVersion", f"{version[:80]} is no version of {name} for drills: write {known.api_version}")
        return None
    return known


def _refusal(name: str, version: str) -> str:
    allowed = f"a drill may have {', '.join(KINDS)}"
    if name.endswith("List"):
        return f"{name[:80]}: write its items as documents of their own"
    if name in _CLUSTER_SCOPED:
        return f"{name} is of the whole cluster, and a drill has only its namespace: {allowed}"
    if name in _PLATFORMS:
        return f"{name} in a drill's namespace is the platform's: {allowed}"
    return f"{name[:80]} of {version[:80]} is not for drills: {allowed}"


_CLUSTER_SCOPED = frozenset(
    words(
        "Namespace Node PersistentVolume ClusterRole ClusterRoleBinding CustomResourceDefinition StorageClass "
        "PriorityClass RuntimeClass IngressClass APIService "
        "MutatingWebhookConfiguration ValidatingWebhookConfiguration "
        "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding MutatingAdmissionPolicy "
        "MutatingAdmissionPolicyBinding CSIDriver CSINode VolumeAttachment CertificateSigningRequest Tenant "
        "Procedure"
    )
)
_PLATFORMS = frozenset(
    words("NetworkPolicy Role RoleBinding ResourceQuota LimitRange Endpoints EndpointSlice Event Lease")
)


def _twice(found: Iterable[Document]) -> list[str]:
    seen: dict[tuple[str, str], Document] = {}
    problems = []
    for document in found:
        key = (document.body["kind"], document.body["metadata"]["name"])
        if key in seen:
            first = seen[key]
            problems.append(f"{document.place}: stands in {first.file}, document {first.number} already: keep one")
        seen.setdefault(key, document)
    return problems


# One kind


def _check_config_map(found: Findings, body: Manifest) -> None:
    found.texts("data", body.get("data"))
    found.texts("binaryData", body.get("binaryData"))


_SECRET_TYPES = (
    "Opaque",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/dockercfg",
    "kubernetes.io/basic-auth",
    "kubernetes.io/ssh-auth",
    "kubernetes.io/tls",
)


def _check_secret(found: Findings, body: Manifest) -> None:
    found.texts("data", body.get("data"))
    found.texts("stringData", body.get("stringData"))
    if body.get("type", "Opaque") not in _SECRET_TYPES:
        found.add("type", f"{str(body['type'])[:80]} is not for drills: {', '.join(_SECRET_TYPES)} are")


def _check_service_account(found: Findings, body: Manifest) -> None:
    if body.get("automountServiceAccountToken") not in (None, False):
        found.add("automountServiceAccountToken", "a drill's pods have no access to the API server: set it to false")
    for where, reference in found.objects("imagePullSecrets", body.get("imagePullSecrets")):
        found.only(where, reference, ("name",))


_INSIDE = "a drill's Services are reached from inside its namespace only: leave it out"
_SERVICE_REFUSED = dict.fromkeys(
    words(
        "externalIPs externalName externalTrafficPolicy loadBalancerIP loadBalancerClass loadBalancerSourceRanges "
        "allocateLoadBalancerNodePorts healthCheckNodePort trafficDistribution"
    ),
    _INSIDE,
)
_SERVICE = words(
    "selector ports type clusterIP clusterIPs publishNotReadyAddresses sessionAffinity sessionAffinityConfig "
    "ipFamilies ipFamilyPolicy internalTrafficPolicy"
)


def _check_service(found: Findings, body: Manifest) -> None:
    spec = body.get("spec")
    if not found.only("spec", spec, _SERVICE, _SERVICE_REFUSED) or spec is None:
        return
    if spec.get("type", "ClusterIP") != "ClusterIP":
        found.add("spec.type", f"{str(spec['type'])[:80]}: write ClusterIP, or leave it out")
    if spec.get("clusterIP") not in (None, "", "None") or spec.get("clusterIPs") not in (None, [], ["None"]):
        found.add("spec.clusterIP", "None, or leave it out: the address is the cluster's to give")
    for where, port in found.objects("spec.ports", spec.get("ports")):
        if port.get("nodePort") not in (None, 0):
            found.add(f"{where}.nodePort", _INSIDE)


def _check_volume_claim(found: Findings, body: Manifest) -> None:
    check_claim(found, "spec", body.get("spec"))


_DEPLOYMENT = words("replicas selector template strategy minReadySeconds revisionHistoryLimit progressDeadlineSeconds")
_STATEFUL_SET = words(
    "replicas selector serviceName template volumeClaimTemplates podManagementPolicy updateStrategy minReadySeconds "
    "revisionHistoryLimit persistentVolumeClaimRetentionPolicy ordinals"
)
_JOB = words(
    "parallelism completions activeDeadlineSeconds backoffLimit backoffLimitPerIndex maxFailedIndexes completionMode "
    "podFailurePolicy successPolicy template podReplacementPolicy"
)
_JOB_REFUSED = {
    "ttlSecondsAfterFinished": "leave it out: a Job that is gone cannot be seen to be complete",
    "suspend": "leave it out: a suspended Job never gets ready",
    "managedBy": "leave it out",
    "selector": "leave it out: the Job controller sets it",
    "manualSelector": "leave it out",
}
_BUDGET = ("minAvailable", "maxUnavailable", "selector", "unhealthyPodEvictionPolicy")


def _check_deployment(found: Findings, body: Manifest) -> None:
    paused = {"paused": "leave it out: a paused Deployment never gets ready"}
    _check_workload(found, body, _DEPLOYMENT, paused)


def _check_stateful_set(found: Findings, body: Manifest) -> None:
    _check_workload(found, body, _STATEFUL_SET, {})
    spec = body.get("spec")
    templates = spec.get("volumeClaimTemplates") if isinstance(spec, dict) else None
    for where, template in found.objects("spec.volumeClaimTemplates", templates):
        fields = ("apiVersion", "kind", "metadata", "spec", "status")
        found.only(where, template, fields)
        metadata = found.object(f"{where}.metadata", template.get("metadata"))
        found.only(f"{where}.metadata", metadata, ("name", "labels", "creationTimestamp"))
        check_labels(found, f"{where}.metadata.labels", metadata.get("labels"))
        if not is_name(metadata.get("name")):
            found.add(f"{where}.metadata.name", "is required")
        check_claim(found, f"{where}.spec", template.get("spec"))


def _check_job(found: Findings, body: Manifest) -> None:
    _check_workload(found, body, _JOB, _JOB_REFUSED)


def _check_workload(found: Findings, body: Manifest, fields: tuple[str, ...], refused: dict[str, str]) -> None:
    spec = body.get("spec")
    if not found.only("spec", spec, fields, refused) or spec is None:
        return
    for name in ("replicas", "parallelism", "completions"):
        value = spec.get(name)
        if value is not None and (type(value) is not int or not 0 <= value <= REPLICAS_LIMIT):
            found.add(f"spec.{name}", f"a number from 0 to {REPLICAS_LIMIT}")
    check_template(found, "spec.template", spec.get("template"))


def _check_budget(found: Findings, body: Manifest) -> None:
    found.only("spec", body.get("spec"), _BUDGET)


KINDS: dict[str, Kind] = {
    "ServiceAccount": Kind(
        "v1", "serviceaccounts", ("automountServiceAccountToken", "imagePullSecrets"), _check_service_account
    ),
    "Secret": Kind("v1", "secrets", ("data", "stringData", "type", "immutable"), _check_secret),
    "ConfigMap": Kind("v1", "configmaps", ("data", "binaryData", "immutable"), _check_config_map),
    "PersistentVolumeClaim": Kind("v1", "persistentvolumeclaims", ("spec",), _check_volume_claim),
    "Service": Kind("v1", "services", ("spec",), _check_service),
    "PodDisruptionBudget": Kind("policy/v1", "poddisruptionbudgets", ("spec",), _check_budget),
    "StatefulSet": Kind("apps/v1", "statefulsets", ("spec",), _check_stateful_set),
    "Deployment": Kind("apps/v1", "deployments", ("spec",), _check_deployment),
    "Job": Kind("batch/v1", "jobs", ("spec",), _check_job),
}
"""What a drill may have, in the order in which it is applied."""
