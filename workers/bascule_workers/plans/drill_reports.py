"""The report of a drill as one HTML page: no script, nothing fetched, light, dark and printable. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from bascule_api.dr_drill_status import DrillStatus, DrillVerdict, PastDrill
from bascule_workers.dr_drills import ReportRequest
from bascule_workers.plans import drill_pictures as pictures
from bascule_workers.plans.drill_pictures import moment, span, text

_PALETTE = """\
--paper:#ffffff;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--bar:#6e7781;--onbar:#ffffff;
--work:#0969da;--good:#1a7f37;--bad:#cf222e;--warn:#9a6700"""
_DARK = """\
--paper:#0d1117;--ink:#e6edf3;--soft:#9198a1;--line:#30363d;--bar:#8b949e;--onbar:#0d1117;
--work:#4493f8;--good:#3fb950;--bad:#f85149;--warn:#d29922"""
_STYLE = f"""\
:root{{color-scheme:light dark;{_PALETTE}}}
@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
body{{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}}
main{{max-width:60rem;margin:0 auto;padding:1.5rem 1rem 3rem;overflow-wrap:anywhere}}
h1{{font-size:1.4rem;margin:0}} h2{{font-size:1.05rem;margin:2rem 0 .4rem}} p{{margin:.2rem 0}}
.soft,dt,.figures span{{color:var(--soft)}} .verdict{{font-size:1.2rem;font-weight:600;margin:.6rem 0 .2rem}}
.Met{{color:var(--good)}} .Missed{{color:var(--bad)}} .Inconclusive{{color:var(--warn)}}
.figures{{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.8rem;margin:1rem 0}}
.figures div{{border:1px solid var(--line);border-radius:8px;padding:.6rem .8rem}}
.figures b{{display:block;font-size:1.5rem;line-height:1.3}} .figures span{{font-size:.85rem}}
dl{{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:.6rem 0}}
dd{{margin:0}} code,dd{{font-variant-numeric:tabular-nums}}
.scroll{{overflow-x:auto}} table{{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}}
th,td{{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line)}}
td{{min-width:6rem}} .picture{{width:100%;height:auto;display:block;margin:.4rem 0}}
.picture text{{fill:var(--ink);font-size:13px}} .picture .small{{font-size:11.5px;paint-order:stroke;
stroke:var(--paper);stroke-width:3px}} .picture .soft{{fill:var(--soft)}}
.picture .onbar{{fill:var(--onbar);stroke:none}} .grid{{stroke:var(--line);fill:none}} .bar{{fill:var(--bar)}}
.bar.restore{{fill:var(--work)}} .bar.good{{fill:var(--good)}} .bar.bad{{fill:var(--bad)}} .bar.warn{{fill:var(--warn)}}
.limit{{fill:none;stroke-width:1.5}} .limit.objective{{stroke:var(--ink);stroke-dasharray:5 4}}
.limit.good{{stroke:var(--good)}} .limit.bad{{stroke:var(--bad)}}
.picture text.good{{fill:var(--good)}} .picture text.bad{{fill:var(--bad)}} .picture text.warn{{fill:var(--warn)}}
.probe.required{{fill:var(--ink)}} .probe.optional{{fill:var(--paper);stroke:var(--ink)}}
@media (max-width:34rem){{dl{{display:block}} dd{{margin:0 0 .4rem}}}}
@media print{{:root{{{_PALETTE}}} main{{max-width:none;padding:0}} figure,tr,svg,.figures{{break-inside:avoid}}
h2{{break-after:avoid}} *{{print-color-adjust:exact;-webkit-print-color-adjust:exact}}}}"""

_UNKNOWN = "—"


def page(request: ReportRequest) -> str:
    """The whole page."""
    run, drill = request.run, request.drill
    title = f"DRDrill {run.name} in {run.namespace}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        # Whatever got into the page: a browser runs and fetches nothing.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{text(title)}: {drill.verdict or 'no verdict'}</title><style>{_STYLE}</style>"
        # The same figures for programs; a data block runs nothing.
        f'<script type="application/json" id="drill">{_data(request)}</script></head>\n<body><main>\n'
        + "\n".join(_parts(request, title))
        + "\n</main></body></html>\n"
    )


