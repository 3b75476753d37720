"""Runs of DRDrills against a test server: started, and read back from their histories."""

from __future__ import annotations

from dataclasses import dataclass

from bascule_api.conditions import Phase
from bascule_api.dr_drill_status import DrillStatus
from bascule_api.dr_drills import DRDrillResult
from tests.support.kind_runs import KindRuns, KindStory
from tests.support.runs import Runs


@dataclass(frozen=True)
class Story(KindStory[DRDrillResult]):
    """How a drill went."""

    @property
    def messages(self) -> dict[str, str]:
        return {step.name: step.message for step in self.result.steps if step.message}

    @property
    def drill(self) -> DrillStatus:
        assert self.result.drill is not None
        return self.result.drill

    @property
    def verdict(self) -> tuple[str, str]:
        return str(self.drill.verdict), str(self.drill.reason)

    @property
    def phases(self) -> list[Phase]:
        """The phases in order, without repetitions."""
        seen = [progress.phase for progress in self.progress]
        return [phase for index, phase in enumerate(seen) if index == 0 or seen[index - 1] != phase]


class Drills(KindRuns[DRDrillResult, Story]):
    """Starts drills and waits for them."""

    def __init__(self, runs: Runs) -> None:
        super().__init__(runs, "DRDrill", DRDrillResult, Story)
