"""Fetching a backup from where it is kept: an OCI artifact, or an object of an S3 store."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bascule_workers.in_drill import object_store
from bascule_workers.in_step import registry
from bascule_workers.in_step.contract import ExitCode, Step, StepError

NOT_FOUND = "BackupNotFound"
RECOVERY_POINT = "dev.bascule.recovery-point"
"""Annotation of an artifact: up to when its data go, an RFC 3339 time."""
PATIENCE_SECONDS = 120.0
"""How long a store that does not answer is asked again within one attempt."""
_LOGIN_KEYS = (".dockerconfigjson", "config.json")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Backup:
    """A backup on this machine."""

    path: Path
    name: str
    """As people find it again: the artifact's digest, or `s3://bucket/key`."""
    recorded: str = ""
    """The recovery point that was recorded along with it; empty: none was."""


def not_found(message: str) -> StepError:
    """There is no such backup, or none that can be restored. Trying again helps nobody."""
    return StepError(ExitCode.INVALID, message, failure=NOT_FOUND)


def fetch(step: Step, work: Path) -> Backup:
    """Fetch the backup that the parameters name into the empty folder `work`. Raises StepError."""
    artifact, bucket = step.text("artifact").strip(), step.text("bucket").strip()
    if bool(artifact) == bool(bucket):
        raise StepError(ExitCode.INVALID, "set exactly one of the parameters artifact and bucket")
    backup = _from_registry(step, artifact, work) if artifact else _from_object_store(step, bucket, work)
    if not backup.path.stat().st_size:
        raise not_found(f"the backup {backup.name} is empty")
    return backup


def recovery_point(recorded: str, found: datetime | None) -> dict[str, str]:
    """The result `recoveryPoint`: as it was recorded with the backup, else as the backup itself says; none: nothing.

    Raises StepError for a record that is no time: who wrote it meant something by it.
    """
    if recorded:
        try:
            point = datetime.fromisoformat(recorded)
        except ValueError:
            raise not_found(
                f"the recovery point recorded with the backup is no RFC 3339 time: {recorded[:64]}"
            ) from None
        if point.tzinfo is None:
            raise not_found(f"the recovery point recorded with the backup has no offset from UTC: {recorded[:64]}")
        found = point
    return {"recoveryPoint": found.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")} if found else {}


# OCI


def _from_registry(step: Step, reference: str, work: Path) -> Backup:
    """The only layer of an artifact; skopeo holds it against its digest."""
    folder, scratch = work / "artifact", work / "skopeo"
    scratch.mkdir()
    environment = dict(step.environment) | _registry_login(step)
    try:
        registry.copy(f"docker://{reference}", f"dir:{folder}", environment, scratch, PATIENCE_SECONDS)
    except StepError as error:
        if error.report.exit_code is ExitCode.INVALID:
            raise not_found(error.report.message) from error
        raise
    content = (folder / "manifest.json").read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    manifest: dict[str, Any] = json.loads(content)
    layers = manifest.get("layers") or []
    if len(layers) != 1:
        raise not_found(f"the artifact {reference} has {len(layers)} layers: a backup is one file")
    path = folder / str(layers[0]["digest"]).rpartition(":")[2]
    return Backup(path, digest, str((manifest.get("annotations") or {}).get(RECOVERY_POINT, "")))


def _registry_login(step: Step) -> dict[str, str]:
    folder = step.environment.get("BASCULE_BACKUP_DIR", "")
    for key in _LOGIN_KEYS:
        if folder and Path(folder, key).is_file():
            return {"REGISTRY_AUTH_FILE": str(Path(folder, key))}
    return {}


# S3


def _from_object_store(step: Step, bucket: str, work: Path) -> Backup:
    key = step.text("key").strip()
    if not key:
        raise StepError(ExitCode.INVALID, "the parameter key is not set")
    name = f"s3://{bucket}/{key}"
    store = object_store.ObjectStore(
        endpoint=step.text("endpoint").strip(),
        region=step.text("region", "us-east-1").strip(),
        bucket=bucket,
        access_key=_key(step, "access-key"),
        secret_key=_key(step, "secret-key"),
        ca_file=step.environment.get("SSL_CERT_FILE", ""),
    )
    target = work / "backup"
    metadata = store.get(key, target, PATIENCE_SECONDS)
    if metadata is None:
        raise not_found(f"there is no {name}")
    record = {**_record(store, key, work), **metadata}
    if (wanted := record.get("sha256", "").lower()) and (found := _sha256(target)) != wanted:
        raise not_found(f"{name} is not what was recorded with it: its SHA-256 is {found}, not {wanted[:64]}")
    return Backup(target, name, record.get("recovery-point", ""))


def _record(store: object_store.ObjectStore, key: str, work: Path) -> dict[str, str]:
    """What was recorded beside the object, for stores and clients without metadata."""
    path = work / "record"
    if store.get(f"{key}.bascule.json", path, PATIENCE_SECONDS) is None:
        return {}
    try:
        found: Mapping[str, Any] = json.loads(path.read_bytes())
        values = {"recovery-point": found.get("recoveryPoint", ""), "sha256": found.get("sha256", "")}
    except (ValueError, AttributeError):
        raise not_found(f"{key}.bascule.json is no JSON object") from None
    return {name: str(value) for name, value in values.items() if value}


def _key(step: Step, name: str) -> str:
    folder = step.environment.get("BASCULE_BACKUP_DIR", "")
    path = Path(folder, name)
    if not folder or not path.is_file():
        raise StepError(ExitCode.INVALID, f"the Secret of restore.secretRef has no key {name}")
    value = path.read_text(encoding="utf-8", errors="replace").strip()
    if not re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", value):
        raise StepError(ExitCode.INVALID, f"the key {name} of the Secret of restore.secretRef is no key of an S3 store")
    return value


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
