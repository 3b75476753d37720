"""The measurements, each on a quiet stage."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable
from datetime import datetime

from bascule_api import names
from hack.bench import figures
from hack.bench.children import Meter, cpu_seconds, peak_mib, rss_mib
from hack.bench.cluster_api import Json
from hack.bench.figures import rounded, spread
from hack.bench.scene import image_build
from hack.bench.stage import CALM_SECONDS, Stage, Tail, all_terminal
from hack.bench.watching import Seen

_LIVE = 200
_LIVE_SECONDS = (10.0, 20.0)
"""How long a build, and then its test, takes while status lag is measured."""
_PACED, _PACE_PER_S = 100, 5.0
_IDLE_SECONDS = 60.0


def epoch(stamp: str) -> float:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


async def burst(on: Stage, count: int) -> Json:
    """So many at once, until the last is over."""
    prefix = f"burst{count}-{time.time_ns()}-"
    audit, worker, meter = on.audit(), Tail(on.worker.output), Meter(on.pids())
    counters, rss, calls = await on.scene.metrics(), rss_mib(on.operator.pid), await on.scene.worker_metrics()
    begun = time.time()
    created = await on.create([image_build(f"{prefix}{number}") for number in range(count)])
    await on.watcher.until(all_terminal(count), prefix, 60 + count)
    load = meter.read()
    memory = {"before": rss, "peak": peak_mib(on.operator.pid), "after": rss_mib(on.operator.pid)}
    await asyncio.sleep(CALM_SECONDS)
    seen, found, done = on.watcher.named(prefix), on.writes(audit), figures.finished(worker.lines(), epoch)
    requests = _requests(counters, await on.scene.metrics(), count)
    requests["worker"] = _calls(calls, await on.scene.worker_metrics(), count)
    return await _fate(on, seen, begun) | {
        "history": await _history(on, seen),
        "grpc_per_run": rounded(sum(requests["temporal"].values()) + sum(requests["worker"].values()), 1),
        "created_s": rounded(created),
        "activities_per_run": rounded(len(done) / count, 2),
        "writes": _written(found, seen),
        "requests_per_resource": requests,
        "load": load,
        "operator_rss_mib": memory,
    }


async def _fate(on: Stage, seen: list[Seen], begun: float) -> Json:
    """When all were started and over, and whether any was lost or ran twice."""
    started = await on.started_at()
    runs = [started.get(one.uid, []) for one in seen]
    succeeded = [one.terminal for one in seen if one.terminal is not None and one.phase == "Succeeded"]
    return {
        "to_all_started_s": rounded(max(max(moments) for moments in runs if moments) - begun),
        "to_all_terminal_s": rounded(max(succeeded) - begun),
        "lost": len(seen) - len(succeeded),
        "duplicates": sum(max(0, len(moments) - 1) for moments in runs),
    }


def _written(found: list[figures.Write], seen: Iterable[Seen]) -> Json:
    everyone = list(seen)
    changes = sum(one.changes for one in everyone)
    return {
        "per_resource": figures.per_resource(found, len(everyone)),
        "visible_changes_per_resource": rounded(changes / len(everyone)),
        "besides_visible_changes": figures.besides_visible(found, changes, len(everyone)),
    }


def _requests(before: str, after: str, count: int) -> Json:
    """Requests of the operator per resource, reads included, by its own counters."""
    return {
        bank: figures.gained(figures.metric(before, name, labels), figures.metric(after, name, labels), count)
        for bank, name, labels in (
            ("kubernetes", "bascule_operator_api_requests_total", ("verb", "resource", "code")),
            ("temporal", "bascule_operator_temporal_requests_total", ("call", "outcome")),
        )
    }


def _calls(before: str, after: str, count: int) -> dict[str, float]:
    """The worker's calls of Temporal per resource, long polls included, by the SDK's own counters."""
    found: dict[str, float] = {}
    for name in ("temporal_request", "temporal_long_request"):
        first, last = (figures.metric(text, name, ("operation",)) for text in (before, after))
        found |= figures.gained(first, last, count)
    return found


async def _history(on: Stage, seen: list[Seen], samples: int = 20) -> Json:
    """What Temporal keeps of one run: the mean over some."""
    sizes, events = [], []
    for one in seen[:samples]:
        handle = on.temporal.get_workflow_handle(names.workflow_id("ImageBuild", one.uid, 1))
        info = (await handle.describe()).raw_description.workflow_execution_info
        sizes.append(info.history_size_bytes)
        events.append(info.history_length)
    return {"bytes": round(sum(sizes) / len(sizes)), "events": rounded(sum(events) / len(events), 1)}


async def status_lag(on: Stage) -> Json:
    """From an activity's end to the step's end on the watch, while 200 runs are live."""
    prefix, dice = f"lag-{time.time_ns()}-", random.Random(4)  # noqa: S311 - the same durations in every run
    audit, worker, meter = on.audit(), Tail(on.worker.output), Meter(on.pids())
    counters, begun = await on.scene.metrics(), time.time()
    builds = [
        image_build(f"{prefix}{number}", dice.uniform(*_LIVE_SECONDS), dice.uniform(*_LIVE_SECONDS))
        for number in range(_LIVE)
    ]
    await on.create(builds)
    await on.watcher.until(all_terminal(_LIVE), prefix, 300)
    seconds, load = time.time() - begun, meter.read()
    await asyncio.sleep(CALM_SECONDS)
    seen = on.watcher.named(prefix)
    lags = _lags(seen, figures.finished(worker.lines(), epoch))
    everything = [lag for found in lags.values() for lag in found]
    # A live run is one whose Job runs: what follows within the second when it is over is told with its end.
    held = lags.get("build", []) + lags.get("test-smoke", [])
    return {
        "live": _LIVE,
        "samples": len(held),
        "lag": spread(held),
        "lag_of_all_steps": spread(everything),
        "by_step": {step: spread(found) for step, found in lags.items()},
        "seconds": rounded(seconds),
        "lost": sum(one.phase != "Succeeded" for one in seen),
        "writes": _written(on.writes(audit), seen),
        "requests_per_resource": _requests(counters, await on.scene.metrics(), _LIVE),
        "load": load,
    }


def _lags(seen: Iterable[Seen], done: list[figures.Finished]) -> dict[str, list[float]]:
    ends, found = figures.step_ends(done), dict[str, list[float]]()
    for one in seen:
        for step, shown in one.steps.items():
            if (one.uid, step) in ends:
                found.setdefault(step, []).append(shown - ends[one.uid, step])
    return found


async def start_overhead(on: Stage, raw_start_p50: float) -> Json:
    """From a resource on the watch to its started workflow, less what a start itself takes; at a steady pace."""
    prefix = f"paced-{time.time_ns()}-"
    for number in range(_PACED):
        # Slow builds: what is measured is the way to the start, not the runs that were started before.
        await on.create([image_build(f"{prefix}{number}", _PACED / _PACE_PER_S)])
        await asyncio.sleep(1 / _PACE_PER_S)
    await on.watcher.until(all_terminal(_PACED), prefix, 120)
    seen, started = on.watcher.named(prefix), await on.started_at()
    delays = [min(started[one.uid]) - one.added for one in seen if one.uid in started]
    return {
        "per_s": _PACE_PER_S,
        "samples": len(delays),
        "seen_to_started": spread(delays),
        "raw_start_p50_s": raw_start_p50,
        "overhead": spread([max(0.0, delay - raw_start_p50) for delay in delays]),
    }


async def idle(on: Stage) -> Json:
    """What the operator does in a minute in which nothing happens."""
    audit, meter, counters = on.audit(), Meter(on.pids()), await on.scene.metrics()
    await asyncio.sleep(_IDLE_SECONDS)
    return {
        "seconds": _IDLE_SECONDS,
        "resources": sum(one.gone is None for one in on.watcher.seen.values()),
        "writes": len(on.writes(audit)),
        "requests": _requests(counters, await on.scene.metrics(), 1),
        "load": meter.read(),
    }


async def empty_rss_mib(on: Stage) -> float:
    """Resident memory of an operator that was started with nothing there, after its first resource."""
    await on.delete_all()
    on.operator.kill()
    on.operator.start()
    await on.scene.until_ready()
    await burst(on, 1)
    return rss_mib(on.operator.pid)


async def restart(on: Stage) -> Json:
    """SIGKILL, start, and at once one more resource: until that one runs."""
    there = sum(one.gone is None for one in on.watcher.seen.values())
    name = f"after-restart-{time.time_ns()}"
    on.operator.kill()
    begun = time.time()
    on.operator.start()
    await on.create([image_build(name, 5.0)])
    await on.watcher.until(lambda seen: any(one.running for one in seen), name, 120)
    (one,) = on.watcher.named(name)
    ready = await on.scene.until_ready()
    await on.watcher.until(all_terminal(1), name, 60)
    await asyncio.sleep(CALM_SECONDS)
    started = (await on.started_at()).get(one.uid, [])
    return {
        "resources": there,
        "to_next_served_s": rounded((one.running or float("nan")) - begun),
        "to_next_started_s": rounded(min(started, default=float("nan")) - begun),
        "ready_after_that_s": rounded(ready),
        "operator_rss_mib": {"after": rss_mib(on.operator.pid), "peak": peak_mib(on.operator.pid)},
        "operator_cpu_s": cpu_seconds({"operator": on.operator.pid}).get("operator", 0.0),
    }
