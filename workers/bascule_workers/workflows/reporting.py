"""Telling a run's progress: one memo and the search attributes that the change feed asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

with workflow.unsafe.imports_passed_through():
    from bascule_api import names
    from bascule_api.base import ApiModel
    from bascule_api.progress import Progress
    from bascule_workers.plans.progress import bounded

R = TypeVar("R", bound=ApiModel)

UPDATED_AT = SearchAttributeKey.for_datetime(names.SEARCH_UPDATED_AT)
KIND = SearchAttributeKey.for_keyword(names.SEARCH_KIND)
UID = SearchAttributeKey.for_keyword(names.SEARCH_UID)
PHASE = SearchAttributeKey.for_keyword(names.SEARCH_PHASE)


class Reporting:
    """Tells the progress when it has really changed."""

    def __init__(self, kind: str, uid: str) -> None:
        self._kind = kind
        self._uid = uid
        self._told: Progress | None = None
        self.number = 0
        """Number of the last progress that was told."""
        self.changed = True
        """Set by whoever changes what may be told."""

    async def go_on(self, progress: Callable[[], Progress]) -> None:
        """Tell the progress at the end of each activation in which it changed, once."""
        while True:
            await workflow.wait_condition(lambda: self.changed)
            while self.changed:
                self.changed = False
                # Conditions are looked at when nothing else can run: until then more may change.
                await workflow.wait_condition(lambda: True)
            self.tell(progress())

    def tell(self, progress: Progress) -> None:
        """Upsert the progress, if it differs from the last one. Its number is given here."""
        self.changed = False
        if progress != self._told:
            self.number += 1
            self._upsert(progress, {})

    def close(self, progress: Progress, result: Callable[[], R]) -> R:
        """Upsert the last progress and the result, which names its number, as one change."""
        self.number += 1
        made = result()
        self._upsert(progress, {names.MEMO_RESULT: made.to_wire()})
        return made

    def _upsert(self, progress: Progress, more: dict[str, Any]) -> None:
        self._told = progress
        told = bounded(progress.model_copy(update={"number": self.number}))
        workflow.upsert_memo({names.MEMO_PROGRESS: told.to_wire(), **more})
        updates: list[SearchAttributeUpdate[Any]] = [
            UPDATED_AT.value_set(workflow.now()),
            PHASE.value_set(told.phase),
        ]
        if self.number == 1:
            updates += [KIND.value_set(self._kind), UID.value_set(self._uid)]
        workflow.upsert_search_attributes(updates)
