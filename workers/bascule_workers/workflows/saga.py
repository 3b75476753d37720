"""Counterweights: what a run registers so that its effects can be taken back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from bascule_workers.messages import Done, Left, NotYet, StepRequest

Counter = Callable[[Any, Any], Awaitable[Done[Left] | NotYet]]


class When(StrEnum):
    """At which ends a counterweight runs."""

    ALWAYS = "Always"
    """A release: whatever the outcome."""
    UNFINISHED = "Unfinished"
    """A release of what nobody holds any more after a success."""
    UNDO = "Undo"
    """On failure and cancellation, unless only releases are wanted."""


@dataclass(frozen=True)
class Counterweight:
    """How one effect is taken back. Registered before the effect may half-happen; it must bear finding nothing."""

    name: str
    activity: Counter | None
    """None: the workflow carries it out by itself."""
    request: StepRequest
    when: When
    step: str = ""
    """The step that counts as undone when this is done; empty for a run's own belongings."""
    after: tuple[str, ...] = ()
    """Counterweights that must not have been given up: what this one deletes leads to what they take back."""
    if_left: Mapping[str, Any] = field(default_factory=dict)
    """What changes in the request when something was left, which another attempt may take back."""


@dataclass
class Saga:
    """The counterweights of a run, a stack."""

    stack: list[Counterweight] = field(default_factory=list)

    def release(self, name: str, activity: Counter | None, request: StepRequest, **more: Any) -> None:
        """Register what always runs at the end. The same name again replaces the request, in its old place."""
        self._put(Counterweight(name, activity, request, When.ALWAYS, **more))

    def release_unfinished(self, name: str, activity: Counter | None, request: StepRequest, **more: Any) -> None:
        """Register what runs at every end but a success."""
        self._put(Counterweight(name, activity, request, When.UNFINISHED, **more))

    def undo(self, name: str, activity: Counter | None, request: StepRequest, **more: Any) -> None:
        """Register what runs on failure and cancellation."""
        self._put(Counterweight(name, activity, request, When.UNDO, **more))

    def drop(self, name: str) -> None:
        """Take a counterweight off: there is nothing that it could take back."""
        self.stack = [entry for entry in self.stack if entry.name != name]

    def amend(self, name: str, **changes: Any) -> None:
        """Change the request of a counterweight, if it is registered."""
        for entry in self.stack:
            if entry.name == name:
                self._put(replace(entry, request=entry.request.model_copy(update=changes)))

    def due(self, *, succeeded: bool, undo: bool = True) -> list[Counterweight]:
        """What is to run now, in reverse order of registration; with `undo=False` releases only."""
        wanted = {When.ALWAYS}
        if not succeeded:
            wanted |= {When.UNFINISHED, When.UNDO} if undo else {When.UNFINISHED}
        return [entry for entry in reversed(self.stack) if entry.when in wanted]

    def _put(self, entry: Counterweight) -> None:
        for index, existing in enumerate(self.stack):
            if existing.name == entry.name:
                self.stack[index] = entry
                return
        self.stack.append(entry)
