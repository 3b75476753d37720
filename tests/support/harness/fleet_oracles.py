"""What has to be true of nodes and of a campaign's status when a life has settled. Each returns what is wrong."""

from __future__ import annotations

from bascule_api import names
from bascule_operator.errors import GoneError
from tests.support.harness import fleet, oracles
from tests.support.harness.fleet_scene import FleetScene
from tests.support.harness.scene import Json, status_of


async def after_success(scene: FleetScene) -> list[str]:
    """Every node was patched, rebooted and verified once by the last run, which says so, and is free again."""
    number, every = status_of(scene.body)["run"]["number"], set(scene.nodes)
    wrong = await oracles.succeeded(scene) + await free(scene) + _once(scene) + _counts(scene, patched=3)
    played = scene.shard.plane.kubelet.fleet
    for use in (fleet.PATCH, fleet.REBOOT, fleet.VERIFY):
        done = {target for _, target in played.of(scene.uid, use, number)}
        wrong += [f"{use} was carried out at {sorted(done)} only"] if done != every else []
    if sum(played.of(scene.uid, fleet.GATE, number).values()) != 2:
        wrong.append(f"the gate was asked: {played.of(scene.uid, fleet.GATE, number)}")
    states = {wave["state"] for wave in status_of(scene.body)["waves"]}
    return wrong + ([f"waves are {states}"] if states != {"Succeeded"} else []) + await _drained(scene)


async def after_failure(scene: FleetScene) -> list[str]:
    """A target failed: the run says so, and took everything back."""
    status = status_of(scene.body)
    wrong = await free(scene) + _once(scene) + _counts(scene, patched=0)
    if status.get("phase") != "Failed" or (status.get("failure") or {}).get("type") != "TooManyFailures":
        wrong.append(f"the phase is {status.get('phase')}: {status.get('failure')}")
    return wrong + await oracles.told(scene)


async def after_termination(scene: FleetScene) -> list[str]:
    """The run was ended by force while it patched its canary: its undo took that back, and freed the node."""
    return await oracles.after_failure(scene) + await free(scene) + _once(scene) + _standing(scene, None)


async def after_deletion(scene: FleetScene) -> list[str]:
    """The campaign is gone; what it patched stays only where a run of it had succeeded, and `onDelete` lets it."""
    wrong = await oracles.after_deletion(scene) + await free(scene) + _once(scene)
    last = scene.shard.plane.chronicle.of(scene.uid)[-1]
    if scene.body["spec"].get("compensation", {}).get("onDelete") == "Always":
        return wrong + _standing(scene, None)
    return wrong + (_standing(scene, last.run) if last.run and last.outcome != "Succeeded" else [])


async def free(scene: FleetScene) -> list[str]:
    """No node is marked, each is cordoned if a person had done that, and no Lease of a target is held."""
    plane, wrong = scene.shard.plane, []
    for name, cordoned in scene.nodes.items():
        try:
            node = await plane.kube.request("GET", f"/api/v1/nodes/{name}", resource="test")
        except GoneError:
            continue
        marks = {**node["metadata"].get("labels", {}), **node["metadata"].get("annotations", {})}
        ours = {key: value for key, value in marks.items() if key.startswith("bascule.dev/")}
        if ours or bool(node["spec"].get("unschedulable")) != cordoned:
            wrong.append(f"{name} is left with {ours}, unschedulable {node['spec'].get('unschedulable')}")
    path = f"/apis/coordination.k8s.io/v1/namespaces/{scene.shard.steps_namespace}/leases"
    listed = await plane.kube.request("GET", path, resource="test", query={"labelSelector": names.LABEL_RUN})
    held = [item["metadata"]["name"] for item in listed["items"] if _is_of(item, scene.uid)]
    return wrong + ([f"Leases are left: {held}"] if held else [])


def _is_of(item: Json, uid: str) -> bool:
    return str(item["metadata"]["labels"][names.LABEL_RUN]).startswith(uid)


def _once(scene: FleetScene) -> list[str]:
    """No run patched a target twice, nor rebooted it twice."""
    played = scene.shard.plane.kubelet.fleet
    return [
        f"{use} was carried out {times} times at {target} by {run}"
        for use in (fleet.PATCH, fleet.REBOOT)
        for (run, target), times in played.of(scene.uid, use).items()
        if times > 1
    ]


def _counts(scene: FleetScene, patched: int) -> list[str]:
    """The status counts what the last run patched and what of it stands."""
    status = status_of(scene.body)
    told = status.get("targets") or {}
    stands = scene.shard.plane.kubelet.fleet.patched(scene.uid, status["run"]["number"])
    if told.get("total") == 3 and told.get("patched", 0) == patched == len(stands):
        return []
    return [f"patched is {sorted(stands)}, {patched} were wanted, told is {told}"]


def _standing(scene: FleetScene, number: int | None) -> list[str]:
    """Nothing stands of what a run patched, or all."""
    stands = scene.shard.plane.kubelet.fleet.patched(scene.uid, number or 0)
    return [f"still patched: {sorted(stands)}"] if stands else []


async def _drained(scene: FleetScene) -> list[str]:
    path = f"/api/v1/namespaces/{scene.shard.namespace}/pods"
    listed = await scene.shard.plane.kube.request("GET", path, resource="test")
    left = [item["metadata"]["name"] for item in listed["items"] if item["metadata"]["name"] in scene.nodes]
    return [f"pods were never evicted: {left}"] if left else []
