"""A fleet is patched: a plan, a canary, an approval, a failing node, going on, and a rollback of all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hack import installation
from hack.cluster.addresses import NODES
from hack.cluster.debian_archive import DebianPackage
from hack.demo import campaign_proofs as proofs
from hack.demo import campaign_story as story
from hack.demo.acting import Body, Cast, make_cast, perform, until
from hack.demo.life_proofs import ended
from hack.demo.proofs import Proof
from hack.demo.stage import Stage

KIND = "patchcampaign"
POOL = story.POOL
"""Labels of the nodes that the story's tenant may patch."""
PATIENCE = 600
PICTURE = installation.ROOT / "build" / "campaign.html"


def play(stage: Stage) -> list[Proof]:
    """Tell the story. Returns what was proven."""
    with tempfile.TemporaryDirectory() as folder:
        stage.say("two people: dora, who edits in acme-dev, and ada, who may approve there and nothing else")
        cast = make_cast(stage, Path(folder))
        stage.say(f"the platform team gives acme its nodes; each has {story.PACKAGE} 1.0, and the archive gets 1.1")
        _prepare(stage)
        acts = (_plan, _canary, _failing, _going_on, _rollback)
        found = [proof for act in acts for proof in act(stage, cast)]
        last = [proofs.nothing_held(stage), proofs.evicted(stage), proofs.service_is_there(stage)]
        stage.show(*last)
        return [*found, *last]


def next_steps(stage: Stage) -> list[str]:
    """What may be tried with the cluster that was kept."""
    space = stage.tenant.namespace
    return [
        f"kubectl get pcamp -n {space}",
        f"bascule campaign show risky -n {space}",
        f"bascule explain all-or-none -n {space}",
        f"bascule history risky -n {space}",
        f"xdg-open {PICTURE}",
    ]


def _prepare(stage: Stage) -> None:
    cluster = stage.cluster
    for node in NODES:
        cluster.install_package(node, DebianPackage(story.PACKAGE, "1.0"))
    cluster.publish_package(DebianPackage(story.PACKAGE, "1.1", needs_reboot=True), security=True)
    story.label_nodes(cluster)
    installation.apply(cluster, *story.service(cluster, stage.tenant.namespace))
    cluster.kubectl("rollout", "status", f"deployment/{story.SERVICE}", "-n", stage.tenant.namespace, "--timeout=120s")


def _apply(stage: Stage, name: str, waves: list[Body], action: str, mode: str = "Apply") -> None:
    installation.apply(stage.cluster, story.campaign(stage.tenant.namespace, name, waves, action, mode))


def _plan(stage: Stage, cast: Cast) -> list[Proof]:
    stage.act(1, "the plan: which node is in which wave, before anything is touched")
    _apply(stage, "security", [story.CANARY, story.AGREED], "Halt", mode="Plan")
    _until(stage, "security", "Succeeded", "planned")
    perform(stage, cast.dora, "kubectl", "bascule", "campaign", "plan", "security")
    found = [proofs.versions(stage, dict.fromkeys(NODES, "1.0"), "nothing was touched")]
    stage.show(*found)
    return found


def _canary(stage: Stage, cast: Cast) -> list[Proof]:
    stage.act(2, "a canary, and an approval for the rest; the new version asks for a reboot")
    boots = proofs.boot_ids(stage)
    planned = _order(stage, "security")
    _apply(stage, "security", [story.CANARY, story.AGREED], "Halt")
    body = _until(stage, "security", "Waiting", "waiting for a person", gate="fleet")
    canary, other = _order(stage, "security")
    perform(stage, cast.dora, "kubectl", "get", "pcamp")
    perform(stage, cast.dora, "kubectl", "bascule", "campaign", "show", "security")
    before = [
        proofs.as_planned(planned, [canary, other]),
        proofs.versions(stage, {canary: "1.1", other: "1.0"}, "the canary is patched, and nothing else"),
        proofs.rebooted(stage, boots, [canary]),
        proofs.schedulable(stage),
    ]
    stage.show(*before)
    perform(stage, cast.dora, "kubectl", "bascule", "explain", "security")
    stage.say("dora made it, and may not approve it; ada may, and approves this plan")
    refused = perform(stage, cast.dora, "kubectl", "bascule", "approve", "security", "--yes")
    perform(stage, cast.ada, "kubectl", "bascule", "approve", "security", "--yes", "--reason", "the canary is fine")
    done = _watch(stage, cast, "security")
    found = [
        ended("who lacks the right cannot approve", "kubectl bascule approve security --yes   (as dora)", refused, 4),
        proofs.approved(stage, body, "ada"),
        ended("the campaign succeeded", "kubectl bascule campaign show security --watch", done, 0),
        proofs.versions(stage, dict.fromkeys(NODES, "1.1"), "all nodes are patched"),
        proofs.rebooted(stage, boots, [canary, other]),
    ]
    stage.show(*found)
    return [*before, *found]


