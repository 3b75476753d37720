"""What claims of a drill's manifests may ask for: new and empty volumes, never somebody's data."""

from __future__ import annotations

from typing import Any

from bascule_workers.plans.manifest_fields import Findings

_CLAIM = ("accessModes", "resources", "storageClassName", "volumeMode")
_EXISTING = "a drill's claims get new volumes, and its data come from the restore: leave it out"
_CLAIM_REFUSED = {
    "volumeName": _EXISTING,
    "selector": _EXISTING,
    "dataSource": _EXISTING,
    "dataSourceRef": _EXISTING,
    "volumeAttributesClassName": "leave it out",
}


def check_claim(found: Findings, path: str, spec: Any) -> None:
    """The spec of a PersistentVolumeClaim, or of a template of one."""
    if not found.only(path, spec, _CLAIM, _CLAIM_REFUSED):
        return
    if spec.get("storageClassName") == "":
        found.add(f"{path}.storageClassName", "the empty class binds volumes that are there already: leave it out")
    if spec.get("volumeMode") not in (None, "Filesystem"):
        found.add(f"{path}.volumeMode", "Filesystem only: leave it out")
