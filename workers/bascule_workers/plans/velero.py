"""Velero's Backups and Restores, as far as drills look at them, and the Restore that a drill makes.

Velero acts with rights of its own, which are more than the worker's: what a Restore brings is bounded here (kinds, one
namespace into the drill's, nothing of the cluster's), by the rules of the ConfigMap `MODIFIERS`, and by a policy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bascule_api import names
from bascule_api.dr_drill_specs import VeleroRestore
from bascule_api.failures import FailureType
from bascule_workers.dr_drills import DrillRequest
from bascule_workers.errors import StepFailedError

API_VERSION = "velero.io/v1"
LABEL_SCHEDULE = "velero.io/schedule-name"
MODIFIERS = "bascule-drills"
"""A ConfigMap in Velero's namespace, from the chart: what is taken off each object before it is restored."""
ANNOTATION_RECOVERY_POINT = f"{names.GROUP}/recovery-point"
"""On a Restore: when its Backup began. The Backup may be gone when the Restore is over."""
RESOURCES = (
    "configmaps",
    "deployments.apps",
    "poddisruptionbudgets.policy",
    "secrets",
    "serviceaccounts",
    "services",
    "statefulsets.apps",
)
"""What is restored. No rights (Roles and RoleBindings), no pods but those that workloads make, no Jobs that would run
again, and no volumes."""
COMPLETED = "Completed"
_OVER = frozenset({COMPLETED, "PartiallyFailed", "Failed", "FailedValidation"})
_LABEL_LIMIT = 63


@dataclass(frozen=True)
class Backup:
    """A Backup, as far as a drill looks at it. Times are epoch seconds; 0: not yet."""

    name: str
    namespaces: tuple[str, ...] = ()
    """What it was told to hold, as its spec says; none, or `*`, means all."""
    phase: str = ""
    started: int = 0
    """Objects were read from then on: what was changed later may be in it, or not. Hence the recovery point."""


@dataclass(frozen=True)
class RestoreStanding:
    """How a Restore stands. Times are epoch seconds; 0: not yet."""

    name: str
    run: str = ""
    """Value of its label `bascule.dev/run`."""
    backup: str = ""
    recovery_point: int = 0
    phase: str = ""
    """As Velero says it; empty: Velero has not looked at it."""
    items: int = 0
    total: int = 0
    warnings: int = 0
    errors: int = 0
    started: int = 0
    finished: int = 0
    message: str = ""
    """Why it failed, where Velero says so."""

    @property
    def over(self) -> bool:
        return self.phase in _OVER


def backup_of(body: Mapping[str, Any]) -> Backup:
    """Read a Backup from the API server's JSON."""
    status = body.get("status") or {}
    return Backup(
        name=str(body["metadata"]["name"]),
        namespaces=tuple((body.get("spec") or {}).get("includedNamespaces") or ()),
        phase="Deleting" if body["metadata"].get("deletionTimestamp") else str(status.get("phase") or ""),
        started=_epoch(status.get("startTimestamp")),
    )


def standing_of(body: Mapping[str, Any]) -> RestoreStanding:
    """Read a Restore from the API server's JSON."""
    metadata, status = body["metadata"], body.get("status") or {}
    progress = status.get("progress") or {}
    reasons = [str(status.get("failureReason") or ""), *(status.get("validationErrors") or ())]
    return RestoreStanding(
        name=str(metadata["name"]),
        run=str((metadata.get("labels") or {}).get(names.LABEL_RUN, "")),
        backup=str((body.get("spec") or {}).get("backupName") or ""),
        recovery_point=_epoch((metadata.get("annotations") or {}).get(ANNOTATION_RECOVERY_POINT)),
        phase=str(status.get("phase") or ""),
        items=int(progress.get("itemsRestored") or 0),
        total=int(progress.get("totalItems") or 0),
        warnings=int(status.get("warnings") or 0),
        errors=int(status.get("errors") or 0),
        started=_epoch(status.get("startTimestamp")),
        finished=_epoch(status.get("completionTimestamp")),
        message="; ".join(reason for reason in reasons if reason)[:1024],
    )


def newest(backups: Iterable[Backup]) -> Backup | None:
    """The completed Backup that began last, as Velero itself chooses."""
    return max((each for each in backups if each.phase == COMPLETED), key=lambda each: each.started, default=None)


