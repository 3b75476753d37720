"""The report of a drill: the right numbers, the right verdict, and nothing that a browser would run or fetch."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from bascule_api.dr_drill_status import DrillPhase, DrillStatus, DrillVerdict, ProbeStatus, VerdictReason
from bascule_workers.plans import drill_pictures, drill_reports
from bascule_workers.plans.drill_pictures import Lane
from tests.support.drill_reports import DRILL, HISTORY, SPEC, after, request

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\u202e"


class Reader(HTMLParser):
    """The text of a page, and what its elements are."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"style", "script", "title"} & set(self._inside):
            self.words.append(data.strip())


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_it_tells_the_figures_of_the_drill() -> None:
    words = " ".join(word for word in read(drill_reports.page(request())).words if word)

    for figure in (
        "DRDrill orders in acme-prod",
        "run 10, 2026-11-22 03:00:02 UTC, took 5m43s",
        "Met ObjectivesMet",
        "Recovery time (RTO) 4m12s objective 5m gross 5m12s",
        "Recovery point (RPO) 7m objective 15m 2026-11-22 02:53:00 UTC",
        "Probes passed 2 of 3 2 required",
        "Left behind 0",
        "orders Procedure sql-probe yes passed 2026-11-22 03:05:12 UTC 5m12s 42 orders",
        "cache TCP no did not pass connection refused",
        "Pod 5 0",
        "declare: approved by mara@example.com: quarterly drill",
        f"plan sha256:{'c' * 64}",
    ):
        assert figure in words


def test_programs_find_the_same_figures_in_it() -> None:
    found = re.search(r'<script type="application/json" id="drill">(.*?)</script>', drill_reports.page(request()))

    assert found is not None
    told = json.loads(found[1])
    assert (told["drill"]["rtoSeconds"], told["drill"]["rpoSeconds"]) == (252, 420)
    assert told["objectives"] == {"rtoSeconds": 300, "rpoSeconds": 900}


def test_what_tenants_wrote_is_text_and_nothing_else() -> None:
    drill = DRILL.model_copy(
        update={
            "message": HOSTILE,
            "backup": HOSTILE,
            "left": [HOSTILE],
            "probes": [ProbeStatus(name="orders", message=HOSTILE)],
        }
    )

    reader = read(drill_reports.page(request(drill=drill, approvals=[HOSTILE], failure=HOSTILE)))

    scripts = [attributes for tag, attributes in reader.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "drill"}]
    assert not [tag for tag, _ in reader.elements if tag in ("img", "link", "iframe", "object", "a")]
    assert "".join(reader.words).count("onerror=alert(1)") == 5
    assert not re.search(r"[\x1b\u202e]", "".join(reader.words))


@pytest.mark.parametrize(
    ("verdict", "reason", "rto"),
    [
        pytest.param(DrillVerdict.MISSED, VerdictReason.RTO_EXCEEDED, 301, id="too late"),
        pytest.param(DrillVerdict.INCONCLUSIVE, VerdictReason.ISOLATION_NOT_ENFORCED, None, id="never measured"),
        pytest.param(None, None, None, id="ended before there was a verdict"),
    ],
)
def test_a_drill_that_did_not_meet_its_objectives_never_looks_as_if(
    verdict: DrillVerdict | None, reason: VerdictReason | None, rto: int | None
) -> None:
    update = {"verdict": verdict, "reason": reason, "rto_seconds": rto, "rto_gross_seconds": rto, "rto": ""}

    page = drill_reports.page(request(drill=DRILL.model_copy(update=update), history=[]))

    assert f'<p class="verdict {verdict or DrillVerdict.INCONCLUSIVE}">' in page
    assert f"<title>DRDrill orders in acme-prod: {verdict or 'no verdict'}</title>" in page
    assert '<p class="verdict Met">' not in page


def test_a_drill_of_which_nothing_is_known_has_a_report_too() -> None:
    words = read(drill_reports.page(request(drill=DrillStatus(), history=[], plan=None, started=0, finished=0))).words

    assert {"run 10, not begun", "Nothing was made.", "not asked"} <= set(words)


def test_the_timeline_has_a_lane_for_each_part_that_began() -> None:
    open_end = DrillPhase(started_at=after(316))
    timeline = DRILL.timeline.model_copy(update={"decide": None, "teardown": open_end})

    assert drill_pictures.lanes(DRILL.model_copy(update={"timeline": timeline})) == [
        Lane("provision", 65, 110),
        Lane("restore", 110, 280),
        Lane("validate", 280, 315),
        Lane("teardown", 316, 316, open=True),
    ]


def test_an_objective_far_beyond_the_drill_does_not_shrink_it_to_a_point() -> None:
    objectives = SPEC.objectives.model_validate({"rto": "30d"})

    picture = drill_pictures.timeline(DRILL, objectives)

    assert "RTO objective 30d →" in picture
    widths = [float(width) for width in re.findall(r'class="bar restore"[^>]* width="([0-9.]+)"', picture)]
    assert min(widths, default=0.0) > 50


def test_the_line_of_the_objective_allows_for_the_time_that_people_took() -> None:
    waited = drill_pictures.timeline(DRILL, SPEC.objectives)
    at_once = DRILL.model_copy(update={"rto_gross_seconds": 252})

    # Recovered after 312 s with 60 s of waiting: within five minutes.
    assert 'class="limit good"' in waited
    assert 'class="limit good"' in drill_pictures.timeline(at_once, SPEC.objectives)


def test_the_trend_shows_drills_without_a_figure_as_such() -> None:
    picture = drill_pictures.trend([*reversed(HISTORY)], "rto_seconds", 300)

    assert 'aria-label="RTO of the last drills: run 7: none, run 8: 6m30s, run 9: 4m"' in picture
    assert (picture.count('class="bar bad"'), picture.count('class="bar good"'), picture.count("×")) == (1, 1, 1)


def test_one_figure_is_no_trend() -> None:
    assert drill_pictures.trend([HISTORY[0], HISTORY[2]], "rto_seconds", 300) == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0s"), (59.6, "1m"), (3_661, "1h1m"), (90_000, "1d1h"), (-3, "0s"), (86_400, "1d")]
)
def test_lengths_of_time_have_their_two_largest_units(seconds: float, words: str) -> None:
    assert drill_pictures.span(seconds) == words


def test_moments_are_in_utc_whatever_zone_they_came_in() -> None:
    assert drill_pictures.moment(after(0)) == "2026-11-22 03:00:00 UTC"
