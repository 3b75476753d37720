"""Several faults in one life, such that none of them can hide what another one did."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from tests.support.harness.gate import ENDINGS, Fault, Kind
from tests.support.harness.life import Life
from tests.support.harness.lives import LIVES, TERMINATING

_BETWEEN = " & "


@dataclass(frozen=True)
class Case:
    """One life with its faults, in the order of its stages."""

    life: str
    faults: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        return f"{self.life}:{_BETWEEN.join(map(str, self.faults)) or 'none'}"

    @classmethod
    def parse(cls, text: str) -> Case:
        """The inverse of `str`. Raises ValueError, KeyError."""
        life, _, faults = text.partition(":")
        parsed = () if faults == "none" else tuple(Fault.parse(fault) for fault in faults.split(_BETWEEN))
        return cls(LIVES[life].name, parsed)

    def takes(self, fault: Fault) -> bool:
        """Whether the fault may be added: its life comes there, and nothing hides anything."""
        return fault.point.stage in LIVES[self.life].stages and _tells(self.with_(fault))

    def with_(self, fault: Fault) -> Case:
        return Case(self.life, tuple(sorted((*self.faults, fault), key=self.stage)))

    def stage(self, fault: Fault) -> int:
        """The number of the stage in which it happens."""
        return LIVES[self.life].stages.index(fault.point.stage)


def _tells(case: Case) -> bool:
    """Whether the harm of each fault would still be seen whatever the others do."""
    for fault in case.faults:
        earlier = [other for other in case.faults if case.stage(other) < case.stage(fault)]
        beside = [other for other in case.faults if other != fault and case.stage(other) == case.stage(fault)]
        if any(_victim(other) == _victim(fault) for other in beside):
            return False
        if _changes_what_happens(fault) and (earlier or beside):
            return False
        # A process that is ended forgets what an earlier fault had done to it.
        if fault.kind in ENDINGS and any(_victim(other) == _victim(fault) for other in earlier):
            return False
        # After a deletion nothing can be looked at any more; where one was replaced, both live on.
        if any(other.kind in (Kind.DELETE, Kind.LATE) for other in earlier):
            return False
    return True


def _victim(fault: Fault) -> str:
    """Operator and worker share nothing but the two servers: what is done to one mends nothing in the other."""
    return "resource" if fault.kind in (Kind.EDIT, Kind.DELETE) else fault.point.who


def _changes_what_happens(fault: Fault) -> bool:
    """An edit puts another run into the place of the one that had suffered; what is going is only looked at again."""
    return _victim(fault) == "resource" and fault.point.stage not in TERMINATING


def _wants_to_be_first(fault: Fault) -> bool:
    return fault.kind in ENDINGS or _changes_what_happens(fault)


def packed(faults: Iterable[Fault], seed: str) -> list[Case]:
    """As few lives as it takes for all the faults; which come together is chosen by the seed."""
    chance = random.Random(seed)  # noqa: S311 - chance, not secrets
    left = list(faults)
    chance.shuffle(left)
    # What few lives have a place for comes first, then what nothing may come before.
    left.sort(key=lambda fault: (len(_lives_with(fault.point.stage)), not _wants_to_be_first(fault)))
    cases: list[Case] = []
    for fault in left:
        number = next((index for index, case in enumerate(cases) if case.takes(fault)), None)
        if number is None:
            cases.append(Case(_lives_with(fault.point.stage)[0].name, (fault,)))
        else:
            cases[number] = cases[number].with_(fault)
    chance.shuffle(cases)
    assert sorted(map(str, left)) == sorted(map(str, chain.from_iterable(case.faults for case in cases)))
    return cases


def _lives_with(stage: str) -> list[Life]:
    return [life for life in LIVES.values() if stage in life.stages]
