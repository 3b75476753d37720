"""The picture of a campaign as one HTML page: no script, nothing fetched, light, dark and printable. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC

from bascule_cli.views import cells
from bascule_cli.views.drawings import CELL_STYLE, DARK_PALETTE, PALETTE, counted, label, symbols, text
from bascule_cli.views.pictures import Picture, TargetLine, WavePicture

_STYLE = f"""\
:root{{color-scheme:light dark;{PALETTE}}}
@media (prefers-color-scheme:dark){{:root{{{DARK_PALETTE}}}}}
body{{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}}
main{{max-width:64rem;margin:0 auto;padding:1.5rem 1rem 3rem}}
h1{{font-size:1.4rem;margin:0;overflow-wrap:anywhere}} h2{{font-size:1.05rem;margin:1.8rem 0 .4rem}}
h3{{font-size:1rem;margin:0;display:inline}} p{{margin:.2rem 0}} a{{color:var(--work)}}
.soft,dt,caption,figcaption span{{color:var(--soft)}} .phase{{font-weight:600}}
dl{{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:.8rem 0}}
dd{{margin:0;overflow-wrap:anywhere}} figure{{margin:1rem 0}}
.cells{{display:flex;flex-wrap:wrap;gap:3px;margin-top:.35rem}} .cells svg{{width:15px;height:15px}}
.legend{{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;list-style:none;padding:0;color:var(--soft)}}
.legend svg{{width:14px;height:14px;vertical-align:-2px;margin-right:.35rem}}
.scroll{{overflow-x:auto}} table{{border-collapse:collapse;width:100%}}
th,td{{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line)}}
td:first-child,td:last-child{{overflow-wrap:anywhere;min-width:9rem}} .last{{margin-top:1.5rem}}
code{{font:13px ui-monospace,monospace}}
pre{{margin:.3rem 0;padding:.5rem .7rem;border:1px solid var(--line);border-radius:6px;overflow-x:auto}}
.unseen{{position:absolute;width:0;height:0}} {CELL_STYLE}
@media (max-width:34rem){{dl{{display:block}} dd{{margin:0 0 .4rem}}}}
@media print{{:root{{{PALETTE}}} main{{max-width:none;padding:0}} figure,tr{{break-inside:avoid}}
*{{print-color-adjust:exact;-webkit-print-color-adjust:exact}}}}"""


def page(picture: Picture) -> str:
    """The whole page."""
    title = f"{picture.title} in {picture.namespace}" if picture.namespace else picture.title
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        # Whatever got into the page: a browser runs and fetches nothing.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{text(title)}: {picture.phase or 'Pending'}</title><style>{_STYLE}</style></head>\n<body>"
        f'<svg class="unseen" aria-hidden="true"><defs>{symbols(picture.shown)}</defs></svg><main>\n'
        + "\n".join(_parts(picture, title))
        + "\n</main></body></html>\n"
    )


def _parts(picture: Picture, title: str) -> Iterable[str]:
    run = f' <span class="soft">{text(picture.run)}</span>' if picture.run else ""
    yield f'<h1>{text(title)}</h1><p><span class="phase">{picture.phase or "Pending"}</span>{run}</p>'
    yield _list((("targets", picture.summary), *picture.facts, ("says", picture.says), *_wait(picture)))
    if picture.wait is not None and picture.wait.commands:
        yield "".join(f"<pre><code>{text(command)}</code></pre>" for command in picture.wait.commands)
    yield "<h2>Waves</h2>"
    yield from (_wave(wave) for wave in picture.waves)
    yield _legend(picture)
    yield from _targets("At work", "Since", picture.at_work, picture.more_at_work)
    yield from _targets("Failed", "Then", picture.failures, picture.more_failures)
    if picture.taking_back:
        yield "<h2>Taking back</h2>" + _list(picture.taking_back)
    if picture.url.startswith(("https://", "http://")):
        yield f'<p class="last"><a href="{text(picture.url)}" rel="noreferrer">The run in Temporal</a></p>'
    yield f'<p class="soft">As of {picture.drawn_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC.</p>'


def _wait(picture: Picture) -> Iterable[tuple[str, str]]:
    wait = picture.wait
    if wait is not None:
        yield "waits", f"for {wait.kind} at {wait.gate}"
        yield from (("since", wait.since), ("until", wait.until), ("what", wait.detail), ("subject", wait.subject))


def _list(facts: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in facts if value) + "</dl>"


def _wave(wave: WavePicture) -> str:
    told = ", ".join(part for part in (cells.wave_word(wave.state), wave.counts, wave.took, wave.remark) if part)
    per_cell = f"; a cell stands for about {wave.per_cell} targets" if wave.per_cell > 1 else ""
    drawn = "".join(
        f'<svg><title>{text(_title(wave, place))}</title><use href="#phase-{phase}"/></svg>'
        for place, phase in enumerate(wave.cells)
    )
    row = f'<div class="cells" role="img" aria-label="{text(label(wave))}">{drawn}</div>' if drawn else ""
    seen = f'<p class="soft">{text(counted(wave))}</p>' if wave.cells and wave.per_cell == 1 else ""
    caption = f"<figcaption><h3>{text(wave.name)}</h3> <span>{text(told + per_cell)}</span></figcaption>"
    return f"<figure>{caption}{row}{seen}</figure>"


def _title(wave: WavePicture, place: int) -> str:
    """What a cell says when it is pointed at."""
    name = wave.names[place] if place < len(wave.names) else f"target {place + 1}"
    return f"{name}: {cells.word(wave.cells[place])}"


def _legend(picture: Picture) -> str:
    entries = "".join(
        f'<li><svg aria-hidden="true"><use href="#phase-{phase}"/></svg>{cells.word(phase)}</li>'
        for phase in picture.shown
    )
    return f'<ul class="legend" aria-label="Legend">{entries}</ul>' if entries else ""


def _targets(title: str, column: str, targets: tuple[TargetLine, ...], more: int) -> Iterable[str]:
    if not targets:
        return
    rows = "".join(
        f"<tr><td>{text(target.name)}</td><td>{cells.word(target.phase)}</td>"
        f"<td>{text(target.since)}</td><td>{text(target.says)}</td></tr>"
        for target in targets
    )
    rest = f'<p class="soft">and {more} more</p>' if more else ""
    titles = "".join(f'<th scope="col">{name}</th>' for name in ("Target", "Phase", column, "Message"))
    table = f"<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"
    yield f'<h2>{title}</h2><div class="scroll">{table}</div>{rest}'
