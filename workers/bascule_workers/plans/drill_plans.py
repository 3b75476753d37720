"""What a drill plans and keeps of its manifests, and how its environment is told of. Pure."""

from __future__ import annotations

import base64
import binascii
import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bascule_api import names
from bascule_api.dr_drill_status import LEFT_LIMIT, SEARCHED_LIMIT, SearchedKind
from bascule_api.progress import RunIdentity, TenantFacts
from bascule_workers.dr_drills import DrillPlan, TornDown
from bascule_workers.errors import ManifestsRefusedError
from bascule_workers.plans import credentials, manifests
from bascule_workers.plans.failures import listed, shortened
from bascule_workers.plans.kstatus import Standing
from bascule_workers.plans.manifest_files import BYTES_LIMIT, FILES_LIMIT, SUFFIXES
from bascule_workers.plans.manifests import Manifest
from bascule_workers.ports.drills import Counted

APPLIED = "applied"
"""Cursor of a stage that was applied, and is waited for."""
_MANIFESTS, _REVISION = "manifests.json", "revision"
VOLUME = "PersistentVolume"
TOLD = 3
"""Objects that are not ready, of those that people are told of."""


@dataclass(frozen=True)
class FileLimits:
    """Which files of a commit's folder are wanted, and how much of them at most."""

    suffixes: tuple[str, ...]
    files: int
    bytes: int


FILE_LIMITS = FileLimits(SUFFIXES, FILES_LIMIT, BYTES_LIMIT)


def files_of(config_map: Mapping[str, Any]) -> dict[str, bytes]:
    """The keys of a ConfigMap as files. Raises ManifestsRefusedError."""
    files = {key: value.encode() for key, value in (config_map.get("data") or {}).items()}
    for key, value in (config_map.get("binaryData") or {}).items():
        try:
            files[key] = base64.b64decode(value)
        except binascii.Error:
            raise ManifestsRefusedError(f"{key} of the ConfigMap's binaryData is no base64") from None
    return files


def copy_of(run: RunIdentity, tenant: TenantFacts, loaded: Sequence[Manifest], revision: str) -> dict[str, Any]:
    """The run's copy: what is applied is read from it and from nowhere else."""
    data = {_MANIFESTS: manifests.packed(loaded), _REVISION: revision}
    return credentials.run_config_map(run, tenant, {"data": data})


def plan_of(kept: Mapping[str, Any], procedures: Mapping[str, str], order: str) -> DrillPlan:
    """What the run is going to do; its digest covers manifests, Procedures and spec."""
    loaded = _loaded(kept)
    late = sum(manifests.is_after_restore(manifest) for manifest in loaded)
    covered = {"manifests": loaded, "procedures": dict(procedures), "order": order}
    digest = hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()
    return DrillPlan(
        digest=f"sha256:{digest}",
        revision=(kept.get("data") or {}).get(_REVISION, ""),
        before=len(loaded) - late,
        after=late,
        services=sorted(item["metadata"]["name"] for item in loaded if item["kind"] == "Service"),
    )


def stage_of(kept: Mapping[str, Any], run: str, namespace: str, *, late: bool) -> list[Manifest]:
    """The objects of one stage, in the order in which they are applied, labelled as the run's."""
    chosen = [manifest for manifest in _loaded(kept) if manifests.is_after_restore(manifest) == late]
    return [_owned(manifest, run, namespace) for manifest in chosen]


def _loaded(kept: Mapping[str, Any]) -> list[Manifest]:
    loaded: list[Manifest] = json.loads((kept.get("data") or {}).get(_MANIFESTS, "[]"))
    return loaded


def _owned(manifest: Manifest, run: str, namespace: str) -> Manifest:
    result = copy.deepcopy(manifest)
    metadata = result["metadata"]
    metadata["namespace"] = namespace
    metadata["labels"] = {**(metadata.get("labels") or {}), names.LABEL_DRILL: run}
    return result


def unready(found: Sequence[Standing]) -> str:
    """`2 of 5 are ready; Deployment/web: …`."""
    waiting = [standing for standing in found if not standing.ready]
    ready = len(found) - len(waiting)
    # What has trouble to tell of, before what merely is not there yet.
    told = sorted(waiting, key=lambda standing: "Pod " not in standing.message)[:TOLD]
    words = "; ".join(f"{standing.name}: {standing.message}" for standing in told)
    return shortened(
        f"{ready} of {len(found)} are ready; {words}" if len(found) > len(waiting) or len(found) > 1 else words
    )


def held(namespace: str, held_by: Sequence[str], objects: Sequence[str]) -> str:
    """What keeps a namespace from being gone, for people."""
    if not held_by:
        return f"waiting for the namespace {namespace} to be gone"
    named = f"by {listed(list(objects))}: " if objects else ""
    return shortened(f"the namespace {namespace} is held {named}{'; '.join(held_by)}")


def torn_down(before: Before, after: Counted, started: int, finished: int) -> TornDown:
    """What a teardown proves. What is still there is listed."""
    searched = [
        SearchedKind(kind=kind, before=before.kinds.get(kind, 0), after=count) for kind, count in after.kinds.items()
    ]
    left = [f"{kind}: {count}" for kind, count in after.kinds.items() if count and kind != VOLUME]
    left += [f"{VOLUME}/{name}" for name in after.volumes]
    return TornDown(
        found=before.kinds.get("Namespace", 0),
        items=left[:LEFT_LIMIT],
        searched=searched[:SEARCHED_LIMIT],
        started=started,
        finished=finished,
    )


@dataclass(frozen=True)
class Before:
    """What there was before a teardown: kept from call to call."""

    kinds: dict[str, int]
    held: list[str] = field(default_factory=list)
    deleted: int = 0
    """When the deletion was asked for, in epoch seconds."""

    def to_text(self, deleted: int) -> str:
        return json.dumps({"kinds": self.kinds, "held": self.held, "deleted": deleted or self.deleted})

    @classmethod
    def of(cls, text: str) -> Before:
        values: dict[str, Any] = json.loads(text)
        return cls(values["kinds"], values["held"], values["deleted"])
