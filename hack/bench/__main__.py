"""`make bench`: bursts, lag, writes, memory and restart of the real operator, against raw floors of the same run."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

from hack.bench import campaigns, drill_scene, drills, floors, hardships, measures, report
from hack.bench.children import Child, Meter
from hack.bench.cluster_api import ClusterApi, Json
from hack.bench.figures import Floor, ratio, rounded
from hack.bench.scene import Scene, prepare
from hack.bench.stage import Stage, stage
from hack.cluster import handle
from hack.cluster.temporal_server import TemporalKind, chosen

ROOT = Path(__file__).resolve().parents[2]
SIZES = (100, 300, 1000)
FULL_SIZES = (100, 300, 1000, 5000)
HARDSHIPS = 1000
FLEETS = (100, 1000)
FULL_FLEETS = (100, 1000, 5000)
DRILLS = 5
FULL_DRILLS = 50
JUDGED = 300

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What is to be measured, and on what."""

    name: str
    sizes: tuple[int, ...]
    live: int
    fleets: tuple[int, ...]
    drills: int
    temporal: TemporalKind
    output: Path
    keep: bool


async def _raw(scene: Scene, admin: ClusterApi, say: Say) -> Json:
    """The floors that need no burst, while no operator runs."""
    async with ClusterApi(scene.operator_kubeconfig) as operator:
        say("raw floor: creations and status writes of the API server")
        found = await floors.kubernetes(admin, operator)
    client = await floors.register(scene)
    say("raw floor: workflow starts, workflows with one activity")
    found |= await floors.starts(client)
    async with scene.worker(raw=True):
        return found | await floors.one_activity(client)


async def _burst(on: Stage, count: int, activities: int, patches_per_s: float, say: Say) -> Json:
    """The floor of a burst, and then the burst."""
    client = await floors.register(on.scene)
    say(f"floor of {count}: as many raw workflows with {activities} activities")
    async with on.scene.worker(raw=True) as worker:
        meter = Meter(on.scene.pids(worker=worker))
        temporal_s = await floors.workflows(client, count, activities)
        load = meter.read()
    say(f"burst of {count}; its floor is {temporal_s:.1f} s")
    found = await measures.burst(on, count)
    own = sum(value for name, value in found["writes"]["per_resource"].items() if name.startswith("patch imagebuilds"))
    floor = Floor(temporal_s, count * own / patches_per_s)
    say(f"burst of {count}: all over after {found['to_all_terminal_s']:.1f} s")
    return found | {
        "size": count,
        "floor_s": rounded(floor.seconds),
        "floor": {"temporal_s": rounded(floor.temporal_s), "api_s": rounded(floor.api_s), "load": load},
        "ratio_to_floor": ratio(floor.seconds, found["to_all_terminal_s"]),
        "ratio_to_both_floors": ratio(floor.both, found["to_all_terminal_s"]),
        "ratio_of_cpu": ratio(load["cpu_total_s"], found["load"]["cpu_total_s"]),
        "ceiling": floor.ceiling,
    }


async def _measure(scene: Scene, wanted: Wanted, say: Say) -> Json:
    async with ClusterApi(scene.cluster.kubeconfig) as admin:
        raw = await _raw(scene, admin, say) if wanted.sizes else {}
        operator = scene.operator()
        operator.start()
        try:
            await scene.until_ready()
            async with stage(scene, admin, operator) as on:
                found = await _measured(on, raw, wanted.sizes, say) if wanted.sizes else {}
                found |= await _hardships(on, wanted.live, say) if wanted.live else {}
                found |= {"campaigns": await _campaigns(on, wanted.fleets, say)}
            return found | {"drills": await _drills(scene, admin, operator, wanted.drills, say)}
        finally:
            operator.kill()


async def _campaigns(on: Stage, fleets: tuple[int, ...], say: Say) -> Json:
    found: Json = {}
    for targets in fleets:
        say(f"a campaign of {targets} nodes of KWOK's")
        found[str(targets)] = one = await campaigns.campaign(on, targets)
        took = f"{one['seconds']:.1f} s, {one['times_ideal']:g} times the ideal"
        say(f"campaign of {targets}: {one['phase']} after {took}")
    return found


async def _drills(scene: Scene, admin: ClusterApi, operator: Child, count: int, say: Say) -> Json:
    """Of so many at once, on nodes that run and with the whole worker; none for 0."""
    if not count:
        return {}
    say("drills: the nodes are switched on")
    await asyncio.to_thread(drill_scene.prepare, scene)
    async with stage(scene, admin, operator, real=True) as on:
        return await drills.measure(on, count, say)


async def _hardships(on: Stage, live: int, say: Say) -> Json:
    await on.delete_all()
    say(f"SIGKILL with {live} live runs")
    kill = await hardships.killed(on, live)
    await on.delete_all()
    say(f"{live} deleted in mid-run")
    return {"killed": kill, "deleted_in_mid_run": await hardships.deleted(on, live)}


