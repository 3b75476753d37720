"""Jobs of a drill, in its own namespace: what each may reach and read besides what Jobs of all steps may. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bascule_api import names
from bascule_api.procedures import PinnedProcedure, SecurityProfile
from bascule_workers.dr_drills import DrillRequest, RestoreRequest
from bascule_workers.errors import StepFailedError
from bascule_workers.plans.credentials import RunCredentials
from bascule_workers.plans.jobs import JobTraits

BACKUP = "/run/bascule/backup"
ENVIRONMENT = "/run/bascule/environment"
KEEP_SECONDS = 3 * 3600
"""How long a finished Job stays, unless its namespace goes before."""
_PREFIX = "backup."


def restore_traits(request: RestoreRequest) -> JobTraits:
    """The restore is the only one of a drill's pods that may reach out of the drill's namespace."""
    mounts: list[dict[str, Any]] = []
    volumes: list[dict[str, Any]] = []
    own = {}
    if request.secret:
        name = backup_secret_name(request)
        mounts.append({"name": "bascule-backup", "mountPath": BACKUP, "readOnly": True})
        volumes.append({"name": "bascule-backup", "secret": {"secretName": name, "defaultMode": 0o440}})
        own["BASCULE_BACKUP_DIR"] = BACKUP
    secret = _environment(request.environment_secret)
    return JobTraits(
        words=("restore",),
        depends_on={"secret": request.secret, "environmentSecret": request.environment_secret},
        labels={names.LABEL_EGRESS: names.EGRESS_RESTORE},
        environment={"BASCULE_NAMESPACE": request.namespace},
        own_mounts=(*mounts, *secret.own_mounts),
        own_environment={**own, **secret.own_environment},
        volumes=(*volumes, *secret.volumes),
        secrets=secret.secrets,
    )


def probe_traits(request: DrillRequest, probe: str, attempt: int, environment_secret: str, point: int) -> JobTraits:
    """One attempt of a probe by a Procedure."""
    secret = _environment(environment_secret)
    return JobTraits(
        words=("probe", probe, str(attempt)),
        depends_on={"probe": probe, "attempt": attempt, "environmentSecret": environment_secret},
        environment={
            "BASCULE_NAMESPACE": request.namespace,
            "BASCULE_PROBE": probe,
            "BASCULE_RECOVERY_POINT": rfc3339(point) if point else "",
        },
        own_mounts=secret.own_mounts,
        own_environment=secret.own_environment,
        volumes=secret.volumes,
        secrets=secret.secrets,
    )


def _environment(secret: str) -> JobTraits:
    """What opens the environment's own doors, such as its database's."""
    if not secret:
        return JobTraits()
    return JobTraits(
        own_mounts=({"name": "bascule-environment", "mountPath": ENVIRONMENT, "readOnly": True},),
        own_environment={"BASCULE_ENVIRONMENT_DIR": ENVIRONMENT},
        volumes=({"name": "bascule-environment", "secret": {"secretName": secret, "defaultMode": 0o440}},),
        secrets=(secret,),
    )


def checked(request: DrillRequest, procedure: PinnedProcedure | None, use: str) -> PinnedProcedure:
    """The Procedure of a drill's step. Raises StepFailedError for one that has no place in a drill's namespace."""
    if procedure is None:
        raise StepFailedError(f"{request.step} names a Procedure that is not pinned")
    if use not in procedure.spec.uses:
        raise StepFailedError(f"the Procedure {procedure.name} is not for {use}")
    if procedure.spec.security_profile == SecurityProfile.HOST:
        raise StepFailedError(f"the Procedure {procedure.name} has the securityProfile Host: it is not for drills")
    if request.namespace != names.drill_namespace(request.run.uid, request.run.number):
        raise StepFailedError(f"{request.namespace} is not the namespace of this drill")
    return procedure


# The copy of the keys to the backup


def backup_secret_name(request: DrillRequest) -> str:
    return names.object_name(request.run.uid, request.run.number, "backup")


def backup_secret(request: DrillRequest, own: RunCredentials) -> dict[str, Any]:
    """The copy that the restore's Job works with, of the keys that are for the place of the backup."""
    values = {key.removeprefix(_PREFIX): value for key, value in own.values.items() if key.startswith(_PREFIX)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "immutable": True,
        "metadata": {
            "name": backup_secret_name(request),
            "namespace": request.namespace,
            "labels": {
                names.LABEL_TENANT: request.tenant.name,
                names.LABEL_RUN: names.run_label(request.run.uid, request.run.number),
                names.LABEL_KIND: request.run.kind,
            },
        },
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in sorted(values.items())},
    }


# Times that containers report


def moment(results: Mapping[str, str], name: str) -> tuple[int, str]:
    """A result that is an RFC 3339 time, in whole epoch seconds, rounded down; 0 and why where it is none.

    Without an offset it is none: nobody can tell what it means.
    """
    said = results.get(name, "")
    if not said:
        return 0, ""
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        return 0, f"the result {name} is no RFC 3339 time: {said[:64]}"
    if found.tzinfo is None:
        return 0, f"the result {name} has no offset from UTC: {said[:64]}"
    seconds = int(found.timestamp() // 1)
    return (seconds, "") if seconds > 0 else (0, f"the result {name} is before 1970: {said[:64]}")


def rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