def _data(request: ReportRequest) -> str:
    told = {"run": request.run.to_wire(), "drill": request.drill.to_wire(), "objectives": _objectives(request)}
    # Nothing in it may end the element.
    return json.dumps(told, sort_keys=True).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _objectives(request: ReportRequest) -> dict[str, int]:
    objectives = request.spec.objectives
    given = {"rtoSeconds": objectives.rto, "rpoSeconds": objectives.rpo}
    return {name: value.seconds for name, value in given.items() if value is not None}


def _parts(request: ReportRequest, title: str) -> Iterable[str]:
    drill, objectives = request.drill, request.spec.objectives
    yield f'<h1>{text(title)}</h1><p class="soft">run {request.run.number}, {_when(request)}</p>'
    yield _verdict(drill, request.failure)
    yield _figures(request)
    if picture := pictures.timeline(drill, objectives):
        yield f"<h2>Timeline</h2><figure>{picture}</figure>"
    if picture := pictures.recovery_point(drill, objectives):
        yield f"<h2>Recovery point</h2><figure>{picture}</figure>"
    yield from _probes(request)
    yield from _trend(request)
    yield from _teardown(drill)
    yield from _approvals(request)
    yield from _provenance(request)


def _when(request: ReportRequest) -> str:
    if not request.started:
        return "not begun"
    started = datetime.fromtimestamp(request.started, UTC)
    took = f", took {span(request.finished - request.started)}" if request.finished else ""
    return f"{moment(started)}{took}"


def _verdict(drill: DrillStatus, failure: str) -> str:
    verdict = drill.verdict or DrillVerdict.INCONCLUSIVE
    reason = f' <span class="soft">{drill.reason}</span>' if drill.reason else ""
    said = "".join(f"<p>{text(line)}</p>" for line in dict.fromkeys((drill.message, failure)) if line)
    return f'<p class="verdict {verdict}">{verdict}{reason}</p>{said}'


def _figures(request: ReportRequest) -> str:
    drill, objectives = request.drill, request.spec.objectives
    waited = (drill.rto_gross_seconds or 0) - (drill.rto_seconds or 0)
    gross = f"gross {span(drill.rto_gross_seconds)}" if waited > 0 and drill.rto_gross_seconds is not None else ""
    boxes = (
        ("Recovery time (RTO)", drill.rto_seconds, objectives.rto, gross),
        ("Recovery point (RPO)", drill.rpo_seconds, objectives.rpo, moment(drill.recovery_point)),
    )
    parts = []
    for name, seconds, objective, besides in boxes:
        value = span(seconds) if seconds is not None else _UNKNOWN
        met = "" if seconds is None or objective is None else ("Met" if seconds <= objective.seconds else "Missed")
        aim = f"objective {objective}" if objective is not None else "no objective"
        lines = "".join(f"<span>{text(line)}</span><br>" for line in (aim, besides) if line)
        parts.append(f'<div>{name}<b class="{met}">{value}</b>{lines}</div>')
    passed = sum(1 for probe in drill.probes if probe.passed_at)
    parts.append(
        f"<div>Probes passed<b>{passed} of {len(request.spec.probes)}</b>"
        f"<span>{sum(probe.required for probe in request.spec.probes)} required</span></div>"
    )
    left = len(drill.left)
    parts.append(
        f'<div>Left behind<b class="{"Missed" if left else ""}">{left}</b><span>objects after teardown</span></div>'
    )
    return f'<div class="figures">{"".join(parts)}</div>'