async def _measured(on: Stage, raw: Json, sizes: tuple[int, ...], say: Say) -> Json:
    say("warming up")
    activities = round((await measures.burst(on, 10))["activities_per_run"])
    empty_mib = await measures.empty_rss_mib(on)
    bursts: Json = {}
    for count in [size for size in sizes if size <= JUDGED]:
        bursts[str(count)] = await _burst(on, count, activities, raw["status_patches_per_s"], say)
    say("status lag at 200 live runs")
    lag = await measures.status_lag(on)
    say("start overhead at a steady pace")
    overhead = await measures.start_overhead(on, raw["workflow_start_alone"]["p50_s"])
    say("deleting everything")
    deletion = await on.delete_all()
    for count in [size for size in sizes if size > JUDGED]:
        bursts[str(count)] = await _burst(on, count, activities, raw["status_patches_per_s"], say)
    say("a minute in which nothing happens")
    idle = await measures.idle(on)
    say("SIGKILL, start, one more")
    restart = await measures.restart(on)
    return _summary(raw, bursts, lag, overhead, idle, restart) | {
        "rss_mib_per_1000": _per_1000(restart["operator_rss_mib"]["after"] - empty_mib, restart["resources"]),
        "activities_per_run": activities,
        "raw": raw | {"temporal": await _temporal_version(on)},
        "deletion": deletion,
        "watch_interruptions": on.watcher.interruptions,
    }


def _per_1000(mib: float, resources: int) -> float | None:
    """None where there were none left: bursts of no more than the judged one are deleted before."""
    return rounded(mib * 1000 / resources, 1) if resources else None


async def _temporal_version(on: Stage) -> str:
    info = await on.temporal.workflow_service.get_system_info(GetSystemInfoRequest())
    return str(info.server_version)


def _summary(raw: Json, bursts: Json, lag: Json, overhead: Json, idle: Json, restart: Json) -> Json:
    largest = max(bursts, key=int)
    judged: Json = bursts[str(JUDGED) if str(JUDGED) in bursts else largest]
    return {
        "burst": bursts,
        "status_lag_p50_s": lag["lag"]["p50_s"],
        "status_lag_p95_s": lag["lag"]["p95_s"],
        "start_overhead_p95_s": overhead["overhead"]["p95_s"],
        "writes_per_resource": judged["writes"],
        "idle_writes": idle["writes"],
        "restart_to_next_served_s": restart["to_next_served_s"],
        "ceiling": _ceiling(raw, judged),
        "status_lag": lag,
        "start_overhead": overhead,
        "idle": idle,
        "restart": restart,
    }


def _ceiling(raw: Json, judged: Json) -> str:
    rate = judged["size"] / judged["floor"]["temporal_s"]
    return (
        f"In the burst that is judged the ceiling is {judged['ceiling']}: Temporal ran "
        f"{rate:.1f} raw workflows of that size a second with one worker beside it, the API server took "
        f"{raw['status_patches_per_s']:.0f} status writes a second."
    )


def run(console: Console, wanted: Wanted) -> int:
    begun = time.monotonic()

    def say(text: str) -> None:
        console.print(f"» [{time.monotonic() - begun:5.1f} s] {text}", highlight=False, soft_wrap=True)

    machine = report.machine()
    say("a cluster of its own, with the chart; operator and worker will run beside it")
    # What an earlier bench left would be counted along.
    handle.down(wanted.name)
    try:
        with tempfile.TemporaryDirectory(prefix="bascule-bench-") as folder:
            scene = prepare(wanted.name, Path(folder), wanted.temporal)
            result = asyncio.run(_measure(scene, wanted, say))
            result |= {
                "machine": machine,
                "temporal": wanted.temporal,
                "versions": report.versions(scene.cluster, result.get("raw", {}).pop("temporal", "")),
                "definitions": report.DEFINITIONS,
                "note": report.CAUTION,
                "seconds": rounded(time.monotonic() - begun, 1),
            }
    finally:
        if not wanted.keep:
            handle.down(wanted.name)
    wanted.output.parent.mkdir(parents=True, exist_ok=True)
    wanted.output.write_text(json.dumps(result, indent=2) + "\n")
    report.tell(console, result)
    say(f"all figures are in {wanted.output}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.bench", description=__doc__)
    parser.add_argument("--name", default="bascule-bench", help="name of the cluster (default: bascule-bench)")
    parser.add_argument(
        "--size",
        choices=("default", "full"),
        default="default",
        help="full: larger bursts as well, on the real Temporal server unless TEMPORAL says otherwise",
    )
    parser.add_argument("--sizes", type=int, nargs="*", help="these bursts instead; none: no measurement of builds")
    parser.add_argument("--live", type=int, help="runs that are live while the operator is killed, or all are deleted")
    parser.add_argument("--fleets", type=int, nargs="*", help="campaigns of so many nodes instead")
    parser.add_argument("--drills", type=int, help="so many drills at once instead; 0: no measurement of drills")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json", help="where the figures go")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    options = parser.parse_args()
    full = options.size == "full"
    sizes = tuple(options.sizes if options.sizes is not None else FULL_SIZES if full else SIZES)
    fleets = tuple(options.fleets if options.fleets is not None else FULL_FLEETS if full else FLEETS)
    drilled = options.drills if options.drills is not None else FULL_DRILLS if full else DRILLS
    live = options.live if options.live is not None else HARDSHIPS * full
    # The dev server takes tasks one after another: it would be all that a large burst measures.
    large = TemporalKind.POSTGRES if full else TemporalKind.DEV
    temporal = chosen() or large
    wanted = Wanted(options.name, sizes, live, fleets, drilled, temporal, options.output, options.keep)
    return run(Console(), wanted)


if __name__ == "__main__":
    sys.exit(main())
