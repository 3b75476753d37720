"""Drills that are over: as a table, as CSV for spreadsheets, as documents. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from rich.text import Text

from bascule_api.dr_drill_status import DRDrillStatus, DrillVerdict, PastDrill
from bascule_cli.resources import Item
from bascule_cli.terminal import clean, columns
from bascule_cli.views.wording import span, stamp

COLUMNS = (
    "namespace",
    "name",
    "number",
    "finished",
    "verdict",
    "reason",
    "rto_seconds",
    "rto_gross_seconds",
    "rpo_seconds",
    "recovery_point",
    "report",
)
"""Of the CSV, in this order. New ones come at the end."""
_TITLES = ("RUN", "FINISHED", "VERDICT", "WHY", "RTO", "GROSS", "RPO", "RECOVERY POINT", "REPORT")
_STYLES = {DrillVerdict.MET: "green", DrillVerdict.MISSED: "bold red", DrillVerdict.INCONCLUSIVE: "yellow"}
_DIGEST = 19
"""Characters of a digest in a table; CSV and documents have all of it."""


@dataclass(frozen=True)
class Held:
    """A drill that is over, and of which resource."""

    namespace: str
    name: str
    drill: PastDrill


def held(items: Iterable[Item]) -> list[Held]:
    """All drills of these resources that are remembered, resource by resource, newest first."""
    return [Held(item.namespace, item.name, drill) for item in items for drill in _past(item)]


def _past(item: Item) -> list[PastDrill]:
    try:
        return DRDrillStatus.model_validate(item.body.get("status") or {}).drills
    except ValidationError:
        return []


def table(found: list[Held], now: datetime, *, named: bool, namespaces: bool, width: int | None = None) -> list[Text]:
    """The lines; none where nothing was held. `named`: only one resource was asked for."""
    if not found:
        return []
    before = (("NAMESPACE",) if namespaces else ()) + (() if named else ("NAME",))
    rows = [
        [
            *([Text(clean(each.namespace))] if namespaces else []),
            *([] if named else [Text(clean(each.name))]),
            *_cells(each.drill, now),
        ]
        for each in found
    ]
    return columns([[Text(title, "bold") for title in (*before, *_TITLES)], *rows], width)


def _cells(drill: PastDrill, now: datetime) -> list[Text]:
    verdict = drill.verdict
    return [
        Text(str(drill.number)),
        Text(f"{span(now - drill.finished_at)} ago" if drill.finished_at else ""),
        Text(str(verdict or "-"), _STYLES[verdict] if verdict else "dim"),
        Text(str(drill.reason) if drill.reason and verdict is not DrillVerdict.MET else ""),
        Text(clean(drill.rto)),
        Text(_length(drill.rto_gross_seconds)),
        Text(clean(drill.rpo)),
        Text(stamp(drill.recovery_point)),
        Text(drill.report[:_DIGEST] if drill.report else ""),
    ]


def _length(seconds: int | None) -> str:
    if seconds is None:
        return ""
    parts = [(seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def as_csv(found: Iterable[Held]) -> str:
    """RFC 4180 with a header, and line feeds. Times are RFC 3339 in UTC, lengths whole seconds; what is not known is
    empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in found:
        drill = each.drill
        writer.writerow(
            [
                each.namespace,
                each.name,
                drill.number,
                stamp(drill.finished_at),
                drill.verdict or "",
                drill.reason or "",
                _number(drill.rto_seconds),
                _number(drill.rto_gross_seconds),
                _number(drill.rpo_seconds),
                stamp(drill.recovery_point),
                drill.report or "",
            ]
        )
    return text.getvalue()


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def document(found: Iterable[Held]) -> list[dict[str, Any]]:
    """For `-o json` and `-o yaml`: what the status has, with whose it is."""
    return [{"namespace": each.namespace, "name": each.name} | each.drill.to_wire() for each in found]