def _failing(stage: Stage, cast: Cast) -> list[Proof]:
    stage.act(3, "a version that does not start on one node: the campaign halts")
    waves = [story.CANARY, story.FLEET]
    _apply(stage, "risky", waves, "Halt", mode="Plan")
    _until(stage, "risky", "Succeeded", "planned")
    canary, other = _order(stage, "risky")
    stage.cluster.publish_package(DebianPackage(story.PACKAGE, "1.2", fails_on=[other]), security=True)
    _apply(stage, "risky", waves, "Halt")
    PICTURE.parent.mkdir(exist_ok=True)
    done = _watch(stage, cast, "risky", f"--html={PICTURE}")
    perform(stage, cast.dora, "kubectl", "bascule", "explain", "risky")
    found = [
        ended("the campaign failed", "kubectl bascule campaign show risky --watch", done, 1),
        proofs.failed_at(stage, "risky", other, f"{story.PACKAGE} 1.2 does not start on {other}"),
        proofs.versions(stage, {canary: "1.2", other: "1.1"}, "the node that failed was rolled back, the canary stays"),
        proofs.schedulable(stage),
        proofs.picture_written(PICTURE, other),
    ]
    stage.show(*found)
    return found


def _going_on(stage: Stage, cast: Cast) -> list[Proof]:
    stage.act(4, "the package is mended, and the campaign goes on where it stopped")
    canary, other = _order(stage, "risky")
    stage.cluster.publish_package(DebianPackage(story.PACKAGE, "1.2.1"), security=True)
    done = perform(stage, cast.dora, "kubectl", "bascule", "rerun", "risky", "--wait", seconds=PATIENCE)
    perform(stage, cast.dora, "kubectl", "bascule", "campaign", "show", "risky")
    found = [
        ended("the second run succeeded", "kubectl bascule rerun risky --wait", done, 0),
        proofs.versions(stage, {canary: "1.2", other: "1.2.1"}, "only what was missing was patched"),
        proofs.skipped(stage, "risky", 1),
    ]
    stage.show(*found)
    return found


def _rollback(stage: Stage, cast: Cast) -> list[Proof]:
    stage.act(5, "all or none: one node fails, and all are rolled back")
    waves = [story.CANARY, story.FLEET]
    _apply(stage, "all-or-none", waves, "RollbackAll", mode="Plan")
    _until(stage, "all-or-none", "Succeeded", "planned")
    before = proofs.package_versions(stage)
    canary, other = _order(stage, "all-or-none")
    stage.cluster.publish_package(DebianPackage(story.PACKAGE, "1.3", fails_on=[other]), security=True)
    _apply(stage, "all-or-none", waves, "RollbackAll")
    done = _watch(stage, cast, "all-or-none")
    found = [
        ended("the campaign failed", "kubectl bascule campaign show all-or-none --watch", done, 1),
        proofs.was_patched(stage, "all-or-none", canary),
        proofs.versions(stage, before, "every node has the version that it had"),
        proofs.schedulable(stage),
    ]
    stage.show(*found)
    return found


def _watch(stage: Stage, cast: Cast, name: str, *options: str) -> int:
    return perform(stage, cast.dora, "kubectl", "bascule", "campaign", "show", name, "-w", *options, seconds=PATIENCE)


def _until(stage: Stage, name: str, phase: str, what: str, gate: str = "") -> Body:
    """The campaign once it is in this phase, and at this gate, in the generation that was applied last."""

    def wanted(body: Body) -> bool:
        status = body["status"]
        seen = status.get("observedGeneration") == body["metadata"]["generation"]
        at_gate = not gate or (status.get("waitingFor") or {}).get("gate") == gate
        return bool(seen and status.get("phase") == phase and at_gate)

    return until(stage, KIND, name, wanted, what, PATIENCE)


def _order(stage: Stage, name: str) -> list[str]:
    """The nodes in the plan's order."""
    return proofs.planned(stage, name)
