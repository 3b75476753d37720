"""Requests to the API server as somebody in particular, and what it answers."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from hack.cluster.handle import Cluster

OPERATOR = "system:serviceaccount:bascule-system:bascule-operator"
WORKER = "system:serviceaccount:bascule-system:bascule-worker"
ADMIN_GROUP = "system:masters"


def as_user(user: str, *groups: str) -> list[str]:
    """kubectl's arguments to ask as `user` in `groups`."""
    return [f"--as={user}", *(f"--as-group={group}" for group in groups)]


def refusal(cluster: Cluster, *arguments: str, document: dict[str, Any] | None = None) -> str:
    """What the API server says against the request; empty when it does not object."""
    try:
        cluster.kubectl(*arguments, input=json.dumps(document) if document else None)
    except subprocess.CalledProcessError as error:
        return str(error.stderr)
    return ""


def creation(cluster: Cluster, document: dict[str, Any], *caller: str) -> str:
    """What the API server says against creating `document`; nothing is kept of it."""
    return refusal(cluster, *caller, "create", "--dry-run=server", "--validate=strict", "-f", "-", document=document)


def warnings(cluster: Cluster, *arguments: str, document: dict[str, Any] | None = None) -> str:
    """What the API server warns of when the request is made, which has to succeed."""
    text = json.dumps(document) if document else None
    return cluster.exec(["kubectl", *arguments], input=text, check=True).stderr
