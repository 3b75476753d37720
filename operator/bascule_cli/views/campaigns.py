"""`campaign show`: waves and targets as lines for a terminal of any width. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from rich.cells import cell_len
from rich.text import Text

from bascule_cli.terminal import clean, columns
from bascule_cli.views import cells, marks
from bascule_cli.views.pictures import Picture, TargetLine, Wait, WavePicture

_UNBOUNDED = 100
"""Where rows of cells and texts are folded when no terminal says how wide it is."""
_NARROW = 72
_NAME_SHARE = 0.4
"""Of the width: how much a target's name may take."""


@dataclass(frozen=True)
class Canvas:
    """Where it is drawn."""

    width: int | None = None
    """Columns of the terminal; None: there is none, and nothing is cut."""
    ascii_only: bool = False

    @property
    def fold(self) -> int:
        return max(20, self.width or _UNBOUNDED)

    @property
    def narrow(self) -> bool:
        return self.width is not None and self.width < _NARROW


def lines(picture: Picture, canvas: Canvas) -> list[Text]:
    """The whole picture."""
    made = [*_heading(picture, canvas), Text()]
    for wave in picture.waves:
        made += _wave(wave, canvas)
    if picture.shown:
        made += [Text(), *_legend(picture, canvas)]
    made += _section("At work", _targets(picture.at_work, canvas), picture.more_at_work)
    made += _section("Failed", _targets(picture.failures, canvas), picture.more_failures)
    if picture.wait is not None:
        made += [Text(), *_wait(picture.wait, canvas)]
    if picture.taking_back:
        made += [Text(), *_facts(picture.taking_back, canvas)]
    return made


def line(picture: Picture) -> str:
    """The picture in one line, for following it where no terminal is."""
    waves = " ".join(f"{wave.name}={wave.state}" for wave in picture.waves)
    waits = f"waits for {picture.wait.kind} at {picture.wait.gate}" if picture.wait else ""
    parts = [f"{picture.namespace}/{picture.title}", str(picture.phase or "Pending"), picture.summary, waves, waits]
    return clean("  ".join(part for part in parts if part))


def _heading(picture: Picture, canvas: Canvas) -> list[Text]:
    title = Text().append(clean(picture.title), "bold")
    if picture.namespace:
        title.append(f" in {clean(picture.namespace)}")
    state = Text().append_text(marks.phase(picture.phase)).append(f"  {picture.run}".rstrip(), "dim")
    if cell_len(title.plain) + 2 + cell_len(state.plain) <= canvas.fold:
        titles = [title.append("  ").append_text(state)]
    else:
        titles = [title, Text("  ").append_text(state)]
    facts = (("targets", picture.summary), *picture.facts, ("says", picture.says))
    return [*titles, *_facts([(label, value) for label, value in facts if value], canvas)]


def _facts(facts: Iterable[tuple[str, str]], canvas: Canvas) -> list[Text]:
    """Labels and values; a value that is too long goes on below itself."""
    rows = list(facts)
    # A narrow terminal has no room for a column of labels.
    label_width = 4 if canvas.narrow else max((len(label) for label, _ in rows), default=0) + 4
    made: list[list[Text]] = []
    for label, value in rows:
        words = f"{label}: {clean(value)}" if canvas.narrow else clean(value)
        parts = _folded(words, canvas.fold - label_width)
        if canvas.narrow:
            made += [[Text(f"{'    ' if place else '  '}{part}")] for place, part in enumerate(parts)]
        else:
            made += [[Text(f"  {label if not place else ''}", "dim"), Text(part)] for place, part in enumerate(parts)]
    return [row[0] for row in made] if canvas.narrow else columns(made)


def _folded(text: str, width: int) -> list[str]:
    # A digest, a name or an address stays whole: people copy it.
    return textwrap.wrap(text, max(16, width), break_long_words=False, break_on_hyphens=False) or [""]