def _probes(request: ReportRequest) -> Iterable[str]:
    seen = {probe.name: probe for probe in request.drill.probes}
    zero = request.drill.declared_at
    rows = []
    for probe in request.spec.probes:
        found = seen.get(probe.name)
        passed = found.passed_at if found else None
        after = span((passed - zero).total_seconds()) if passed and zero else ""
        kind = (
            "HTTP"
            if probe.http
            else "TCP"
            if probe.tcp
            else f"Procedure {probe.procedure.name}"
            if probe.procedure
            else ""
        )
        verdict = "passed" if passed else "did not pass" if found else "not asked"
        rows.append(
            (
                probe.name,
                kind,
                "yes" if probe.required else "no",
                verdict,
                moment(passed),
                after,
                found.message if found else "",
            )
        )
    yield "<h2>Probes</h2>" + _table(("Probe", "Kind", "Required", "Verdict", "At", "After", "Message"), rows)


def _trend(request: ReportRequest) -> Iterable[str]:
    """Over the history and this drill, the oldest first."""
    drill = request.drill
    own = PastDrill(
        number=request.run.number,
        **{name: getattr(drill, name) for name in ("verdict", "reason", "rto_seconds", "rpo_seconds")},
    )
    drills = [*reversed([past for past in request.history if past.number != own.number]), own]
    objectives = request.spec.objectives
    shown = [
        (name, pictures.trend(drills, field, objective.seconds if objective else None))
        for name, field, objective in (
            ("Recovery time", "rto_seconds", objectives.rto),
            ("Recovery point", "rpo_seconds", objectives.rpo),
        )
    ]
    for name, picture in shown:
        if picture:
            yield f"<h2>{name} over the last drills</h2><figure>{picture}</figure>"
    if len(drills) > 1:
        rows = [
            (
                str(past.number),
                moment(past.finished_at) or ("this drill" if past is own else ""),
                past.verdict or _UNKNOWN,
                past.reason or "",
                span(past.rto_seconds) if past.rto_seconds is not None else _UNKNOWN,
                span(past.rpo_seconds) if past.rpo_seconds is not None else _UNKNOWN,
                past.report or "",
            )
            for past in reversed(drills)
        ]
        yield _table(("Run", "Finished", "Verdict", "Reason", "RTO", "RPO", "Report"), rows)


def _teardown(drill: DrillStatus) -> Iterable[str]:
    yield f"<h2>Teardown</h2><p>Namespace <code>{text(drill.namespace)}</code></p>"
    if drill.searched:
        there = [found for found in drill.searched if found.before or found.after]
        yield _table(("Kind", "Before", "After"), [(item.kind, str(item.before), str(item.after)) for item in there])
        if none := ", ".join(found.kind for found in drill.searched if not found.before and not found.after):
            yield f'<p class="soft">Searched for as well, and none was there: {text(none)}.</p>'
    if drill.left:
        yield (
            '<p class="Missed">Still there:</p><ul>'
            + "".join(f"<li>{text(left)}</li>" for left in drill.left)
            + "</ul>"
        )
    elif not drill.searched:
        yield '<p class="soft">Nothing was made.</p>'


def _approvals(request: ReportRequest) -> Iterable[str]:
    if request.approvals:
        yield "<h2>Approvals</h2><ul>" + "".join(f"<li>{text(line)}</li>" for line in request.approvals) + "</ul>"


def _provenance(request: ReportRequest) -> Iterable[str]:
    drill, plan = request.drill, request.plan
    facts = [
        ("disaster declared", moment(drill.declared_at)),
        ("recovery point claimed", moment(drill.recovery_point)),
        ("data seen up to", moment(drill.data_as_of)),
        ("backup", drill.backup),
        ("plan", plan.digest if plan else ""),
        ("manifests", plan.revision if plan else ""),
        ("spec revision", request.revision),
        *((f"Procedure {name}", f"sha256:{digest}") for name, digest in sorted(request.procedures.items())),
        ("tenant", request.tenant.name),
        ("workflow", " ".join(part for part in (request.workflow_id, request.workflow_run_id) if part)),
        ("version", request.version),
        ("resource", request.run.uid),
    ]
    rows = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in facts if value)
    yield f"<h2>Versions and digests</h2><dl>{rows}</dl>"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
