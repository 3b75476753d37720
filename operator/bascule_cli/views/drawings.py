"""The picture of a campaign as SVG: shapes that differ without colour, light and dark, no script. Pure.

Names and messages are tenants' input: all text goes through `text`, which cleans and escapes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from html import escape

from bascule_api.fleets import TargetPhase
from bascule_cli.terminal import clean
from bascule_cli.views import cells
from bascule_cli.views.pictures import AT_WORK, Picture, TargetLine, WavePicture

WIDTH = 960
_MARGIN = 24
_CELL = 14
_STEP = 17
_ROW = 50
"""Cells in a row."""
_LINE = 20
_TITLE = 28
_CHARACTERS = 116
"""Of running text that fit into the width."""

PALETTE = """\
--paper:#ffffff;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--idle:#eaeef2;--idleline:#8c959f;
--work:#0969da;--good:#1a7f37;--bad:#cf222e;--warn:#9a6700;--onfill:#ffffff"""
DARK_PALETTE = """\
--paper:#0d1117;--ink:#e6edf3;--soft:#9198a1;--line:#30363d;--idle:#21262d;--idleline:#7d8590;
--work:#4493f8;--good:#3fb950;--bad:#f85149;--warn:#d29922;--onfill:#0d1117"""
CELL_STYLE = """\
.Pending .box{fill:var(--idle);stroke:var(--idleline)} .Skipped .box{fill:var(--paper);stroke:var(--idleline)}
.Patched .box{fill:var(--good)} .Failed .box{fill:var(--bad)} .RolledBack .box,.RollingBack .box{fill:var(--warn)}
.work .box{fill:var(--work)} .sign{stroke:var(--onfill);fill:none;stroke-width:2;stroke-linecap:round}
.Skipped .sign{stroke:var(--soft)} .letter{fill:var(--onfill);font:bold 11px sans-serif;text-anchor:middle}"""
"""Shared by drawing and page. The classes are the phases' names."""

_SHAPES = {
    TargetPhase.PENDING: "",
    TargetPhase.PATCHED: '<path class="sign" d="M3.5 7.5 6 10l4.5-6"/>',
    TargetPhase.FAILED: '<path class="sign" d="M4 4l6 6M10 4l-6 6"/>',
    TargetPhase.SKIPPED: '<path class="sign" d="M4 7h6"/>',
    TargetPhase.ROLLED_BACK: '<path class="sign" d="M4 5h4.500a2.500 2.500 0 0 1 0 5H6M6 2.500 3.500 5 6 7.500"/>',
}

_STYLE = f"""\
svg{{{PALETTE};font:13px/1.4 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}}
@media (prefers-color-scheme:dark){{svg{{{DARK_PALETTE}}}}}
@media print{{svg{{{PALETTE}}}}}
.paper{{fill:var(--paper)}} text{{fill:var(--ink)}} .soft{{fill:var(--soft)}} .strong{{font-weight:600}}
.title{{font-size:19px;font-weight:600}} .bad{{fill:var(--bad)}} {CELL_STYLE}"""


def text(value: str) -> str:
    """A tenant's text as content or as an attribute's value: control characters written out, markup escaped."""
    return escape(clean(value), quote=True)


def symbols(phases: Iterable[TargetPhase]) -> str:
    """A symbol for each phase, to be used as `#phase-Patched`."""
    return "".join(
        f'<symbol id="phase-{phase}" viewBox="0 0 {_CELL} {_CELL}"><g class="{_class(phase)}">'
        f'<rect class="box" x=".75" y=".75" width="12.5" height="12.5" rx="2.5"/>{_shape(phase)}</g></symbol>'
        for phase in phases
    )


def _class(phase: TargetPhase) -> str:
    return f"work {phase}" if phase in AT_WORK and phase is not TargetPhase.ROLLING_BACK else str(phase)


def _shape(phase: TargetPhase) -> str:
    known = _SHAPES.get(phase)
    return f'<text class="letter" x="7" y="11">{cells.LETTERS[phase]}</text>' if known is None else known


def label(wave: WavePicture) -> str:
    """The wave in words, for people who do not see it."""
    return f"Wave {wave.name}: {cells.wave_word(wave.state)}, {wave.counts}. {counted(wave)}"


def counted(wave: WavePicture) -> str:
    """How many cells of each phase: `3 patched, 1 failed`."""
    if wave.per_cell > 1:
        return f"Each cell stands for about {wave.per_cell} targets."
    there = {phase: wave.cells.count(phase) for phase in dict.fromkeys(wave.cells)}
    return ", ".join(f"{number} {cells.word(phase)}" for phase, number in there.items())


def drawing(picture: Picture) -> str:
    """The whole picture as one SVG document."""
    body, height = _body(picture)
    words = f"{picture.title}, {picture.phase or 'Pending'}: {picture.summary}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-labelledby="title description"><title id="title">{text(words)}</title>'
        f'<desc id="description">{text(" ".join(label(wave) for wave in picture.waves))}</desc>'
        f"<style>{_STYLE}</style><defs>{symbols(picture.shown)}</defs>"
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>{"".join(body)}</svg>\n'
    )


