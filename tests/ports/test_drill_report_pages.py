"""A drill's report in a real browser: rendered, with the right numbers, in light and dark, on a phone and on paper."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bascule_api.dr_drill_specs import PROBES_LIMIT, DRDrillSpec, Probe
from bascule_api.dr_drill_status import PastDrill, ProbeStatus
from bascule_workers.plans import drill_reports
from tests.support import pictures
from tests.support.browser import Page, opened
from tests.support.drill_reports import DRILL, HISTORY, SPEC, after, request

pytestmark = pytest.mark.xdist_group("browser")

HOSTILE = "</script><script>document.title = 'taken'</script><img src=//127.0.0.1:9/x onerror=document.title='taken'>"


def rendered(tmp_path: Path, **fields: object) -> Path:
    file = tmp_path / "report.html"
    file.write_text(drill_reports.page(request(**fields)), encoding="utf-8")
    return file


def quiet(page: Page, file: Path) -> None:
    """It says nothing to the console, and asks nobody for anything."""
    assert page.errors == []
    assert page.requested == [file.as_uri()]


def overflowing(page: Page, width: int) -> int:
    """By how many pixels the page is wider than the window."""
    page.show(width=width)
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def test_a_report_is_shown_with_its_numbers_in_light_and_dark(tmp_path: Path) -> None:
    file = rendered(tmp_path)

    with opened(file) as page:
        light, dark = (page.screenshot(scheme, width=900, scale=0.1) for scheme in ("light", "dark"))
        shown = page.text

        assert page.evaluate("document.title") == "DRDrill orders in acme-prod: Met"
        assert page.evaluate("document.querySelectorAll('svg.picture').length") == 4
        quiet(page, file)

    for figure in ("4m12s", "objective 5m", "gross 5m12s", "7m", "objective 15m", "2 of 3", "sha256:" + "c" * 64):
        assert figure in shown
    assert pictures.brightness(light) > 0.85
    assert pictures.brightness(dark) < 0.25


def test_bars_and_lines_are_where_the_figures_say(tmp_path: Path) -> None:
    with opened(rendered(tmp_path)) as page:
        where = page.evaluate(
            """Object.fromEntries([...document.querySelectorAll('svg.picture')[0].querySelectorAll('.bar')].map(
                bar => [bar.textContent.split(':')[0], [bar.getBBox().x, bar.getBBox().x + bar.getBBox().width]]))"""
        )
        objective = page.evaluate("document.querySelector('.limit.objective').getBBox().x")
        recovered = page.evaluate("document.querySelector('.limit.good').getBBox().x")

    scale = (where["restore"][1] - where["restore"][0]) / 170
    zero = where["restore"][0] - 110 * scale
    assert where["validate"] == pytest.approx([zero + 280 * scale, zero + 315 * scale], abs=0.5)
    # Five minutes, and the minute that people took.
    assert objective == pytest.approx(zero + 360 * scale, abs=0.5)
    assert recovered == pytest.approx(zero + 312 * scale, abs=0.5)


def test_a_report_is_printed_whole_and_dark_on_white(tmp_path: Path) -> None:
    with opened(rendered(tmp_path)) as page:
        printed = page.pdf()
        page.show("dark", media="print")
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")

    text = subprocess.run(["pdftotext", "-layout", "-", "-"], input=printed, capture_output=True, check=True)
    words = text.stdout.decode()
    for figure in ("DRDrill orders in acme-prod", "4m12s", "Teardown", "Versions and digests", "drdrill/u/10"):
        assert figure in words
    assert paper == "rgb(255, 255, 255)"


@pytest.mark.parametrize("width", [360, 1280])
def test_the_longest_report_fits_its_window(tmp_path: Path, width: int) -> None:
    probes = [
        Probe.model_validate({"name": f"{number}-{'p' * 37}", "tcp": {"service": "s" * 63, "port": 1}})
        for number in range(PROBES_LIMIT)
    ]
    spec = DRDrillSpec.model_validate({**SPEC.to_wire(), "probes": [probe.to_wire() for probe in probes]})
    statuses = [ProbeStatus(name=probe.name, passed_at=after(300), message="m" * 256) for probe in probes]
    drill = DRILL.model_copy(update={"probes": statuses, "message": "x" * 256, "left": ["l" * 256] * 20})
    history = [PastDrill(number=number, **HISTORY[1].model_dump(exclude={"number"})) for number in range(900, 880, -1)]

    with opened(rendered(tmp_path, spec=spec, drill=drill, history=history)) as page:
        assert overflowing(page, width) == 0


def test_what_tenants_wrote_runs_nothing(tmp_path: Path) -> None:
    drill = DRILL.model_copy(update={"message": HOSTILE, "backup": HOSTILE, "left": [HOSTILE]})
    file = rendered(tmp_path, drill=drill, failure=HOSTILE, approvals=[HOSTILE])

    with opened(file) as page:
        assert page.evaluate("document.title") == "DRDrill orders in acme-prod: Met"
        assert page.text.count("onerror=document.title='taken'") == 4
        quiet(page, file)
