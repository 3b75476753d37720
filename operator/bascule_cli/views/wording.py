"""How times, spans and commands are written for people."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bascule_cli.resources import Item


def span(length: timedelta) -> str:
    """The two largest units of a time span: `2m13s`, `3d4h`."""
    seconds = max(0, int(length.total_seconds()))
    parts = [(seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    first = next((place for place, (number, _) in enumerate(parts) if number), len(parts) - 1)
    return "".join(f"{number}{unit}" for number, unit in parts[first : first + 2] if number) or "0s"


def age(since: datetime | None, now: datetime) -> str:
    return span(now - since) if since else ""


def moment(when: datetime | None, now: datetime) -> str:
    """A time, and how far it is: `2026-11-22 06:12:01 UTC (2m13s ago)`."""
    if when is None:
        return ""
    far = f"{span(now - when)} ago" if when <= now else f"in {span(when - now)}"
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({far})"


def stamp(when: datetime | None) -> str:
    """A time in UTC, as documents have it: `2026-11-22T06:12:01Z`; empty where there is none."""
    return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if when else ""


@dataclass(frozen=True)
class Speech:
    """How commands are to be typed by who reads them: with the program's name and the options they came with."""

    program: str = "bascule"
    """`bascule` or `kubectl bascule`."""
    context: str = ""
    kubeconfig: str = ""

    def verb(self, item: Item, verb: str, *arguments: str) -> str:
        """A command of ours for this resource: `explain`, or one of a group, `campaign show`."""
        name = item.name if item.kind.namespaced else item.reference
        return self._with_place(item, [*self.program.split(), *verb.split(), name, *arguments])

    def kubectl(self, item: Item, *arguments: str) -> str:
        """A command of kubectl's in the namespace of this resource."""
        return self._with_place(item, ["kubectl", *arguments])

    def _with_place(self, item: Item, words: list[str]) -> str:
        place = ["-n", item.namespace] if item.namespace else []
        context = ["--context", self.context] if self.context else []
        kubeconfig = ["--kubeconfig", self.kubeconfig] if self.kubeconfig else []
        return shlex.join([*words, *place, *context, *kubeconfig])