def _wave(wave: WavePicture, canvas: Canvas) -> list[Text]:
    style = cells.wave_style(wave.state)
    head = Text().append(cells.wave_sign(wave.state, ascii_only=canvas.ascii_only) + " ", style)
    head.append(clean(wave.name), "bold").append(f"  {cells.wave_word(wave.state)}", style)
    told = [wave.counts, wave.took, clean(wave.remark)]
    if wave.per_cell > 1:
        told.append(f"a sign stands for {wave.per_cell} targets")
    rest = "  ".join(part for part in told if part)
    if cell_len(head.plain) + 2 + cell_len(rest) <= canvas.fold:
        heads = [head.append(f"  {rest}")] if rest else [head]
    else:
        heads = [head, *(Text(f"    {part}") for part in _folded(rest, canvas.fold - 4))]
    return [*heads, *_cells(wave, canvas)]


def _cells(wave: WavePicture, canvas: Canvas) -> list[Text]:
    """Rows of signs: as many in a row as fit, in tens so that they can be counted."""
    room = max(10, (canvas.fold - 4) // 11 * 10)
    rows = []
    for start in range(0, len(wave.cells), room):
        row = Text("    ")
        for ten in range(start, min(start + room, len(wave.cells)), 10):
            if ten > start:
                row.append(" ")
            for phase, same in groupby(wave.cells[ten : min(ten + 10, start + room)]):
                row.append(cells.sign(phase, ascii_only=canvas.ascii_only) * len(list(same)), cells.style(phase))
        rows.append(row)
    return rows


def _legend(picture: Picture, canvas: Canvas) -> list[Text]:
    """What the signs mean, of those that there are."""
    made = [Text()]
    for phase in picture.shown:
        entry = Text().append(cells.sign(phase, ascii_only=canvas.ascii_only), cells.style(phase))
        entry.append(f" {cells.word(phase)}")
        if made[-1].plain and cell_len(made[-1].plain) + 3 + cell_len(entry.plain) > canvas.fold:
            made.append(Text())
        made[-1].append("   " if made[-1].plain else "").append_text(entry)
    return made


def _section(title: str, rows: list[Text], more: int) -> list[Text]:
    if not rows:
        return []
    rest = [Text(f"  and {more} more", "dim")] if more else []
    return [Text(), Text(title, "bold"), *rows, *rest]


def _targets(targets: tuple[TargetLine, ...], canvas: Canvas) -> list[Text]:
    """A line for each target; what does not fit beside its name goes below. Names stay whole: people copy them."""
    names = [Text(f"  {clean(target.name)}") for target in targets]
    states = [
        Text().append(cells.word(target.phase), cells.style(target.phase)).append(f"  {target.since}".rstrip(), "dim")
        for target in targets
    ]
    beside = max(cell_len(name.plain) for name in names) <= canvas.fold * _NAME_SHARE if names else True
    heads = columns([[name, state] for name, state in zip(names, states, strict=True)]) if beside else names
    made = []
    for target, head, state in zip(targets, heads, states, strict=True):
        says = clean(target.says)
        if not beside:
            made += [head, Text("    ").append_text(state)]
            made += [Text(f"    {part}") for part in _folded(says, canvas.fold - 4) if part]
        elif cell_len(head.plain) + 2 + cell_len(says) <= canvas.fold:
            made.append(head.append(f"  {says}" if says else ""))
        else:
            made += [head, *(Text(f"    {part}") for part in _folded(says, canvas.fold - 4))]
    return made


def _wait(wait: Wait, canvas: Canvas) -> list[Text]:
    at_gate = f"for {wait.kind} at {wait.gate}"
    facts = [("waits", at_gate), ("since", wait.since), ("until", wait.until), ("what", wait.detail)]
    facts += [("subject", wait.subject if wait.subject not in wait.detail else "")]
    commands = [Text(f"    {clean(command)}", "cyan") for command in wait.commands]
    return [*_facts([(label, value) for label, value in facts if value], canvas), *commands]
