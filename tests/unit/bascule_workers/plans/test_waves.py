"""Which target is patched in which wave."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule_api.fleets import Target, count_of
from bascule_api.patch_campaign_specs import MAX_TARGETS, Wave
from bascule_workers.errors import PlanRefusedError
from bascule_workers.patch_campaigns import Plan
from bascule_workers.plans import waves

GOLDEN = Path(__file__).parent / "golden_waves"
REVISION = "1-0123456789"


def wave(name: str, size: int | str | None = None, **fields: Any) -> Wave:
    return Wave(name=name, size=size, **fields)


def targets(count: int, zones: str = "abc") -> list[Target]:
    return [Target(name=f"node-{index:04}", zone=zones[index % len(zones)]) for index in range(count)]


def planned(count: int, *given: Wave, revision: str = REVISION, skipped: tuple[str, ...] = ()) -> Plan:
    return waves.plan(targets(count), given, revision, {"apt-upgrade": "0" * 64}, skipped)


def members(plan: Plan) -> list[list[str]]:
    return [[target.name for target in one.targets] for one in plan.waves]


@pytest.mark.parametrize(
    ("total", "given", "expected"),
    [
        pytest.param(40, [wave("all")], [40], id="one wave without a size takes all"),
        pytest.param(40, [wave("canary", 1), wave("staged", "10%"), wave("fleet")], [1, 3, 36], id="sizes count up"),
        pytest.param(101, [wave("one", "1%"), wave("fleet")], [2, 99], id="a percentage is rounded up"),
        pytest.param(3, [wave("one", "34%"), wave("all", "100%")], [2, 1], id="the last one may say 100%"),
        pytest.param(5, [wave("canary", 1), wave("all", 5)], [1, 4], id="the last one may say how many there are"),
        pytest.param(1, [wave("canary", 1), wave("fleet")], [1, 0], id="a fleet of one leaves no rest"),
        pytest.param(5, [wave("a", 1), wave("b", "10%"), wave("c")], [1, 0, 4], id="a share that is not more is empty"),
        pytest.param(4, [wave("a", "5%"), wave("b", "20%"), wave("c")], [1, 0, 3], id="shares that round to the same"),
    ],
)
def test_sizes_are_cumulative(total: int, given: list[Wave], expected: list[int]) -> None:
    assert waves.sizes(given, total) == expected


@pytest.mark.parametrize(
    ("total", "given", "said"),
    [
        pytest.param(40, [wave("a", 5), wave("b", 5), wave("c")], "the wave b ends at 5 of 40", id="equal numbers"),
        pytest.param(40, [wave("a", "50%"), wave("b", "10%"), wave("c")], "the wave b ends at 10% (4)", id="falling"),
        pytest.param(8, [wave("a", 9), wave("b")], "the wave a ends at 9 of 8 targets", id="more than there are"),
        pytest.param(8, [wave("a", 1), wave("b", 6)], "2 of 8 targets are in no wave", id="a rest that is in none"),
        pytest.param(50, [wave("a", "90%")], "5 of 50 targets are in no wave", id="a share that leaves a rest"),
    ],
)
def test_waves_that_cannot_be_carried_out_are_refused(total: int, given: list[Wave], said: str) -> None:
    with pytest.raises(PlanRefusedError) as refused:
        waves.sizes(given, total)
    assert said in str(refused.value)


def test_no_targets_and_too_many_are_refused() -> None:
    with pytest.raises(PlanRefusedError, match="no target"):
        planned(0, wave("all"))
    with pytest.raises(PlanRefusedError, match=str(MAX_TARGETS + 1)):
        planned(MAX_TARGETS + 1, wave("all"))


def test_a_canary_of_more_than_one_comes_from_different_zones() -> None:
    plan = planned(30, wave("canary", 3), wave("fleet"))

    assert {target.zone for target in plan.waves[0].targets} == {"a", "b", "c"}


def test_another_revision_begins_with_other_targets_and_the_same_one_with_the_same() -> None:
    given = (wave("canary", 3), wave("fleet"))

    assert members(planned(300, *given)) == members(planned(300, *given))
    assert members(planned(300, *given))[0] != members(planned(300, *given, revision="1-9876543210"))[0]


def test_a_continued_run_goes_on_in_the_wave_in_which_the_other_one_stopped() -> None:
    given = (wave("canary", 1), wave("staged", 5), wave("fleet"))
    first = members(planned(10, *given))
    done = (*first[0], first[1][0])

    plan = planned(10, *given, skipped=done)

    assert members(plan) == [[], first[1][1:], first[2]]
    assert plan.skipped == sorted(done)
    assert plan.total == 10
    assert plan.note == "no targets are left for canary: what the continued run patched is left out"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"given": [wave("canary", 2), wave("fleet")]}, id="another wave"),
        pytest.param({"targets": targets(31)}, id="another target"),
        pytest.param({"procedures": {"apt-upgrade": "1" * 64}}, id="another Procedure"),
        pytest.param({"skipped": ("node-0001",)}, id="a target that is left out"),
    ],
)
def test_the_digest_covers_what_is_approved(change: dict[str, Any]) -> None:
    def digest(
        given: list[Wave] | None = None,
        targets: list[Target] | None = None,
        procedures: dict[str, str] | None = None,
        skipped: tuple[str, ...] = (),
    ) -> str:
        return waves.plan(
            targets or globals()["targets"](30),
            given or [wave("canary", 1), wave("fleet")],
            REVISION,
            procedures or {"apt-upgrade": "0" * 64},
            skipped,
        ).digest

    assert digest() == digest()
    assert digest(**change) != digest()


def test_the_digest_covers_where_a_host_is() -> None:
    def digest(address: str) -> str:
        return waves.plan([Target(name="db-1", address=address)], [wave("all")], REVISION, {}).digest

    assert digest("10.0.0.1") != digest("10.0.0.2")


def test_a_plan_that_no_history_can_hold_is_refused() -> None:
    long = [Target(name=f"{index:0250}", zone="z" * 63, user="u" * 30) for index in range(MAX_TARGETS)]
    with pytest.raises(PlanRefusedError, match="larger than"):
        waves.plan(long, [wave("all")], REVISION, {})


def test_a_plan_of_5000_targets_is_what_it_was() -> None:
    """The golden file is the review: delete it and run once to write it anew. A run that continues depends on it."""
    plan = planned(MAX_TARGETS, wave("canary", 3), wave("staged", "5%"), wave("half", "50%"), wave("fleet"))
    shown = {"digest": plan.digest, "waves": {one.name: [t.name for t in one.targets] for one in plan.waves}}
    text = json.dumps(shown, indent=0) + "\n"
    golden = GOLDEN / "5000.json"
    if not golden.exists():
        golden.write_text(text)
    assert golden.read_text() == text


fleets = st.lists(
    st.tuples(st.text("abcdefgh0123456789", min_size=1, max_size=8), st.sampled_from(["", "a", "b", "c", "d"])),
    min_size=1,
    max_size=120,
    unique_by=lambda pair: pair[0],
).map(lambda pairs: [Target(name=name, zone=zone) for name, zone in pairs])
shares = st.one_of(st.integers(1, 200), st.integers(1, 100).map(lambda number: f"{number}%"))


@given(fleets, st.lists(shares, max_size=5), st.booleans())
def test_a_plan_has_each_target_once_or_is_refused(fleet: list[Target], given: list[int | str], rest: bool) -> None:
    numbered = [wave(f"w{index}", size) for index, size in enumerate(given)]
    all_waves = [*numbered, wave("rest")] if rest or not numbered else numbered
    ends = [count_of(size, len(fleet)) for size in given]
    exact = [isinstance(size, int) for size in given]
    rises = all(
        ends[at] < ends[at + 1] or (ends[at] == ends[at + 1] and not (exact[at] and exact[at + 1]))
        for at in range(len(ends) - 1)
    )
    sound = rises and all(end <= len(fleet) for end in ends)
    covered = all_waves[-1].size is None or ends[-1] == len(fleet)
    try:
        plan = waves.plan(fleet, all_waves, REVISION, {})
    except PlanRefusedError:
        assert not (sound and covered)
        return
    assert sound
    assert covered
    assert Counter(name for one in members(plan) for name in one) == Counter(target.name for target in fleet)


@given(fleets)
def test_zones_take_turns_for_as_long_as_they_last(fleet: list[Target]) -> None:
    left = Counter(target.zone for target in fleet)
    order = waves.ordered(fleet, REVISION)
    while order:
        turn, order = order[: len(left)], order[len(left) :]
        assert {target.zone for target in turn} == set(left)
        left = Counter({zone: count - 1 for zone, count in left.items() if count > 1})


@given(fleets, st.randoms())
def test_the_order_does_not_depend_on_how_the_targets_are_listed(fleet: list[Target], random: Any) -> None:
    shuffled = list(fleet)
    random.shuffle(shuffled)
    assert waves.ordered(shuffled, REVISION) == waves.ordered(fleet, REVISION)
