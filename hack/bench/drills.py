"""Drills: what they take besides their own restore and probes, many at once, and how soon they are cleaned up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bascule_api import names
from hack.bench import drill_scene, figures
from hack.bench.children import Meter, rss_mib
from hack.bench.cluster_api import ClusterApi, Json
from hack.bench.drill_figures import Span, bare_job, calls, covered, middle, overhead, split
from hack.bench.drill_scene import dr_drill
from hack.bench.figures import rounded, spread
from hack.bench.lives import Life, Lives, job_over, run_over
from hack.bench.scene import NAMESPACE, OPERATOR_USER, TENANT, WORKER_USER
from hack.bench.stage import CALM_SECONDS, Stage

ALONE = 3
"""Drills, one after the other, whose medians are the overhead; and as many raw rounds."""
_DRILLS = f"/apis/bascule.dev/v1alpha1/namespaces/{NAMESPACE}/drdrills"
_NAMESPACES = "/api/v1/namespaces"
_JOBS = "/apis/batch/v1/jobs"
_ACCOUNT = "bench"
_LONG_SECONDS = 3600.0
"""A restore that is going on when its drill is deleted."""
_PATIENCE = 600.0
_PATIENCE_PER_DRILL = 60.0
_SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class Theatre:
    """The stage, with what can be seen of drills on it."""

    on: Stage
    drills: Lives
    jobs: Lives
    spaces: Lives

    @property
    def admin(self) -> ClusterApi:
        return self.on.admin

    def space(self, drill: Life) -> Life:
        """The drill's namespace. Raises StopIteration when there was none."""
        return next(iter(self.spaces.named(names.drill_namespace(drill.uid, 1))))

    def work(self, drill: Life) -> list[Life]:
        """The Jobs that are the drill's own work, in the order in which they were made."""
        there = self.jobs.inside(names.drill_namespace(drill.uid, 1))
        own = [job for job in there if _step(job) == "restore" or _step(job).startswith("probe-")]
        return sorted(own, key=lambda job: job.added)

    async def over(self, prefix: str, count: int) -> list[Life]:
        """Wait until all drills of the prefix are over; they are returned."""
        patience = _PATIENCE + count * _PATIENCE_PER_DRILL
        await self.drills.until(_all(count, lambda one: one.over), patience, f"{prefix}* over", prefix)
        return self.drills.named(prefix)


@asynccontextmanager
async def theatre(on: Stage) -> AsyncIterator[Theatre]:
    async with (
        Lives(on.admin, _DRILLS, run_over) as drills,
        Lives(on.admin, _JOBS, job_over) as jobs,
        Lives(on.admin, _NAMESPACES) as spaces,
    ):
        yield Theatre(on, drills, jobs, spaces)


def _all(count: int, moment: Callable[[Life], float | None]) -> Callable[[Iterable[Life]], bool]:
    return lambda seen: sum(moment(one) is not None for one in seen) >= count


def _step(job: Life) -> str:
    return str((job.body["metadata"].get("labels") or {}).get(names.LABEL_STEP, ""))


def _span(life: Life, until: float | None = None) -> Span:
    return Span(life.added, until if until is not None else life.over or float("nan"))


async def measure(on: Stage, count: int, say: Callable[[str], None]) -> Json:
    """All figures of drills, `count` of them at once."""
    async with theatre(on) as seen:
        say("drills: two that nobody measures, which have the images pulled")
        await _create(seen, "warm-", 2)
        await seen.over("warm-", 2)
        say(f"drills: {ALONE} alone, and as many by raw calls")
        alone = [await _alone(seen, f"alone{number}-") for number in range(ALONE)]
        work = [job.body for job in seen.work(seen.drills.named(f"alone{ALONE - 1}-")[0])]
        raw = [await _raw(seen, f"bench-raw-{number}", work) for number in range(ALONE)]
        found = {"alone": _compared(alone, raw)}
        say(f"drills: {count} at once")
        found["at_once"] = await _at_once(seen, count)
        say(f"drills: {count} deleted in mid-run")
        found["deleted_in_mid_run"] = await _deleted(seen, count)
        return found


