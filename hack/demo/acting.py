"""Who plays in the stories, what they type, and waiting for what comes of it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.demo.stage import Stage
from hack.installation import ROOT
from hack.people import Person, grant, make_person

PATIENCE = 300
Body = dict[str, Any]


@dataclass(frozen=True)
class Cast:
    """Who plays: real users with certificates of their own."""

    dora: Person
    """Edits what is in the namespace: the ClusterRole edit."""
    ada: Person
    """May decide on approvals and nothing else: the ClusterRole bascule-approve."""


def make_cast(stage: Stage, folder: Path) -> Cast:
    cluster, space = stage.cluster, stage.tenant.namespace
    cast = Cast(*(make_person(cluster, name, space, folder, "acme") for name in ("dora", "ada")))
    grant(cluster, cast.dora, "edit")
    grant(cluster, cast.ada, "bascule-approve")
    return cast


def perform(stage: Stage, person: Person, *command: str, seconds: int = 120) -> int:
    """Show and run a command as a person, in the person's terminal. Returns its exit code."""
    words = " ".join(f"'{word}'" if " " in word else word for word in command)
    stage.console.print(f"\n[bold]{person.name}$[/] {words}", highlight=False, soft_wrap=True)
    with _output(stage) as stream:
        environment = _environment(stage, person)
        done = subprocess.run(
            command, env=environment, stdout=stream, stderr=subprocess.STDOUT, timeout=seconds, check=False
        )
    code = done.returncode
    if code:
        stage.console.print(f"(exit code {code})", style="dim", highlight=False)
    return code


def _output(stage: Stage) -> Any:
    """The console's own file, so that what runs there knows whether it is a terminal."""
    stage.console.file.flush()
    return os.fdopen(os.dup(stage.console.file.fileno()), "w")


def _environment(stage: Stage, person: Person) -> dict[str, str]:
    base = {**os.environ, **stage.cluster.environment}
    return base | {"KUBECONFIG": str(person.kubeconfig), "PATH": f"{ROOT}/.venv/bin:{base['PATH']}"}


def look(stage: Stage, kind: str, name: str) -> Body | None:
    """The resource as the API server has it; None when it is gone."""
    space = stage.tenant.namespace
    found = stage.cluster.kubectl("get", kind, name, "-n", space, "--ignore-not-found", "-o", "json")
    return json.loads(found) if found.strip() else None


def says(body: Body) -> str:
    """The message of Ready."""
    conditions = body.get("status", {}).get("conditions", [])
    return str(next((found["message"] for found in conditions if found["type"] == "Ready"), "nothing"))


def until(stage: Stage, kind: str, name: str, wanted: Callable[[Body], bool], what: str, seconds: int) -> Body:
    """The resource once it is so. Leaves the story when it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        body = look(stage, kind, name)
        if body and body.get("status") and wanted(body):
            return body
        if body and body.get("status", {}).get("phase") in ("Failed", "Rejected"):
            raise SystemExit(f"{name} ended without being {what}: {says(body)}")
        time.sleep(0.5)
    raise SystemExit(f"{name} was not {what} within {seconds} s; look with KEEP=1 and `bascule explain {name}`")
