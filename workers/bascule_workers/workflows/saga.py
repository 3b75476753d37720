"""Counterweights: what a run registers so that its effects can be taken back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from bascule_workers.messages import Done, Left, NotYet, StepRequest

Counter = Callable[[Any, Any], Awaitable[Done[Left] | NotYet]]


@dataclass(frozen=True)
class Counterweight:
    """How one effect is taken back. Registered before the effect may half-happen; it must bear finding nothing."""

    name: str
    activity: Counter
    request: StepRequest
    always: bool
    """A release: it runs whatever the outcome. Else an undo: on failure and cancellation only."""
    step: str = ""
    """The step that counts as undone when this is done; empty for a run's own belongings."""


@dataclass
class Saga:
    """The counterweights of a run, a stack."""

    stack: list[Counterweight] = field(default_factory=list)

    def release(self, name: str, activity: Counter, request: StepRequest, step: str = "") -> None:
        """Register what always runs at the end. The same name again replaces the request, in its old place."""
        self._put(Counterweight(name, activity, request, always=True, step=step))

    def undo(self, name: str, activity: Counter, request: StepRequest, step: str = "") -> None:
        """Register what runs on failure and cancellation."""
        self._put(Counterweight(name, activity, request, always=False, step=step))

    def drop(self, name: str) -> None:
        """Take a counterweight off: there is nothing that it could take back."""
        self.stack = [entry for entry in self.stack if entry.name != name]

    def amend(self, name: str, **changes: Any) -> None:
        """Change the request of a counterweight, if it is registered."""
        for entry in self.stack:
            if entry.name == name:
                self._put(replace(entry, request=entry.request.model_copy(update=changes)))

    def due(self, *, succeeded: bool) -> list[Counterweight]:
        """What is to run now, in reverse order of registration."""
        return [entry for entry in reversed(self.stack) if entry.always or not succeeded]

    def _put(self, entry: Counterweight) -> None:
        for index, existing in enumerate(self.stack):
            if existing.name == entry.name:
                self.stack[index] = entry
                return
        self.stack.append(entry)