async def _create(seen: Theatre, prefix: str, count: int, restore_seconds: float = drill_scene.RESTORE_SECONDS) -> None:
    await seen.admin.create_all(_DRILLS, [dr_drill(f"{prefix}{number}", restore_seconds) for number in range(count)])


# Alone, and by raw calls


async def _alone(seen: Theatre, prefix: str) -> Json:
    """One drill: its time, what of it is overhead, and what that was spent on."""
    await _create(seen, prefix, 1)
    [drill] = await seen.over(prefix, 1)
    _demand_met([drill])
    own = [_span(job) for job in seen.work(drill)]
    client = await seen.on.scene.temporal(TENANT)
    history = await client.get_workflow_handle(names.workflow_id("DRDrill", drill.uid, 1)).fetch_history()
    life = _span(drill)
    return {
        "total": life.seconds,
        "own_work": covered(life, own),
        "overhead": overhead(life, own),
        "clean_up": (seen.space(drill).gone or float("nan")) - max(span.ended for span in own),
        "events": float(len(history.events)),
        **{f"of {part}": seconds for part, seconds in split(life, calls(history.events), own).items()},
    }


async def _raw(seen: Theatre, name: str, work: Sequence[Json]) -> Json:
    """The same by plain calls: a namespace, the same objects, the same Jobs, and the namespace's deletion."""
    begun = time.time()
    await seen.admin.request("POST", _NAMESPACES, {"metadata": {"name": name}})
    inside = f"{_NAMESPACES}/{name}"
    account = {"metadata": {"name": _ACCOUNT}, "automountServiceAccountToken": False}
    await seen.admin.request("POST", f"{inside}/serviceaccounts", account)
    for document in drill_scene.manifests():
        await seen.admin.request("POST", f"{inside}/{document['kind'].lower()}s", document)
    environment = time.time()
    for number, job in enumerate(work):
        path = f"/apis/batch/v1/namespaces/{name}/jobs"
        await seen.admin.request("POST", path, bare_job(job, f"{name}-{number}", _ACCOUNT))
        await seen.jobs.until(_all(1, lambda one: one.over), _PATIENCE, f"{name}-{number} over", f"{name}-{number}")
    worked = time.time()
    await seen.admin.request("DELETE", inside)
    await seen.spaces.until(_all(1, lambda one: one.gone), _PATIENCE, f"{name} gone", name)
    [space] = seen.spaces.named(name)
    life = Span(begun, space.gone or float("nan"))
    own = [_span(job) for job in seen.jobs.inside(name)]
    return {
        "total": life.seconds,
        "own_work": covered(life, own),
        "overhead": overhead(life, own),
        "of environment": environment - begun,
        "of teardown": life.ended - worked,
    }


def _compared(alone: Sequence[Json], raw: Sequence[Json]) -> Json:
    """Medians of both, and how they compare."""
    drill, floor = middle(alone), middle(raw)
    return {
        "drill_s": _rounded(drill),
        "raw_s": _rounded(floor),
        "events": round(drill["events"]),
        "times_raw": rounded(drill["total"] / floor["total"], 2),
        "overhead_times_raw": rounded(drill["overhead"] / floor["overhead"], 2),
        # The raw round proves no isolation: two more pods, of which one tries for some twelve seconds by design.
        "overhead_besides_isolation_times_raw": rounded(
            (drill["overhead"] - drill.get("of isolate", 0.0)) / floor["overhead"], 2
        ),
    }


def _rounded(values: Json) -> Json:
    return {name: rounded(value) for name, value in values.items() if name != "events"}


