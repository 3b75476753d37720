"""Telling a run's progress: one memo and the search attributes that the change feed asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
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

PATIENCE = timedelta(seconds=3)
"""How long after what was told last a small change is told with whatever happens next, instead of by itself."""
LONGEST_PATIENCE = timedelta(seconds=5)
"""How long a small change waits when nothing happens next. A timer that fires is a workflow task more."""


class Reporting:
    """Tells the progress when it has really changed."""

    def __init__(self, kind: str, uid: str) -> None:
        self._kind = kind
        self._uid = uid
        self._told: Progress | None = None
        self._told_at = 0.0
        self.number = 0
        """Number of the last progress that was told."""
        self.changed = True
        """Set by whoever changes what may be told."""
        self.stirred = False
        """Set by whoever changes something that is likely to be followed by more within moments."""
        self.more: dict[str, Any] = {}
        """Other memos, to be upserted along with the next progress."""

    async def go_on(self, progress: Callable[[], Progress]) -> None:
        """Tell the progress at the end of each activation in which it changed, once."""
        while True:
            await workflow.wait_condition(lambda: self.changed or self.stirred)
            if not self.changed and not self._due:
                with suppress(asyncio.TimeoutError):
                    await workflow.wait_condition(lambda: self.changed or self._due, timeout=LONGEST_PATIENCE)
            self.changed = True
            while self.changed:
                self.changed = False
                # Conditions are looked at when nothing else can run: until then more may change.
                await workflow.wait_condition(lambda: True)
            self.tell(progress())

    @property
    def _due(self) -> bool:
        return workflow.time() - self._told_at >= PATIENCE.total_seconds()

    def tell(self, progress: Progress) -> None:
        """Upsert the progress, if it differs from the last one. Its number is given here."""
        self.changed = self.stirred = False
        if progress != self._told or self.more:
            self.number += 1
            self._upsert(progress, {})

    def close(self, progress: Progress, result: Callable[[], R]) -> R:
        """Upsert the last progress and the result, which names its number, as one change."""
        self.number += 1
        made = result()
        self._upsert(progress, {names.MEMO_RESULT: made.to_wire()})
        return made

    def _upsert(self, progress: Progress, more: dict[str, Any]) -> None:
        self._told, self._told_at = progress, workflow.time()
        told = bounded(progress.model_copy(update={"number": self.number}))
        workflow.upsert_memo({names.MEMO_PROGRESS: told.to_wire(), **self.more, **more})
        self.more = {}
        updates: list[SearchAttributeUpdate[Any]] = [
            UPDATED_AT.value_set(workflow.now()),
            PHASE.value_set(told.phase),
        ]
        if self.number == 1:
            updates += [KIND.value_set(self._kind), UID.value_set(self._uid)]
        workflow.upsert_search_attributes(updates)