def schedule_label(schedule: str) -> str:
    """The value of Velero's label on the Backups of a Schedule. Long names are shortened as Velero's
    `label.GetValidName` does it."""
    if len(schedule) <= _LABEL_LIMIT:
        return schedule
    return schedule[: _LABEL_LIMIT - 6] + hashlib.sha256(schedule.encode()).hexdigest()[:6]


def checked(found: Backup | None, wanted: VeleroRestore, tenant_namespaces: Collection[str]) -> Backup:
    """The Backup, if this tenant may restore what is wanted from it.

    It has to hold namespaces of the tenant only, named one by one: whoever made it knew then what he gave away. What
    others have in it is not told. Raises StepFailedError of type BackupNotFound or BackupForbidden.
    """
    (namespace,) = wanted.included_namespaces
    if namespace not in tenant_namespaces:
        raise StepFailedError(f"the namespace {namespace} is not one of the tenant's", FailureType.BACKUP_FORBIDDEN)
    if found is None:
        which = f"Backup {wanted.backup}" if wanted.backup else f"completed Backup of the Schedule {wanted.schedule}"
        raise StepFailedError(f"Velero has no {which}", FailureType.BACKUP_NOT_FOUND)
    if not found.namespaces or not set(found.namespaces) <= set(tenant_namespaces):
        raise StepFailedError(
            f"the Backup {found.name} may hold more than the tenant's namespaces: its spec.includedNamespaces has to "
            "name namespaces of the tenant, and nothing else",
            FailureType.BACKUP_FORBIDDEN,
        )
    if found.phase != COMPLETED or not found.started:
        raise StepFailedError(
            f"the Backup {found.name} is {found.phase or 'New'}: only a completed one is restored",
            FailureType.BACKUP_NOT_FOUND,
        )
    if namespace not in found.namespaces:
        raise StepFailedError(
            f"the Backup {found.name} does not hold the namespace {namespace}", FailureType.BACKUP_NOT_FOUND
        )
    return found


def restore_name(request: DrillRequest) -> str:
    """The name of the run's Restore."""
    return names.object_name(request.run.uid, request.run.number, "velero")


def render_restore(request: DrillRequest, backup: Backup, source: str) -> dict[str, Any]:
    """The Restore of one namespace of a Backup into the drill's. Velero's namespace is the adapter's affair."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Restore",
        "metadata": {
            "name": restore_name(request),
            "labels": {
                names.LABEL_TENANT: request.tenant.name,
                names.LABEL_RUN: names.run_label(request.run.uid, request.run.number),
                names.LABEL_KIND: request.run.kind,
            },
            "annotations": {
                names.ANNOTATION_RUN: names.run_of(request.run.uid, request.run.number),
                names.ANNOTATION_RESOURCE: f"{request.run.namespace}/{request.run.name}",
                ANNOTATION_RECOVERY_POINT: _rfc3339(backup.started),
            },
        },
        "spec": {
            "backupName": backup.name,
            "includedNamespaces": [source],
            "namespaceMapping": {source: request.namespace},
            "includedResources": list(RESOURCES),
            "includeClusterResources": False,
            "existingResourcePolicy": "none",
            "restorePVs": False,
            "preserveNodePorts": False,
            "resourceModifier": {"kind": "ConfigMap", "name": MODIFIERS},
        },
    }


def progress(standing: RestoreStanding) -> str:
    """How far a Restore is, in a line."""
    if not standing.phase:
        return f"Velero has not begun the Restore {standing.name}: does its server run?"
    count = f", {standing.items} of {standing.total} objects" if standing.total else ""
    return f"Velero's Restore {standing.name} is {standing.phase}{count}"


def failure(standing: RestoreStanding) -> str:
    """Why a Restore that is over brought back less than it should; empty: it did not.

    Warnings are none: every namespace has a ConfigMap `kube-root-ca.crt`, which is in every backup as well.
    """
    if standing.phase == COMPLETED and not standing.errors:
        return ""
    why = standing.message or f"{standing.errors} errors; `velero restore logs {standing.name}` tells them"
    return f"Velero's Restore {standing.name} of the Backup {standing.backup} is {standing.phase}: {why}"


def _epoch(stamp: object) -> int:
    return int(datetime.fromisoformat(str(stamp)).timestamp()) if stamp else 0


def _rfc3339(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
