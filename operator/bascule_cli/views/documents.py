"""`-o json` and `-o yaml`: in ASCII, so that what tenants wrote can do nothing to a terminal. Pure."""

from __future__ import annotations

import json
from typing import Any

import yaml


def as_json(value: Any, *, indent: int | None = 2) -> str:
    return json.dumps(value, indent=indent)


def as_yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=False, width=120).rstrip("\n")


def as_list(items: list[Any]) -> dict[str, Any]:
    """Objects of several kinds as kubectl prints them."""
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}
