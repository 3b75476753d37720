"""A recovery is rehearsed: a backup, a drill that is approved and measured, one that misses an order, a deletion."""

from __future__ import annotations

import subprocess
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from hack import installation
from hack.cluster.handle import Cluster
from hack.demo import drill_proofs as proofs
from hack.demo import drill_story as story
from hack.demo.acting import Body, Cast, make_cast, perform, until
from hack.demo.life_proofs import ended
from hack.demo.proofs import Proof
from hack.demo.stage import Stage

KIND = proofs.KIND
PATIENCE = 600
REPORT = installation.ROOT / "build" / "drill.html"


def images(cluster: Cluster) -> dict[str, str]:
    """Images that the story needs besides those of every cluster."""
    return {"postgres": cluster.extra_image("postgres")}


def play(stage: Stage) -> list[Proof]:
    """Tell the story. Returns what was proven."""
    cluster, space = stage.cluster, stage.tenant.namespace
    with tempfile.TemporaryDirectory() as folder:
        stage.say("two people: dora, who edits in acme-dev, and ada, who may approve there and nothing else")
        cast = make_cast(stage, Path(folder))
        stage.say("the platform team lets acme rehearse, and gives its reports a place")
        story.allow_drills(cluster, stage.tenant.name)
        stage.say("acme's shop: a PostgreSQL with a thousand orders")
        image = cluster.extra_image("postgres")
        story.open_shop(cluster, space, image)
        backup, taken = story.back_up(cluster, space, stage.tenant.name)
        stage.say(f"its backup: pg_dump, as the OCI artifact {backup}")
        story.sql(cluster, space, "INSERT INTO orders (id, what) VALUES (1001, 'after the backup')")
        stage.say("and one more order, which no backup has")
        installation.apply(cluster, story.login(cluster, space), story.pilot_light(space, image))
        before = proofs.live_objects(stage)
        found = [
            *_met(stage, cast, backup, taken),
            *_missed(stage, cast, backup),
            *_deleted(stage, cast, backup),
        ]
        last = [
            proofs.namespaces_gone(stage),
            proofs.untouched(stage, before),
            proofs.live_orders(stage, 1001),
        ]
        stage.show(*last)
        return [*found, *last]


def next_steps(stage: Stage) -> list[str]:
    """What may be tried with the cluster that was kept."""
    space = stage.tenant.namespace
    return [
        f"kubectl get drd -n {space}",
        f"bascule drill history orders -n {space} -o csv",
        f"bascule explain missing -n {space}",
        f"xdg-open {REPORT}",
    ]


def _met(stage: Stage, cast: Cast, backup: str, taken: datetime) -> list[Proof]:
    stage.act(1, "a drill, once somebody has agreed: provisioned, isolated, restored, probed, measured, torn down")
    space = stage.tenant.namespace
    approval = {"required": True, "timeout": "1h"}
    installation.apply(stage.cluster, story.drill(space, "orders", backup, 1000, approval=approval))
    _until(stage, "orders", lambda body: body["status"].get("phase") == "Waiting", "waiting for a person")
    perform(stage, cast.dora, "kubectl", "bascule", "explain", "orders")
    perform(stage, cast.ada, "kubectl", "bascule", "approve", "orders", "--yes", "--reason", "the yearly drill")
    done = _waited(stage, cast, "orders", "Ready")
    perform(stage, cast.dora, "kubectl", "get", "drd")
    perform(stage, cast.dora, "kubectl", "bascule", "drill", "history", "orders")
    REPORT.parent.mkdir(exist_ok=True)
    written = _inside(stage, cast, "bascule", "drill", "report", "orders", "--output", str(REPORT))
    told = proofs.found(stage, "orders")
    found = [
        ended("the drill met its objectives", "kubectl wait drd/orders --for=condition=Ready", done, 0),
        proofs.verdict(stage, "orders", "Met", "ObjectivesMet"),
        proofs.recovery_point(stage, "orders", taken),
        proofs.torn_down(stage, "orders"),
        ended("the report is there", "kubectl bascule drill report orders", written, 0),
        proofs.report_written(REPORT, str(told.get("rto")), str(told.get("rpo")), "ada approved"),
    ]
    stage.show(*found)
    return found


def _missed(stage: Stage, cast: Cast, backup: str) -> list[Proof]:
    stage.act(2, "a drill that asks for the last order too: no backup has it, and the verdict says so")
    installation.apply(stage.cluster, story.drill(stage.tenant.namespace, "missing", backup, 1001))
    done = _waited(stage, cast, "missing", "Stalled")
    perform(stage, cast.dora, "kubectl", "bascule", "explain", "missing")
    found = [
        ended("the drill is not Ready: it needs people", "kubectl wait drd/missing --for=condition=Stalled", done, 0),
        proofs.verdict(stage, "missing", "Missed", "ProbeFailed"),
        proofs.torn_down(stage, "missing"),
    ]
    stage.show(*found)
    return found


def _deleted(stage: Stage, cast: Cast, backup: str) -> list[Proof]:
    stage.act(3, "a drill that is deleted while it goes on: what it made goes first, then the resource")
    installation.apply(stage.cluster, story.drill(stage.tenant.namespace, "doomed", backup, 1000))
    _until(stage, "doomed", _restoring, "restoring")
    there = proofs.namespaces_gone(stage)
    done = perform(stage, cast.dora, "kubectl", "delete", "drd", "doomed", "--timeout=300s", seconds=PATIENCE)
    found = [
        Proof("its namespace was there", there.command, not there.held, there.seen),
        ended("the deletion came to its end", "kubectl delete drd doomed", done, 0),
        proofs.namespaces_gone(stage),
    ]
    stage.show(*found)
    return found


def _waited(stage: Stage, cast: Cast, name: str, condition: str) -> int:
    words = ("wait", f"drd/{name}", f"--for=condition={condition}", f"--timeout={PATIENCE}s")
    return perform(stage, cast.dora, "kubectl", *words, seconds=PATIENCE + 30)


def _restoring(body: Body) -> bool:
    steps = {step["name"]: step["state"] for step in body["status"].get("steps", [])}
    return steps.get("restore") in ("Running", "Succeeded") or body["status"].get("phase") == "Succeeded"


def _until(stage: Stage, name: str, wanted: Any, what: str) -> Body:
    return until(stage, KIND, name, wanted, what, PATIENCE)


def _inside(stage: Stage, cast: Cast, *command: str) -> int:
    """Run a command of dora's where the registry's name is known."""
    stage.console.print(f"\n[bold]dora$[/] {' '.join(command)}", highlight=False, soft_wrap=True)
    program = str(installation.ROOT / ".venv" / "bin" / command[0])
    argv, environment = stage.cluster.inside(
        [program, *command[1:], "-n", stage.tenant.namespace], {"KUBECONFIG": str(cast.dora.kubeconfig)}
    )
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
    stage.console.print(done.stdout + done.stderr, highlight=False, soft_wrap=True, markup=False)
    return done.returncode