def _body(picture: Picture) -> tuple[list[str], int]:
    """The elements from top to bottom, and the height that they take."""
    place = f"{picture.title} in {picture.namespace}" if picture.namespace else picture.title
    y = _MARGIN + 14
    made = [
        _text(place, y, "title"),
        _at_end(" · ".join(part for part in (picture.phase or "Pending", picture.run) if part), y),
    ]
    y += _TITLE
    made.append(_text(picture.summary, y, "strong"))
    for name, value in picture.facts:
        for part in _folded(f"{name}: {value}"):
            y += _LINE
            made.append(_text(part, y, "soft"))
    for wave in picture.waves:
        elements, y = _wave(wave, y + _LINE)
        made += elements
    legend, y = _legend(picture, y + _LINE + 6)
    made += legend
    for title, targets, more in (
        ("At work", picture.at_work, picture.more_at_work),
        ("Failed", picture.failures, picture.more_failures),
    ):
        elements, y = _targets(title, targets, more, y)
        made += elements
    for words in _after(picture):
        for part in _folded(words):
            y += _LINE
            made.append(_text(part, y))
    y += _LINE
    made.append(_text(f"as of {picture.drawn_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC", y + 4, "soft"))
    return made, y + _MARGIN


def _after(picture: Picture) -> Iterable[str]:
    if picture.wait is not None:
        until = f", until {picture.wait.until}" if picture.wait.until else ""
        yield f"Waits for {picture.wait.kind} at {picture.wait.gate}{until}"
        if picture.wait.detail:
            yield picture.wait.detail
    for name, value in picture.taking_back:
        yield f"{name}: {value}"


def _wave(wave: WavePicture, y: int) -> tuple[list[str], int]:
    y += _LINE - 6
    several = f"a cell stands for about {wave.per_cell} targets" if wave.per_cell > 1 else ""
    words = (cells.wave_word(wave.state), wave.counts, wave.took, wave.remark, several)
    told = " · ".join(part for part in words if part)
    made = [
        f'<text x="{_MARGIN}" y="{y}"><tspan class="strong">{text(wave.name)}</tspan>'
        f'<tspan class="soft" dx="10">{text(_short(told, _CHARACTERS - len(wave.name)))}</tspan></text>'
    ]
    y += 9
    for start in range(0, len(wave.cells), _ROW):
        for place, phase in enumerate(wave.cells[start : start + _ROW]):
            made.append(
                f'<use href="#phase-{phase}" x="{_MARGIN + place * _STEP + place // 10 * 4}" y="{y}" '
                f'width="{_CELL}" height="{_CELL}"/>'
            )
        y += _STEP
    return made, y


def _legend(picture: Picture, y: int) -> tuple[list[str], int]:
    made, x = [], _MARGIN
    for phase in picture.shown:
        made.append(f'<use href="#phase-{phase}" x="{x}" y="{y - 11}" width="{_CELL}" height="{_CELL}"/>')
        made.append(f'<text class="soft" x="{x + 20}" y="{y}">{cells.word(phase)}</text>')
        x += 100
        if x > WIDTH - 120:
            x, y = _MARGIN, y + _LINE
    return made, y


def _targets(title: str, targets: tuple[TargetLine, ...], more: int, y: int) -> tuple[list[str], int]:
    if not targets:
        return [], y
    y += _LINE + 8
    made = [_text(title, y, "strong")]
    for target in targets:
        told = (target.name, cells.word(target.phase), target.since, target.says)
        for part in _folded(" · ".join(part for part in told if part)):
            y += _LINE
            made.append(_text(part, y))
    if more:
        y += _LINE
        made.append(_text(f"and {more} more", y, "soft"))
    return made, y + 6


def _text(words: str, y: int, style: str = "") -> str:
    chosen = f' class="{style}"' if style else ""
    return f'<text x="{_MARGIN}" y="{y}"{chosen}>{text(words)}</text>'


def _at_end(words: str, y: int) -> str:
    return f'<text x="{WIDTH - _MARGIN}" y="{y}" text-anchor="end" class="soft">{text(words)}</text>'


def _short(words: str, length: int) -> str:
    words = clean(words)
    return words if len(words) <= length else f"{words[: max(1, length - 1)]}…"


def _folded(words: str) -> list[str]:
    """Text in lines that fit into the width, at most three of them. SVG does not fold by itself."""
    words = clean(words)
    made: list[str] = []
    while len(words) > _CHARACTERS and len(made) < 2:
        cut = words.rfind(" ", 40, _CHARACTERS)
        cut = cut if cut > 0 else _CHARACTERS
        made.append(words[:cut])
        words = "    " + words[cut:].lstrip()
    return [*made, _short(words, _CHARACTERS)]
