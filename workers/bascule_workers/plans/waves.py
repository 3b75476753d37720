"""Which target is patched in which wave."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict, deque
from collections.abc import Collection, Mapping, Sequence

from bascule_api.fleets import Target, count_of
from bascule_api.patch_campaign_specs import MAX_TARGETS, Wave
from bascule_workers.errors import PlanRefusedError
from bascule_workers.patch_campaigns import Plan, PlannedWave
from bascule_workers.plans import failures

PLAN_LIMIT = 1_500_000
"""Bytes of a plan, at most: it is a part of the run's history, where one value may have 2 MB."""


def plan(
    targets: Sequence[Target],
    waves: Sequence[Wave],
    revision: str,
    procedures: Mapping[str, str],
    skipped: Collection[str] = (),
) -> Plan:
    """The plan of a run. `procedures` are hashes by name; `skipped` are names that a continued run patched.

    Waves are cut from all targets and the skipped ones left out afterwards, so that a continued run goes on in the wave
    in which the other one stopped. Raises PlanRefusedError.
    """
    if not targets:
        raise PlanRefusedError("there is no target to patch")
    if len(targets) > MAX_TARGETS:
        raise PlanRefusedError(f"there are {len(targets)} targets, and a campaign may have {MAX_TARGETS}")
    order = ordered(targets, revision)
    planned, begin = [], 0
    for wave, size in zip(waves, sizes(waves, len(order)), strict=True):
        chosen = [target for target in order[begin : begin + size] if target.name not in skipped]
        planned.append(PlannedWave(name=wave.name, targets=chosen))
        begin += size
    made = Plan(
        digest=digest(planned, procedures),
        waves=planned,
        skipped=sorted(target.name for target in targets if target.name in skipped),
        note=_note(planned, bool(skipped)),
    )
    if len(json.dumps(made.to_wire()).encode()) > PLAN_LIMIT:
        raise PlanRefusedError(f"the plan is larger than {PLAN_LIMIT} bytes: patch fewer targets with one campaign")
    return made


def sizes(waves: Sequence[Wave], total: int) -> list[int]:
    """How many targets each wave has: of a small fleet, two shares may come to the same number, and the later wave has
    none. Raises PlanRefusedError naming the wave, its number of targets and the remedy."""
    ends: list[int] = []
    before, rounded = "nothing", False
    for wave in waves:
        so_far = ends[-1] if ends else 0
        # Without a size: the rest, which a small fleet may not have. That is no reason to patch nothing.
        end = total if wave.size is None else count_of(wave.size, total)
        told = f"the wave {wave.name} ends at {_share(wave.size, end)}"
        if end > total:
            raise PlanRefusedError(f"{told} of {total} targets: it would be all of them at once; lower its size")
        rounds = isinstance(wave.size, str)
        if wave.size is not None and (end < so_far or (end == so_far and not (rounds or rounded))):
            raise PlanRefusedError(
                f"{told} of {total} targets, which is not more than {before}: sizes count all targets patched once the "
                "wave is over, and have to rise from wave to wave"
            )
        ends.append(end)
        rounded = rounds
        before = f"{end}, where the wave {wave.name} ends"
    if ends[-1] < total:
        raise PlanRefusedError(
            f"{total - ends[-1]} of {total} targets are in no wave: leave out the last wave's size, or set it to 100%"
        )
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def _share(size: int | str | None, count: int) -> str:
    return f"{size} ({count})" if isinstance(size, str) else str(count)


def ordered(targets: Sequence[Target], revision: str) -> list[Target]:
    """All targets: within a zone by a hash of revision and name, and zones in turn.

    So the first ones, however many, come from as many zones as there are, and another revision begins with others.
    """
    zones: dict[str, list[Target]] = defaultdict(list)
    for target in targets:
        zones[target.zone].append(target)
    waiting = [
        deque(sorted(zones[zone], key=lambda target: _rank(revision, target.name)))
        for zone in sorted(zones, key=lambda zone: _rank(revision, zone))
    ]
    order: list[Target] = []
    while waiting:
        order += [zone.popleft() for zone in waiting]
        waiting = [zone for zone in waiting if zone]
    return order


def _rank(revision: str, name: str) -> tuple[str, str]:
    return hashlib.sha256(f"{revision}\0{name}".encode()).hexdigest(), name


def digest(waves: Sequence[PlannedWave], procedures: Mapping[str, str]) -> str:
    """What an Approval approves: which targets in which waves, where they are, and what is done to them."""
    facts = {
        "waves": [[wave.name, [_place(target) for target in wave.targets]] for wave in waves],
        "procedures": dict(procedures),
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _place(target: Target) -> list[str | int]:
    return [target.name, target.address, target.port, target.user] if target.address else [target.name]


def _note(waves: Sequence[PlannedWave], continued: bool) -> str:
    empty = [wave.name for wave in waves if not wave.targets]
    if not empty:
        return ""
    why = "what the continued run patched is left out" if continued else "the waves before have them all"
    return failures.shortened(f"no targets are left for {failures.listed(empty)}: {why}")
