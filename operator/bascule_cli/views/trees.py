"""`get`: resources, their runs and the runs' steps, as lines of aligned columns. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.text import Text

from bascule_api.conditions import CompensationState, ConditionStatus, ConditionType, Phase, StepState
from bascule_api.runs import StepStatus
from bascule_cli.resources import Item
from bascule_cli.terminal import clean, columns
from bascule_cli.views import details
from bascule_cli.views.marks import UNICODE, Glyphs, phase, step_style
from bascule_cli.views.wording import age, span

_STEP_TEXT = 200


@dataclass(frozen=True)
class Look:
    """How to draw."""

    now: datetime
    glyphs: Glyphs = UNICODE
    namespaces: bool = False
    """Whether to name each resource's namespace."""
    steps: bool = False
    """Whether to show the steps of runs that are over as well."""
    wide: bool = False
    """Whether to show run, revision and digests."""
    width: int | None = None
    """Where lines are cut; None: nowhere."""


def tree(items: Iterable[Item], look: Look, gone: Iterable[Item] = ()) -> list[Text]:
    """The lines: a heading, then each resource with what belongs to it, then those that have gone meanwhile."""
    rows = [_heading(look)]
    for item in items:
        rows.append(_resource(item, look))
        rows += _branches(item, look)
    for item in gone:
        name, state, says = Text(clean(item.reference), "bold"), Text("gone", "dim"), Text("it left the cluster", "dim")
        rows.append(_row(look, name, state, Text(), Text(), says))
    return columns(rows, look.width)


def line(item: Item, look: Look) -> str:
    """The resource in one line, for following it where no terminal is."""
    parts = [
        f"{item.namespace}/{item.reference}",
        str(item.status.phase or "Pending"),
        item.status.progress.summary if item.status.progress else "",
        _says(item),
    ]
    return clean("  ".join(part for part in dict.fromkeys(parts) if part))


def _heading(look: Look) -> list[Text]:
    titles = ["NAME", "PHASE", "READY", "FOR", "SAYS"]
    if look.wide:
        titles[4:4] = ["RUN", "REVISION"]
    if look.namespaces:
        titles.insert(0, "NAMESPACE")
    return [Text(title, "bold") for title in titles]


def _row(look: Look, name: Text, state: Text, ready: Text, since: Text, says: Text, *wide: Text) -> list[Text]:
    more = list(wide or (Text(), Text())) if look.wide else []
    return [*([Text()] if look.namespaces else []), name, state, ready, since, *more, says]


def _resource(item: Item, look: Look) -> list[Text]:
    ready = item.condition(ConditionType.READY)
    run = item.status.run
    row = _row(
        look,
        Text(clean(item.reference), "bold"),
        Text("Deleting", "yellow") if item.deleting else phase(item.status.phase),
        Text(str(ready.status) if ready else "-", _ready_style(item)),
        Text(age(_since(item), look.now)),
        Text(clean(_says(item))),
        Text(str(run.number) if run else ""),
        Text(clean(run.revision) if run else ""),
    )
    if look.namespaces:
        row[0] = Text(clean(item.namespace))
    return row


def _ready_style(item: Item) -> str:
    if item.holds(ConditionType.READY):
        return "green"
    return "red" if item.holds(ConditionType.READY, ConditionStatus.FALSE) else "dim"


def _since(item: Item) -> datetime | None:
    """Since when the resource is as it is: the wait, the run, its end; else when it was made."""
    status = item.status
    if status.waiting_for and status.waiting_for.since:
        return status.waiting_for.since
    if status.run is not None:
        return status.run.finished_at or status.run.started_at or item.meta.creation_timestamp
    return item.meta.creation_timestamp


def _says(item: Item) -> str:
    # While it waits for its schedule, nothing is said of Ready.
    says = item.condition(ConditionType.READY) or item.condition(ConditionType.SCHEDULED)
    if item.unreadable:
        return item.unreadable
    if says is None or not item.seen:
        return "the operator has not looked at it yet"
    due = item.status.schedule.next if item.status.schedule else None
    if says.type == ConditionType.SCHEDULED and says.status is ConditionStatus.TRUE and due is not None:
        return f"the next run is due at {due.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return says.message or says.reason


def expanded(item: Item) -> bool:
    """Whether there is more to see than one line: something goes on, or went wrong."""
    return item.deleting or item.status.phase not in (None, Phase.SUCCEEDED, Phase.CANCELLED, Phase.PENDING)


def _branches(item: Item, look: Look) -> list[list[Text]]:
    rows = [_step(step, item, look) for step in _shown(item, look)]
    rows += _compensation(item, look)
    if look.wide:
        rows += [_fact(look, label, value) for label, value in details.facts(item, look.now)]
    for place, row in enumerate(rows):
        guide = look.glyphs.last if place == len(rows) - 1 else look.glyphs.branch
        at = 1 if look.namespaces else 0
        row[at] = Text(guide, "dim").append_text(row[at])
    return rows


def _shown(item: Item, look: Look) -> list[StepStatus]:
    return item.status.steps if look.steps or expanded(item) else []


def _step(step: StepStatus, item: Item, look: Look) -> list[Text]:
    waits = item.status.waiting_for
    if waits is not None and _waits_at(waits.gate, step.name) and step.state in (StepState.PENDING, StepState.RUNNING):
        name = Text(f"{look.glyphs.waits} {clean(step.name)}", "magenta")
        says = f"for {waits.kind}" + (f", at most {span(waits.until - look.now)} more" if waits.until else "")
        return _row(look, name, Text("Waiting", "magenta"), Text(), Text(age(waits.since, look.now)), Text(says))
    style = step_style(step.state)
    name = Text(f"{look.glyphs.mark(step.state)} {clean(step.name)}", style)
    tries = f"attempt {step.attempts}" if step.attempts > 1 else ""
    first = next(iter(reversed(step.message.strip().splitlines())), "")
    says = ": ".join(part for part in (tries, first) if part)[:_STEP_TEXT]
    return _row(look, name, Text(str(step.state), style), Text(), Text(_took(step, look.now)), Text(clean(says)))


def _waits_at(gate: str, step: str) -> bool:
    """Whether a step waits at this gate. A campaign's gates are called `canary`, or `canary/errors`: of its wave."""
    return step in (gate, f"wave-{gate.partition('/')[0]}")


def _took(step: StepStatus, now: datetime) -> str:
    if step.started_at is None:
        return ""
    return span((step.finished_at or now) - step.started_at)


def _compensation(item: Item, look: Look) -> list[list[Text]]:
    found = item.status.compensation
    if found is None or found.state in (CompensationState.NOTHING_TO_DO, CompensationState.SUCCEEDED):
        return []
    style = "red" if found.state is CompensationState.FAILED else "yellow"
    left = f"; left: {', '.join(found.left)}" if found.left else ""
    begun = found.total > 0 or found.state is CompensationState.FAILED
    says = f"{found.completed} of {found.total} taken back{left}" if begun else "no worker has taken it up yet"
    if found.last_error:
        says = f"{says}; last error: {found.last_error}"
    state = Text(str(found.state), style)
    return [_row(look, Text("taking back", style), state, Text(), Text(), Text(clean(says)))]


def _fact(look: Look, label: str, value: str) -> list[Text]:
    return _row(look, Text(label, "dim"), Text(), Text(), Text(), Text(clean(value)))
