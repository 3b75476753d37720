"""KWOK's configuration: what becomes of fake nodes and of the pods on them.

A fake node is an object and nothing else. KWOK says of it what a kubelet would, and lets its pods run: those of a Job
succeed, or fail on nodes whose names begin with BROKEN, and report what a step's container would.
"""

from __future__ import annotations

import json
from typing import Any

from hack.cluster.addresses import CONTROL
from hack.cluster.configuration import Document

LEASE_SECONDS = 600
"""A thousand nodes that renew their Leases like real ones would be a hundred writes a second, for nothing."""
ANNOTATION = "kwok.x-k8s.io/node"
LABEL = "bascule.test/fake"
TAINT: Document = {"key": ANNOTATION, "value": "fake", "effect": "NoSchedule"}
"""Keeps pods away that do not ask for a fake node."""
BROKEN = "broken"
SECONDS = "bascule.test/seconds"
"""Annotation of a pod: how long it runs, as a duration such as 10s."""
_PARALLEL = 8
_POD_ADDRESSES = "10.192.0.0/12"


def configuration(job_seconds: float) -> str:
    """KWOK's options and stages. `job_seconds`: how long a Job's pod runs that does not say."""
    options: dict[str, Any] = {
        "cidr": _POD_ADDRESSES,
        "nodeIP": CONTROL,
        "manageNodesWithAnnotationSelector": f"{ANNOTATION}=fake",
        "nodeLeaseDurationSeconds": LEASE_SECONDS,
        # A file with options has no defaults for these.
        "nodeLeaseParallelism": _PARALLEL,
        "nodePlayStageParallelism": _PARALLEL,
        "podPlayStageParallelism": _PARALLEL,
        "podsOnNodeSyncParallelism": _PARALLEL,
        # Nobody scrapes it, and a port of the control plane stays free.
        "enableProfilingHandler": False,
    }
    main = {"kind": "KwokConfiguration", "metadata": {"name": "kwok"}, "options": options}
    documents = [main, _node_ready(), _pod_running(), *_pod_ends(job_seconds), _pod_deleted()]
    # A stream of YAML documents, each in JSON.
    return "".join(f"---\n{json.dumps(_versioned(document), indent=1)}\n" for document in documents)


def _versioned(document: dict[str, Any]) -> dict[str, Any]:
    version = "config.kwok.x-k8s.io" if document["kind"] == "KwokConfiguration" else "kwok.x-k8s.io"
    return {"apiVersion": f"{version}/v1alpha1", **document}


def _stage(name: str, kind: str, when: list[dict[str, Any]], then: dict[str, Any], **more: Any) -> dict[str, Any]:
    spec = {"resourceRef": {"apiGroup": "v1", "kind": kind}, "selector": {"matchExpressions": when}, "next": then}
    return {"kind": "Stage", "metadata": {"name": name}, "spec": spec | more}


def _is(key: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}


_READY = '.status.conditions.[] | select( .type == "Ready" ) | .status'
_LIVING = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
_NODE_STATUS = """\
{{ $now := Now }}
conditions:
{{ range NodeConditions }}
- lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
  message: {{ .message | Quote }}
  reason: {{ .reason | Quote }}
  status: {{ .status | Quote }}
  type: {{ .type | Quote }}
{{ end }}
addresses:
- {address: {{ NodeIP | Quote }}, type: InternalIP}
- {address: {{ NodeName | Quote }}, type: Hostname}
allocatable: {cpu: "32", memory: 256Gi, pods: "110"}
capacity: {cpu: "32", memory: 256Gi, pods: "110"}
nodeInfo:
  architecture: amd64
  bootID: {{ .metadata.uid | Quote }}
  containerRuntimeVersion: kwok
  kernelVersion: kwok
  kubeProxyVersion: kwok
  kubeletVersion: kwok
  machineID: {{ .metadata.uid | Quote }}
  operatingSystem: linux
  osImage: kwok
  systemUUID: {{ .metadata.uid | Quote }}
phase: Running
"""
_RUNNING = """\
{{ $now := Now }}
phase: Running
startTime: {{ $now | Quote }}
conditions:
{{ range $type := (list "Initialized" "Ready" "ContainersReady" "PodScheduled") }}
- {lastTransitionTime: {{ $now | Quote }}, status: "True", type: {{ $type }}}
{{ end }}
initContainerStatuses:
{{ range .spec.initContainers }}
- image: {{ .image | Quote }}
  name: {{ .name | Quote }}
  ready: true
  restartCount: 0
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- image: {{ .image | Quote }}
  name: {{ .name | Quote }}
  ready: true
  started: true
  restartCount: 0
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
{{ $host := or .spec.hostNetwork false }}
podIP: {{ PodIPWith .spec.nodeName $host .metadata.uid .metadata.name .metadata.namespace | Quote }}
"""
_ENDED = """\
{{ $now := Now }}
{{ $root := . }}
phase: %(phase)s
containerStatuses:
{{ range $index, $item := .spec.containers }}
- image: {{ $item.image | Quote }}
  name: {{ $item.name | Quote }}
  ready: false
  started: false
  restartCount: 0
  state:
    terminated:
      exitCode: %(code)d
      reason: %(reason)s
      message: %(message)s
      startedAt: {{ $root.status.startTime | Quote }}
      finishedAt: {{ $now | Quote }}
{{ end }}
"""


def _node_ready() -> dict[str, Any]:
    unready = {"key": _READY, "operator": "NotIn", "values": ["True"]}
    return _stage("node-ready", "Node", [unready], {"statusTemplate": _NODE_STATUS})


def _pod_running() -> dict[str, Any]:
    when = [_LIVING, _is(".status.phase", "Pending")]
    return _stage("pod-running", "Pod", when, {"statusTemplate": _RUNNING})


def _pod_ends(job_seconds: float) -> list[dict[str, Any]]:
    """A Job's pod ends by itself; what it reports is a step's result and message, as in_step.contract writes it."""
    delay = {
        "durationMilliseconds": round(job_seconds * 1000),
        "durationFrom": {"expressionFrom": f'.metadata.annotations["{SECONDS}"]'},
    }
    when = [_LIVING, _is(".status.phase", "Running"), _is(".metadata.ownerReferences.[].kind", "Job")]
    broken = f'.spec.nodeName | startswith("{BROKEN}") | tostring'
    done = {"results": {"rebootRequired": "false"}, "message": "done on a fake node"}
    failed = {"results": {}, "message": "failed on a fake node"}

    def ended(phase: str, code: int, reason: str, report: object) -> dict[str, Any]:
        text = json.dumps(json.dumps(report))
        return {"statusTemplate": _ENDED % {"phase": phase, "code": code, "reason": reason, "message": text}}

    return [
        _stage(
            "pod-succeeds", "Pod", [*when, _is(broken, "false")], ended("Succeeded", 0, "Completed", done), delay=delay
        ),
        _stage("pod-fails", "Pod", [*when, _is(broken, "true")], ended("Failed", 10, "Error", failed), delay=delay),
    ]


def _pod_deleted() -> dict[str, Any]:
    deleted = {"key": ".metadata.deletionTimestamp", "operator": "Exists"}
    return _stage("pod-deleted", "Pod", [deleted], {"delete": True})
