"""Pure planning of what is done at one target of a campaign: its Jobs, and which pods leave its node."""

from __future__ import annotations

from typing import Any

from bascule_api import names
from bascule_api.procedures import Placement, SecurityProfile
from bascule_workers.errors import StepFailedError
from bascule_workers.patch_campaigns import TargetJobRequest
from bascule_workers.plans import credentials
from bascule_workers.plans.jobs import JobTraits, secret_volume

SSH = "/run/bascule/ssh"


def job_traits(request: TargetJobRequest) -> JobTraits:
    """What the Jobs of a target have besides what all have: the target, where they run, and the key for hosts.

    Raises StepFailedError for a Procedure that may not be carried out there.
    """
    if problem := _misfit(request):
        raise StepFailedError(f"the Procedure {request.procedure.name} {problem}")
    target = request.target
    environment = {"BASCULE_TARGET": target.name, "BASCULE_TARGET_ZONE": target.zone}
    own: dict[str, Any] = {}
    if not request.node:
        environment |= {
            "BASCULE_TARGET_ADDRESS": target.address or target.name,
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
        labels={names.LABEL_TARGET: names.target_label(target.name)},
        environment=environment,
        pod=_placed(request) if request.procedure.spec.placement == Placement.ON_TARGET else {},
        host=True,
        **own,
    )


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
