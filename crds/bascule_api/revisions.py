"""Revisions: a hash of what a run depends on, stable over releases and over ways of writing the same value."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from bascule_api.base import ApiModel, Duration

CURRENT_ALGORITHM = "1"


def _normalised(value: Any) -> Any:
    if isinstance(value, Duration):
        return f"{value.seconds}s"
    if isinstance(value, datetime):
        # The same moment, whatever offset it is written with.
        return value.astimezone(UTC).isoformat()
    if isinstance(value, dict):
        return {key: _normalised(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_normalised(item) for item in value]
    return value


def revision(spec: ApiModel, fields: tuple[str, ...], algorithm: str = CURRENT_ALGORITHM) -> str:
    """The revision of `spec`, such as `1-9f2c61a0b4`.

    `fields` are the attribute names that a run depends on. Values equal to their default are left out, so that a
    release that adds a defaulted field changes no revision. `algorithm` is the prefix of the stored revision to
    compare with; an unknown one raises ValueError.
    """
    if algorithm != CURRENT_ALGORITHM:
        raise ValueError(f"revision algorithm {algorithm!r} is not known to this version")
    dumped = spec.model_dump(mode="python", by_alias=True, exclude_defaults=True, include=set(fields))
    text = json.dumps(_normalised(dumped), sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return f"{algorithm}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def same_revision(stored: str, spec: ApiModel, fields: tuple[str, ...]) -> bool:
    """Whether `stored` is the revision of `spec`, compared by the algorithm that made it."""
    algorithm, _, _ = stored.partition("-")
    return stored == revision(spec, fields, algorithm)
