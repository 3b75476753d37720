"""`explain`, as people read it and as a document. Pure."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.text import Text

from bascule_api.conditions import StepState
from bascule_cli.explanations import Explanation, Finding, Verdict
from bascule_cli.resources import Item
from bascule_cli.terminal import clean, columns
from bascule_cli.views import details
from bascule_cli.views.wording import moment, span

_GAP = 2
_TITLES = {
    Verdict.DONE: ("is as it should be", "green"),
    Verdict.UNDER_WAY: ("goes on by itself", "cyan"),
    Verdict.WAITS: ("waits", "magenta"),
    Verdict.STALLED: ("does not go on without you", "red"),
    Verdict.UNSEEN: ("has not been looked at", "yellow"),
}


@dataclass(frozen=True)
class News:
    """An Event of the resource."""

    when: datetime
    reason: str
    note: str
    warning: bool = False
    count: int = 1


def paragraphs(
    item: Item, explanation: Explanation, news: list[News], now: datetime, width: int | None = None
) -> list[Text]:
    """The answer as lines, wrapped to the width of a terminal. Commands are never broken."""
    words, style = _TITLES[explanation.verdict]
    title = Text().append(clean(f"{item.kind.kind}/{item.name}"), "bold")
    if item.namespace:
        title.append(f" in {clean(item.namespace)}")
    title.append(f" {words}", style)
    phase = item.status.phase
    if phase:
        title.append(f" ({phase}{_run(item)})")
    lines = [title, *_facts(item, explanation.first, now, width)]
    for other in explanation.others:
        lines += [Text(), Text("Besides", "bold"), *_wrapped(_finding(other, now), width)]
    lines += _advice(explanation, width)
    if news:
        rows = [_news(item, now) for item in news]
        lines += [Text(), Text("Lately", "bold"), *columns(rows, width)]
    return lines


def _run(item: Item) -> str:
    return f", run {item.status.run.number}" if item.status.run else ""


def _facts(item: Item, first: Finding, now: datetime, width: int | None) -> list[Text]:
    rows = _finding(first, now)
    waits, compensation = item.status.waiting_for, item.status.compensation
    if waits is not None and waits.subject:
        rows.append(_fact("subject", waits.subject))
    for step in item.status.steps:
        if step.state is StepState.FAILED and step.message and step.message not in first.message:
            rows.append(_fact(f"{step.name} says", step.message))
    if compensation is not None and compensation.left:
        rows.append(_fact("left", ", ".join(compensation.left)))
    rows += [_fact(label, value) for label, value in details.facts(item, now)]
    if item.status.run is not None and item.status.run.url:
        rows.append(_fact("workflow", item.status.run.url))
    return _wrapped(rows, width)


def _wrapped(rows: list[list[Text]], width: int | None) -> list[Text]:
    """Labels and values in columns; a value that is too long goes on below itself."""
    if width is None:
        return columns(rows)
    label = max(len(row[0].plain) for row in rows) + _GAP
    folded = []
    for first, value in rows:
        parts = _folded(value.plain, width - label)
        folded += [[first, Text(parts[0])], *([Text(), Text(part)] for part in parts[1:])]
    return columns(folded, gap=_GAP)


def _folded(text: str, width: int) -> list[str]:
    # A digest or an address stays whole: people copy it.
    return textwrap.wrap(text, max(20, width), break_long_words=False, break_on_hyphens=False) or [""]


def _finding(finding: Finding, now: datetime) -> list[list[Text]]:
    rows = [_fact("why", f"{finding.reason}: {finding.message}" if finding.reason else finding.message)]
    if finding.since:
        rows.append(_fact("since", moment(finding.since, now)))
    if finding.until:
        rows.append(_fact("until", f"{moment(finding.until, now)} at the latest"))
    return rows


def _fact(label: str, value: str) -> list[Text]:
    return [Text(f"  {clean(label)}", "dim"), Text(clean(value))]


def _advice(explanation: Explanation, width: int | None) -> list[Text]:
    told = [advice for finding in (explanation.first, *explanation.others) for advice in finding.advice]
    if not told:
        return []
    lines = [Text(), Text("What to do", "bold")]
    for advice in dict.fromkeys(told):
        text = clean(advice.text)
        lines += [Text(f"  {part}") for part in (_folded(text, width - 2) if width else [text])]
        if advice.command:
            lines.append(Text(f"    {clean(advice.command)}", "cyan"))
    return lines


def _news(news: News, now: datetime) -> list[Text]:
    style = "yellow" if news.warning else ""
    times = f" (x{news.count})" if news.count > 1 else ""
    return [
        Text(f"  {span(now - news.when)} ago", "dim"),
        Text(clean(news.reason) + times, style),
        Text(clean(news.note)),
    ]


def document(item: Item, explanation: Explanation, news: list[News]) -> dict[str, Any]:
    """The answer for scripts."""
    return {
        "kind": item.kind.kind,
        "namespace": item.namespace,
        "name": item.name,
        "phase": item.status.phase,
        "run": item.status.run.number if item.status.run else None,
        "verdict": explanation.verdict,
        **_as_document(explanation.first),
        "besides": [_as_document(other) for other in explanation.others],
        "events": [
            {"when": news_.when.isoformat(), "reason": news_.reason, "note": news_.note, "count": news_.count}
            for news_ in news
        ],
    }


def _as_document(finding: Finding) -> dict[str, Any]:
    return {
        "reason": finding.reason,
        "message": finding.message,
        "since": finding.since.isoformat() if finding.since else None,
        "until": finding.until.isoformat() if finding.until else None,
        "advice": [{"text": advice.text, "command": advice.command} for advice in finding.advice],
    }
