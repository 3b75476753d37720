"""`history`: past runs, and the one that goes on, as a table. Pure."""

from __future__ import annotations

from datetime import datetime

from rich.text import Text

from bascule_cli.resources import Item
from bascule_cli.terminal import clean, columns
from bascule_cli.views.marks import phase
from bascule_cli.views.wording import span

_TITLES = ("RUN", "PHASE", "TRIGGER", "STARTED", "TOOK", "REVISION", "WHAT CAME OF IT")


def table(item: Item, now: datetime, width: int | None = None) -> list[Text]:
    """The lines, newest run first; none when it never ran."""
    rows = _current(item, now)
    for past in item.status.history:
        over = past.finished_at
        rows.append(
            [
                Text(str(past.number)),
                phase(past.phase),
                Text(str(past.trigger)),
                Text(_when(past.started_at, now)),
                Text(span(over - past.started_at) if over and past.started_at else ""),
                Text(clean(past.revision)),
                Text(clean(past.summary)),
            ]
        )
    return columns([[Text(title, "bold") for title in _TITLES], *rows], width) if rows else []


def _current(item: Item, now: datetime) -> list[list[Text]]:
    """The run that goes on; one that is over is in the history."""
    run, progress = item.status.run, item.status.progress
    if run is None or run.outcome is not None:
        return []
    return [
        [
            Text(str(run.number)),
            phase(item.status.phase),
            Text(str(run.trigger)),
            Text(_when(run.started_at, now)),
            Text(span(now - run.started_at) if run.started_at else ""),
            Text(clean(run.revision)),
            Text(clean(progress.summary if progress else "")),
        ]
    ]


def _when(when: datetime | None, now: datetime) -> str:
    return f"{span(now - when)} ago" if when else ""
