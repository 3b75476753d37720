"""The proofs of the drills' story: from kubectl, the live database and the API server's audit log."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from hack.demo import drill_story as story
from hack.demo.acting import look
from hack.demo.proofs import Proof
from hack.demo.stage import Stage

Body = dict[str, Any]
KIND = "drdrill"


def found(stage: Stage, name: str) -> Body:
    """`status.drill`."""
    body = look(stage, KIND, name) or {}
    return dict(body.get("status", {}).get("drill") or {})


def verdict(stage: Stage, name: str, wanted: str, reason: str) -> Proof:
    told = found(stage, name)
    seen = f"{told.get('verdict')} {told.get('reason')}: {told.get('message', '')}"
    held = (told.get("verdict"), told.get("reason")) == (wanted, reason)
    return Proof(f"{name}: {wanted}, {reason}", f"kubectl get drd {name} -o yaml   (status.drill)", held, seen)


def recovery_point(stage: Stage, name: str, taken: datetime) -> Proof:
    """The RPO is what the story knows it to be: it took the backup itself."""
    told = found(stage, name)
    declared = datetime.fromisoformat(told["declaredAt"].replace("Z", "+00:00"))
    known = int((declared - taken).total_seconds())
    # A probe that saw older data than the backup's time makes the point older, never younger.
    seen = told.get("rpoSeconds")
    newest = told.get("dataAsOf")
    if newest:
        known = max(known, int((declared - datetime.fromisoformat(newest.replace("Z", "+00:00"))).total_seconds()))
    return Proof(
        "the recovery point is the moment at which the backup was taken, or that of the newest order in it",
        f"kubectl get drd {name} -o jsonpath={{.status.drill.rpoSeconds}}",
        seen == known,
        f"{seen} s; the story knows {known} s",
    )


def namespaces_gone(stage: Stage) -> Proof:
    there = stage.cluster.kubectl("get", "namespaces", "-l", "bascule.dev/drill-of", "-o", "name").split()
    seen = ", ".join(there) or "none"
    return Proof("no drill's namespace is left", "kubectl get namespaces -l bascule.dev/drill-of", not there, seen)


def torn_down(stage: Stage, name: str) -> Proof:
    told = found(stage, name)
    counts = {item["kind"]: (item.get("before", 0), item.get("after", 0)) for item in told.get("searched", [])}
    there = {kind: before for kind, (before, _) in counts.items() if before}
    held = bool(there) and not any(after for _, after in counts.values()) and not told.get("left")
    seen = ", ".join(f"{kind} {before} → {counts[kind][1]}" for kind, before in sorted(there.items()))
    claim = f"{name}: what there was is gone, counted before and after"
    return Proof(claim, f"kubectl get drd {name} -o yaml   (status.drill.searched)", held, seen)


def live_objects(stage: Stage) -> dict[str, str]:
    """The live objects of the shop with their resourceVersions."""
    kinds = "deployments,replicasets,services,secrets,configmaps,serviceaccounts"
    listed = stage.cluster.kubectl("get", kinds, "-n", stage.tenant.namespace, "-o", "json")
    return {
        f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for item in json.loads(listed)["items"]
    }


def untouched(stage: Stage, before: dict[str, str]) -> Proof:
    now = live_objects(stage)
    changed = sorted(name for name, version in before.items() if now.get(name) != version)
    return Proof(
        "no live object was touched",
        f"kubectl get deployments,services,secrets,… -n {stage.tenant.namespace}   (resourceVersions)",
        not changed,
        ", ".join(changed) or f"{len(before)} objects, all as they were",
    )


def live_orders(stage: Stage, wanted: int) -> Proof:
    seen = story.sql(stage.cluster, stage.tenant.namespace, "SELECT count(*) FROM orders").strip()
    command = "psql -c 'SELECT count(*) FROM orders'   (in the live database)"
    return Proof("the live database has every order", command, seen == str(wanted), seen)


def report_written(path: Path, *figures: str) -> Proof:
    text = path.read_text() if path.exists() else ""
    missing = [figure for figure in figures if figure not in text]
    seen = f"{len(text)} characters" + (f"; without {', '.join(missing)}" if missing else "")
    return Proof("the report has the figures", f"xdg-open {path}", bool(text) and not missing, seen)
