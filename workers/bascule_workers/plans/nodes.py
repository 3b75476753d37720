"""Nodes and their pods, as far as campaigns look at them, read from the API server's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bascule_api import names
from bascule_api.selectors import LabelSelector, SelectorOperator

CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
"""Labels or taints of nodes that nobody patches by a campaign."""
MIRROR = "kubernetes.io/config.mirror"
"""Annotation of the pods that a kubelet runs from its own files."""


@dataclass(frozen=True)
class Node:
    """A node, as far as campaigns look at it."""

    name: str
    uid: str = ""
    version: str = ""
    """Its resourceVersion."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Those of `bascule.dev` only."""
    unschedulable: bool = False
    ready: bool = False
    boot_id: str = ""
    control_plane: bool = False
    """By label or taint."""
    terminating: bool = False
    addresses: tuple[str, ...] = ()
    """Internal IP first."""

    @property
    def run(self) -> str:
        """The run that works here, as `names.run_label`; empty: none."""
        return self.labels.get(names.LABEL_RUN, "")

    @property
    def cordoned_by(self) -> str:
        """The run that cordoned it."""
        return self.labels.get(names.LABEL_CORDONED_BY, "")


@dataclass(frozen=True)
class PodOnNode:
    """A pod of a node, as far as draining looks at it."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str] = field(default_factory=dict)
    owner_kind: str = ""
    """Kind of the controller; empty: a bare pod."""
    mirror: bool = False
    empty_dir: bool = False
    finished: bool = False
    terminating_since: int = 0
    """When its time to end was up, in epoch seconds; 0: nobody deleted it."""

    @property
    def reference(self) -> str:
        return f"{self.namespace}/{self.name}"


def node_of(body: Mapping[str, Any]) -> Node:
    """The node that the API server's JSON describes."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    labels = metadata.get("labels") or {}
    taints = {taint.get("key") for taint in spec.get("taints") or []}
    conditions = {entry["type"]: entry.get("status") for entry in status.get("conditions") or []}
    return Node(
        name=metadata["name"],
        uid=str(metadata.get("uid", "")),
        version=str(metadata.get("resourceVersion", "")),
        labels=labels,
        annotations={
            key: value
            for key, value in (metadata.get("annotations") or {}).items()
            if key.partition("/")[0] == names.GROUP
        },
        unschedulable=bool(spec.get("unschedulable")),
        ready=conditions.get("Ready") == "True",
        boot_id=str((status.get("nodeInfo") or {}).get("bootID", "")),
        control_plane=any(name in labels or name in taints for name in CONTROL_PLANE),
        terminating=bool(metadata.get("deletionTimestamp")),
        addresses=tuple(
            entry["address"]
            for entry in sorted(status.get("addresses") or [], key=lambda entry: entry.get("type") != "InternalIP")
        ),
    )


def pod_of(body: Mapping[str, Any]) -> PodOnNode:
    """The pod that the API server's JSON describes."""
    metadata, spec = body["metadata"], body.get("spec") or {}
    owners = [owner for owner in metadata.get("ownerReferences") or [] if owner.get("controller")]
    deleted = metadata.get("deletionTimestamp")
    return PodOnNode(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        labels=metadata.get("labels") or {},
        owner_kind=str(owners[0].get("kind", "")) if owners else "",
        mirror=MIRROR in (metadata.get("annotations") or {}),
        empty_dir=any("emptyDir" in volume for volume in spec.get("volumes") or []),
        finished=(body.get("status") or {}).get("phase") in ("Succeeded", "Failed"),
        terminating_since=int(datetime.fromisoformat(str(deleted)).timestamp()) if deleted else 0,
    )


def refusal(node: Node, node_selector: Mapping[str, str]) -> str:
    """Why a tenant with this `nodeSelector` may not patch the node; empty: it may."""
    if node.control_plane:
        return f"the node {node.name} belongs to the control plane, which no campaign patches"
    if not node_selector:
        return "the Tenant has no spec.nodeSelector: it may patch no node"
    if wrong := sorted(f"{key}={value}" for key, value in node_selector.items() if node.labels.get(key) != value):
        return f"the node {node.name} lacks the label {wrong[0]}, which the Tenant's nodeSelector demands"
    return ""


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether labels match, as Kubernetes has it: an empty selector matches everything."""
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    for requirement in selector.match_expressions:
        value = labels.get(requirement.key)
        match requirement.operator:
            case SelectorOperator.IN:
                holds = value in requirement.values
            case SelectorOperator.NOT_IN:
                holds = value not in requirement.values
            case SelectorOperator.EXISTS:
                holds = value is not None
            case SelectorOperator.DOES_NOT_EXIST:
                holds = value is None
        if not holds:
            return False
    return True


def label_query(selector: LabelSelector, within: Mapping[str, str]) -> str:
    """What of both the API server is asked as its `labelSelector`: the labels. The expressions, of which there may be
    many, are compared by `matches`.
    """
    return ",".join(
        f"{key}={value}" for labels in (within, selector.match_labels) for key, value in sorted(labels.items())
    )
