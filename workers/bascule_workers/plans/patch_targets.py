"""Pure planning of what is done at one target of a campaign: its Jobs, and which pods leave its node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bascule_api import names
from bascule_api.patch_campaign_specs import Drain
from bascule_api.procedures import Placement, SecurityProfile
from bascule_workers.errors import StepFailedError
from bascule_workers.patch_campaigns import TargetJobRequest
from bascule_workers.plans import credentials
from bascule_workers.plans.jobs import JobTraits, secret_volume
from bascule_workers.plans.nodes import PodOnNode, matches

SSH = "/run/bascule/ssh"
STUCK_SECONDS = 60
"""How long after its time to end was up a pod counts as stuck."""


# Draining


@dataclass(frozen=True)
class Drainage:
    """Which pods leave a node."""

    leaving: list[PodOnNode]
    """To evict, and to wait for; those that end already included."""
    refused: list[str]
    """Pods that may not be evicted, each with the reason and the remedy."""


def drainage(pods: Iterable[PodOnNode], drain: Drain, steps_namespace: str) -> Drainage:
    """Which pods leave, by the rules of `kubectl drain`. Pods that have ended stay: their logs may be wanted."""
    found = Drainage([], [])
    for pod in sorted(pods, key=lambda pod: pod.reference):
        if _stays(pod, drain):
            continue
        if not pod.terminating_since and (problem := _not_evictable(pod, drain, steps_namespace)):
            found.refused.append(f"{pod.reference} {problem}")
        found.leaving.append(pod)
    return found


def _stays(pod: PodOnNode, drain: Drain) -> bool:
    unselected = drain.pod_selector is not None and not matches(drain.pod_selector, pod.labels)
    return unselected or pod.finished or pod.mirror or pod.owner_kind == "DaemonSet"


def _not_evictable(pod: PodOnNode, drain: Drain, steps_namespace: str) -> str:
    # A step's own emptyDir holds what the platform put there; the step is repeated elsewhere.
    step = pod.namespace == steps_namespace and pod.owner_kind == "Job" and names.LABEL_RUN in pod.labels
    if pod.empty_dir and not drain.delete_empty_dir_data and not step:
        return "has an emptyDir volume, whose data would be lost (spec.drain.deleteEmptyDirData allows it)"
    if not pod.owner_kind and not drain.force:
        return "has no controller that would bring it back (spec.drain.force allows to evict it)"
    return ""


@dataclass(frozen=True)
class Obstacle:
    """What keeps a node from being drained."""

    subject: str
    """The pod, as `namespace/name`."""
    what: str
    since: int = 0
    """Epoch seconds."""
    why: str = ""

    def told_by(self, note: str) -> bool:
        """Whether a note tells of this obstacle already, in whichever words of the API server's."""
        return note.startswith(f"{self.subject} {self.what} since ")

    def as_told(self, note: str) -> Obstacle:
        """The same since when the note says it."""
        if not self.told_by(note):
            return self
        stamp = note.removeprefix(f"{self.subject} {self.what} since ")[:20]
        try:
            since = int(datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp())
        except ValueError:
            return self
        return Obstacle(self.subject, self.what, min(since, self.since), self.why)

    def __str__(self) -> str:
        stamp = datetime.fromtimestamp(self.since, UTC).strftime(_STAMP)
        return f"{self.subject} {self.what} since {stamp}" + (f": {self.why}" if self.why else "")


_STAMP = "%Y-%m-%dT%H:%M:%SZ"


def blocked(pod: PodOnNode, since: int, why: str) -> Obstacle:
    """A pod whose budget allows no eviction."""
    return Obstacle(pod.reference, "may not be evicted", since, why)


def stuck(pods: Iterable[PodOnNode], now: int) -> Obstacle | None:
    """The pod that should have ended long ago, if there is one."""
    late = [pod for pod in pods if pod.terminating_since and now - pod.terminating_since > STUCK_SECONDS]
    if not late:
        return None
    oldest = min(late, key=lambda pod: pod.terminating_since)
    why = "its node does not confirm the end, or a finalizer keeps it"
    return Obstacle(oldest.reference, "should have ended", oldest.terminating_since, why)


# Jobs


def job_traits(request: TargetJobRequest, address: str = "") -> JobTraits:
    """What the Jobs of a target have besides what all have: the target, where they run, and the key for hosts.

    `address` is the node's. Raises StepFailedError for a Procedure that may not be carried out there.
    """
    if problem := _misfit(request):
        raise StepFailedError(f"the Procedure {request.procedure.name} {problem}")
    target = request.target
    environment = {
        "BASCULE_TARGET": target.name,
        "BASCULE_TARGET_ZONE": target.zone,
        "BASCULE_TARGET_ADDRESS": address or target.address or target.name,
    }
    own: dict[str, Any] = {}
    if not request.node:
        environment |= {
            "BASCULE_TARGET_PORT": str(target.port),
            "BASCULE_TARGET_USER": target.user,
        }
    if request.ssh_login and not request.node:
        files = {f"ssh.{key}": key for key in credentials.SSH_KEYS}
        own = {
            "own_mounts": ({"name": "bascule-ssh", "mountPath": SSH, "readOnly": True},),
            "own_environment": {"BASCULE_SSH_DIR": SSH},
            "volumes": (secret_volume("bascule-ssh", credentials.credentials_name(request.run), files),),
        }
    return JobTraits(
        words=(request.use, target.name),
        depends_on={"use": request.use, "target": target.to_wire()},
        labels={names.LABEL_TARGET: names.target_label(target.name), **_profile(request)},
        environment=environment,
        pod=_placed(request) if request.procedure.spec.placement == Placement.ON_TARGET else {},
        host=True,
        **own,
    )


def _profile(request: TargetJobRequest) -> dict[str, str]:
    """Told where it is Host: the admission policies ask for it."""
    profile = request.procedure.spec.security_profile
    return {names.LABEL_SECURITY_PROFILE: profile} if profile == SecurityProfile.HOST else {}


def _misfit(request: TargetJobRequest) -> str:
    """Why the Procedure cannot be carried out at the target, or nothing."""
    spec = request.procedure.spec
    host, on_target = spec.security_profile == SecurityProfile.HOST, spec.placement == Placement.ON_TARGET
    if on_target and not request.node:
        return "has the placement OnTarget: it is for nodes of the cluster, not for hosts of an inventory"
    if host and not on_target:
        return "has the securityProfile Host: it needs the placement OnTarget, or it would be root on any node"
    if host and request.source is not None:
        return "has the securityProfile Host: no file of a tenant may come to it"
    return ""


def _placed(request: TargetJobRequest) -> dict[str, Any]:
    """On the target, whatever its state: cordoned, not Ready, or short of something."""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [request.target.name]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    placed: dict[str, Any] = {"affinity": {"nodeAffinity": required}, "tolerations": [{"operator": "Exists"}]}
    if request.procedure.spec.security_profile == SecurityProfile.HOST:
        # A node is patched as it would patch itself: with its own processes, and with its own names, proxies and
        # routes. The pods' network may be what is being patched.
        placed |= {"hostPID": True, "hostNetwork": True}
    return placed
