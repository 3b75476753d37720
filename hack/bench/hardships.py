"""What many live runs are put through: the operator is killed among them, and all of them are deleted in mid-run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from bascule_api import names
from hack.bench import figures
from hack.bench.cluster_api import Json
from hack.bench.figures import Finished, rounded
from hack.bench.measures import epoch
from hack.bench.scene import image_build
from hack.bench.stage import Stage, Tail, all_gone, all_terminal
from hack.bench.watching import Seen

_BUILD_SECONDS = (30.0, 60.0)
"""Builds live at least so long once they run: all of them together, and through what is done to them."""
_AWAY_SECONDS = 20.0


def _running(count: int) -> Callable[[Iterable[Seen]], bool]:
    return lambda seen: sum(one.running is not None for one in seen) >= count


async def _live(on: Stage, prefix: str, count: int, seconds: float) -> None:
    """So many live runs, each of them shown as Running."""
    await on.create([image_build(f"{prefix}{number}", seconds) for number in range(count)])
    if not await on.watcher.until(_running(count), prefix, 120 + count):
        raise RuntimeError(f"{count} runs were not live in time")


def _shown(done: list[Finished], of: set[str]) -> Callable[[Iterable[Seen]], bool]:
    """Whether the watch shows everything that had ended when the operator came back."""
    ended = {key for key in figures.step_ends(done) if key[0] in of and key[1] == "build"}

    def right(seen: Iterable[Seen]) -> bool:
        by_uid = {one.uid: one for one in seen}
        return all(step in by_uid[uid].steps or by_uid[uid].terminal is not None for uid, step in ended)

    return right


async def killed(on: Stage, count: int) -> Json:
    """SIGKILL with so many runs live, start 20 s later: until the next resource is served, and all statuses right."""
    prefix = f"killed-{time.time_ns()}-"
    worker = Tail(on.worker.output)
    await _live(on, prefix, count, _BUILD_SECONDS[0] + count / 10)
    on.operator.kill()
    await asyncio.sleep(_AWAY_SECONDS)
    done = figures.finished(worker.lines(), epoch)
    begun = time.time()
    on.operator.start()
    await on.create([image_build(f"{prefix}next", 5.0)])
    await on.watcher.until(lambda seen: any(one.running for one in seen), f"{prefix}next", 300)
    (following,) = on.watcher.named(f"{prefix}next")
    of = {one.uid for one in on.watcher.named(prefix)}
    correct = await on.watcher.until(_shown(done, of), prefix, 300)
    right = time.time() - begun
    await on.watcher.until(all_terminal(count + 1), prefix, 300 + count)
    return {
        "live": count,
        "away_s": _AWAY_SECONDS,
        "to_next_served_s": rounded((following.running or float("nan")) - begun),
        "to_all_right_s": rounded(right) if correct else None,
        **await _fate(on, on.watcher.named(prefix)),
    }


async def deleted(on: Stage, count: int) -> Json:
    """So many are deleted while they run: until the last has compensated and is gone."""
    prefix = f"deleted-{time.time_ns()}-"
    await _live(on, prefix, count, _BUILD_SECONDS[1] + count / 10)
    begun = time.monotonic()
    await on.delete_named(prefix)
    settled = await on.watcher.until(all_gone, prefix, 300 + count)
    seconds = time.monotonic() - begun
    of = {one.uid for one in on.watcher.named(prefix)}
    opened = f"{names.SEARCH_UID} IS NOT NULL AND ExecutionStatus = 'Running'"
    still = [run.id async for run in on.temporal.list_workflows(opened) if run.id.split("/")[1] in of]
    return {"live": count, "to_all_settled_s": rounded(seconds) if settled else None, "runs_still_open": len(still)}


async def _fate(on: Stage, seen: list[Seen]) -> Json:
    started = await on.started_at()
    return {
        "lost": sum(one.phase != "Succeeded" for one in seen),
        "duplicates": sum(max(0, len(started.get(one.uid, [])) - 1) for one in seen),
    }