def _demand_met(drills: Iterable[Life]) -> None:
    for one in drills:
        status = one.body["status"]
        if (status.get("drill") or {}).get("verdict") != "Met":
            raise RuntimeError(f"the drill {one.name} is {status['phase']}: {status.get('failure')}")


# Many


async def _at_once(seen: Theatre, count: int) -> Json:
    prefix, on = f"many{count}-", seen.on
    before, meter, tail, begun = rss_mib(on.worker.pid), Meter(on.pids()), on.audit(), time.time()
    sampling = asyncio.create_task(_peak(on))
    await _create(seen, prefix, count)
    drills = await seen.over(prefix, count)
    load = meter.read()
    peak = await _stopped(sampling)
    await asyncio.sleep(CALM_SECONDS)
    lines, started = tail.lines(), await on.started_at()
    over = [one.over or float("nan") for one in drills]
    return {
        "drills": count,
        "to_all_over_s": rounded(max(over) - begun, 1),
        "each": spread([_span(one).seconds for one in drills]),
        "clean_up": spread([_clean_up(seen, one) for one in drills]),
        "lost": sum((one.body["status"].get("drill") or {}).get("verdict") != "Met" for one in drills),
        "duplicates": sum(max(0, len(started.get(one.uid, [])) - 1) for one in drills),
        "namespaces_left": await _left(on),
        "writes_per_drill": {
            "worker": figures.per_resource(figures.writes(lines, WORKER_USER), count),
            "operator": figures.per_resource(figures.writes(lines, OPERATOR_USER), count),
        },
        "worker_rss_mib": {"before": before, "peak": peak},
        "load": load,
    }


def _clean_up(seen: Theatre, drill: Life) -> float:
    """From the end of the last probe until the namespace is gone; NaN for a drill that did not come so far."""
    ends = [job.over for job in seen.work(drill) if job.over is not None]
    spaces = seen.spaces.named(names.drill_namespace(drill.uid, 1))
    gone = [space.gone for space in spaces if space.gone is not None]
    return gone[0] - max(ends) if gone and ends else float("nan")


async def _peak(on: Stage) -> float:
    """The most memory that the worker had, until this is cancelled."""
    most = 0.0
    while True:
        most = max(most, rss_mib(on.worker.pid))
        try:
            await asyncio.sleep(_SAMPLE_SECONDS)
        except asyncio.CancelledError:
            return most


async def _stopped(sampling: asyncio.Task[float]) -> float:
    sampling.cancel()
    return await sampling


async def _left(on: Stage) -> int:
    """How many namespaces of drills there are."""
    found = await on.admin.request("GET", _NAMESPACES, query={"labelSelector": names.LABEL_DRILL_OF})
    return len(found["items"])


async def _deleted(seen: Theatre, count: int) -> Json:
    """So many deleted while their restores run: until their namespaces are gone, and until they are themselves."""
    prefix = f"deleted{count}-"
    await _create(seen, prefix, count, _LONG_SECONDS)
    patience = _PATIENCE + count * _PATIENCE_PER_DRILL
    await seen.drills.until(
        lambda drills: sum(_restoring(seen, one) for one in drills) >= count, patience, "all restoring", prefix
    )
    drills, begun = seen.drills.named(prefix), time.time()
    await asyncio.gather(*(seen.admin.request("DELETE", f"{_DRILLS}/{one.name}") for one in drills))
    await seen.drills.until(_all(count, lambda one: one.gone), patience, "all deleted", prefix)
    spaces = [seen.space(one).gone for one in drills]
    return {
        "drills": count,
        "namespace_gone": spread([gone - begun for gone in spaces if gone is not None]),
        "resource_gone": spread([(one.gone or float("nan")) - begun for one in drills]),
        "namespaces_left": await _left(seen.on),
    }


def _restoring(seen: Theatre, drill: Life) -> bool:
    """Whether the pod of its restore runs."""
    return any((job.body.get("status") or {}).get("ready") for job in seen.work(drill) if _step(job) == "restore")
