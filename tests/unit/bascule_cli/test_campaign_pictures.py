"""The picture of a campaign: in terminals of any width, as SVG, and as a page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from bascule_api.fleets import CELLS, TargetPhase
from bascule_api.patch_campaign_status import WaveState
from bascule_cli.resources import Item
from bascule_cli.verbs.campaigns import over, succeeded
from bascule_cli.views import cells
from bascule_cli.views.campaigns import Canvas, line, lines
from bascule_cli.views.drawings import drawing
from bascule_cli.views.pages import page
from bascule_cli.views.pictures import Picture, picture
from bascule_cli.views.wording import Speech
from tests.support.campaign_items import DIGEST, RUN, TARGETS, WAVES, campaign, failed, unplanned, waiting
from tests.support.items import NOW, with_metadata, with_spec

SPEECH = Speech("kubectl bascule")
HOSTILE = '</svg></title><script>alert(1)</script>"onload=\x1b[2J\u202e\x00&amp;'
SVG = "{http://www.w3.org/2000/svg}"


def made(item: Item) -> Picture:
    return picture(item, SPEECH, NOW)


def drawn(item: Item, canvas: Canvas | None = None) -> list[str]:
    return [text.plain for text in lines(made(item), canvas or Canvas(100))]


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - we wrote it, and the parser is Python's own, without entities from outside


def hostile() -> Item:
    """Whatever a tenant can name or say is an attack."""
    targets: dict[str, Any] = {
        "total": 1,
        "inProgress": [{"name": HOSTILE, "phase": "Patching", "message": HOSTILE}],
        "failures": [{"name": HOSTILE, "phase": "Patching", "message": HOSTILE}],
    }
    waits = {"gate": f"{HOSTILE}/x", "kind": "Check", "detail": HOSTILE, "subject": HOSTILE}
    left = {"state": "Failed", "lastError": HOSTILE, "left": [HOSTILE]}
    waves = [{"name": HOSTILE, "total": 1, "cells": "p", "names": [HOSTILE]}]
    run = RUN | {"url": "javascript:alert(1)"}
    return campaign(targets=targets, waves=waves, waitingFor=waits, compensation=left, run=run)


class TestTerminal:
    def test_a_campaign_in_mid_flight(self) -> None:
        assert drawn(campaign()) == [
            "PatchCampaign/web-nodes in acme-dev  Running  run 3, for 20m",
            "  targets  3 of 40 patched (7 %), 1 failed",
            "  patch    apt-upgrade, taken back by apt-rollback",
            "  stops    when more than 1 fail: then roll the wave back",
            "  windows  Mon Tue 22:00-05:00 Europe/Berlin",
            f"  plan     {DIGEST}",
            "  says     run 3: wave staged",
            "",
            "✓ canary  Succeeded  1 of 1 patched  2m50s",
            "    ■",
            "▸ staged  Running  2 of 6 patched, 1 failed  12m",
            "    ■■✗dp·",
            "· fleet  Pending  0 of 33 patched  10% at a time",
            "    ·········· ·········· ·········· ···",
            "",
            "· pending   d draining   p patching   ■ patched   ✗ failed",
            "",
            "At work",
            "  node-31  draining  2m13s",
            "    pod acme-dev/web-1 stays: the PodDisruptionBudget web allows no disruption",
            "  node-05  patching  40s",
            "",
            "Failed",
            "  node-29  patching  rolled back  apt-upgrade ended with exit code 100: unmet dependencies",
        ]

    def test_before_there_is_a_plan_the_waves_are_those_of_the_spec(self) -> None:
        assert drawn(unplanned())[-3:] == [
            "· canary  Pending  up to 1  1 at a time, soaks 10m",
            "· staged  Pending  up to 10% of all  2 at a time, needs an Approval",
            "· fleet  Pending  the rest  10% at a time",
        ]

    @pytest.mark.parametrize(
        ("kind", "gate", "said"),
        [
            pytest.param("Approval", "staged", "waits for an Approval (at most 23h58m more)", id="an approval"),
            pytest.param("Soak", "staged", "soaks (over in 23h58m)", id="a soak"),
            pytest.param("Window", "staged", "waits for its window (opens in 23h58m)", id="a window"),
            pytest.param("Check", "staged/errors", "asks its gate errors (at most 23h58m more)", id="a gate"),
            pytest.param("Lease", "staged", "waits: Lease (at most 23h58m more)", id="whatever else"),
        ],
    )
    def test_a_wave_counts_down(self, kind: str, gate: str, said: str) -> None:
        (wave,) = [text for text in drawn(waiting(kind, gate, until="2026-11-23T06:30:00Z")) if "staged  " in text]
        assert wave == f"◔ staged  Waiting  0 of 6 patched  12m  {said}"

    def test_an_approval_comes_with_what_to_type(self) -> None:
        assert drawn(waiting("Approval", "staged", subject=DIGEST))[-2:] == [
            "    kubectl bascule campaign plan web-nodes -n acme-dev",
            "    kubectl bascule approve web-nodes -n acme-dev",
        ]

    def test_what_was_not_taken_back_is_listed(self) -> None:
        left = {"state": "Failed", "completed": 3, "total": 4, "lastError": "no answer", "left": ["node/node-31"]}
        assert drawn(failed("TooManyFailures", compensation=left))[-3:] == [
            "  taking back  Failed, 3 of 4 done",
            "  last error   no answer",
            "  left         node/node-31",
        ]

    def test_a_failure_is_said_once(self) -> None:
        text = "\n".join(drawn(failed("TooManyFailures")))
        assert text.count("2 of 40 targets failed") == 1

    def test_names_that_are_not_in_the_status_are_counted(self) -> None:
        rows = [{"name": f"node-{number}", "phase": "Patching"} for number in range(10)]
        waves = [{"name": "fleet", "state": "Running", "total": 12, "cells": "p" * 12}]
        assert "  and 2 more" in drawn(campaign(waves=waves, targets=TARGETS | {"inProgress": rows}))

    def test_large_waves_say_what_a_sign_stands_for(self) -> None:
        waves = [{"name": "fleet", "state": "Running", "total": 4_750, "cells": "." * 256}]
        (wave,) = [text for text in drawn(campaign(waves=waves)) if "fleet" in text]
        assert wave.endswith("a sign stands for 19 targets")

    @pytest.mark.parametrize("width", [36, 48, 60, 80, 120, 200])
    def test_it_fits(self, width: int) -> None:
        shown = drawn(waiting("Approval", "staged", detail="two words " * 30), Canvas(width))
        # Only what people copy is longer than a terminal is wide: names, digests, commands.
        long = [text for text in shown if cell_len(text) > width]
        assert all(DIGEST in text or text.startswith("    kubectl ") or " " not in text.strip() for text in long)

    def test_names_stay_whole_where_there_is_no_room_beside_them(self) -> None:
        name = f"ip-10-0-0-1.{'x' * 40}.compute.internal"
        rows = [{"name": name, "phase": "Draining", "message": "a pod stays"}]
        shown = drawn(campaign(targets=TARGETS | {"inProgress": rows}), Canvas(40))
        place = shown.index(f"  {name}")
        assert shown[place + 1 : place + 3] == ["    draining", "    a pod stays"]

    def test_ascii_stands_for_signs_that_cannot_be_printed(self) -> None:
        text = "\n".join(drawn(campaign(), Canvas(100, ascii_only=True)))
        assert text.isascii()
        assert "    PPFdp.\n" in text

    def test_in_a_pipe_it_is_one_line(self) -> None:
        assert line(made(waiting("Soak", "canary"))) == (
            "acme-dev/PatchCampaign/web-nodes  Waiting  1 of 40 patched (2 %)  "
            "canary=Succeeded staged=Waiting fleet=Pending  waits for Soak at canary"
        )

    def test_what_tenants_wrote_is_no_command_to_a_terminal(self) -> None:
        text = "".join(drawn(hostile())) + line(made(hostile()))
        assert not set("\x1b\u202e\x00") & set(text)

    def test_signs_differ_without_colour(self) -> None:
        for ascii_only in (False, True):
            signs = [cells.sign(phase, ascii_only=ascii_only) for phase in TargetPhase]
            assert len(set(signs)) == len(signs)
        assert all(cells.wave_sign(state) and cells.wave_style(state) for state in WaveState)

    def test_a_spec_of_another_version_is_drawn_all_the_same(self) -> None:
        assert "✓ canary  Succeeded  1 of 1 patched  2m50s" in drawn(with_spec(campaign(), waves="many"))

    def test_a_status_of_another_version_says_so(self) -> None:
        shown = drawn(campaign(targets={"total": "many"}, phase="Dancing"))
        assert any("too old for the status" in text for text in shown)


class TestDrawing:
    def test_it_has_a_cell_for_each_target_and_a_legend(self) -> None:
        root = parsed(drawing(made(campaign())))
        used = [element.get("href", "").removeprefix("#phase-") for element in root.iter(f"{SVG}use")]
        wanted = [CELLS[sign] for wave in WAVES for sign in wave["cells"]]
        assert used[: len(wanted)] == wanted
        assert set(used[len(wanted) :]) == set(wanted)

    def test_every_phase_has_a_shape_of_its_own(self) -> None:
        waves = [{"name": "all", "total": len(CELLS), "cells": "".join(CELLS)}]
        root = parsed(drawing(made(campaign(waves=waves))))
        shapes = [
            # Without the classes: what is left differs where colours don't.
            re.sub(rb' class="[^"]*"| id="[^"]*"', b"", ET.tostring(symbol))
            for symbol in root.iter(f"{SVG}symbol")
        ]
        assert len(set(shapes)) == len(shapes) == len(CELLS)

    def test_it_is_told_in_words_as_well(self) -> None:
        root = parsed(drawing(made(campaign())))
        title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
        assert title is not None
        assert title.text == "PatchCampaign/web-nodes, Running: 3 of 40 patched (7 %), 1 failed"
        assert description is not None
        assert "Wave staged: Running, 2 of 6 patched, 1 failed. 2 patched, 1 failed, 1 draining" in str(
            description.text
        )

    def test_nothing_is_outside_of_it(self) -> None:
        waves = [{"name": "fleet", "total": 5_000, "cells": "P" * 256}] * 16
        root = parsed(drawing(made(campaign(waves=waves))))
        height = int(root.get("height", "0"))
        assert all(float(element.get("y", "0")) < height for element in root.iter() if element.get("y"))

    def test_tenants_words_stay_words(self) -> None:
        text = drawing(made(hostile()))
        root = parsed(text)
        assert not list(root.iter(f"{SVG}script"))
        assert not [name for element in root.iter() for name in element.attrib if name.startswith("on")]
        assert "javascript:" not in text


class Reader(HTMLParser):
    """What a browser sees of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


class TestPage:
    def test_it_fetches_and_runs_nothing(self) -> None:
        seen = Reader(page(made(campaign())))
        assert not {"script", "link", "img", "iframe", "object"} & set(seen.tags)
        assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in seen.attributes
        loaded = [
            value for name, value in seen.attributes if name in ("src", "href") and not str(value).startswith("#")
        ]
        assert loaded == [RUN["url"]]

    def test_tenants_words_stay_words(self) -> None:
        seen = Reader(page(made(hostile())))
        assert "script" not in seen.tags
        assert not [name for name, _ in seen.attributes if name.startswith("on")]
        assert not [value for name, value in seen.attributes if name == "href" and not str(value).startswith("#")]

    def test_it_says_what_is_seen(self) -> None:
        text = "".join(Reader(page(made(waiting("Approval", "staged", subject=DIGEST)))).words)
        for words in ("waits for an Approval", "6 pending", "kubectl bascule approve web-nodes -n acme-dev", DIGEST):
            assert words in text

    def test_rows_of_cells_have_a_label(self) -> None:
        labels = [value for name, value in Reader(page(made(campaign()))).attributes if name == "aria-label"]
        assert "Wave canary: Succeeded, 1 of 1 patched. 1 patched" in labels

    @settings(deadline=None, max_examples=50)
    @given(st.text())
    def test_any_text_stays_text(self, text: str) -> None:
        rows = [{"name": text[:253], "phase": "Patching", "message": text[:200]}]
        item = campaign(targets=TARGETS | {"inProgress": rows, "failures": []})
        plain = campaign(targets=TARGETS | {"inProgress": [rows[0] | {"name": "x", "message": "y"}], "failures": []})
        assert Reader(page(made(item))).tags == Reader(page(made(plain))).tags
        parsed(drawing(made(item)))


class TestEnd:
    @pytest.mark.parametrize(
        ("item", "ended", "well"),
        [
            pytest.param(campaign(), False, False, id="it runs"),
            pytest.param(waiting("Soak", "canary"), False, False, id="it waits"),
            pytest.param(unplanned(), False, False, id="nobody has looked at it"),
            pytest.param(failed("GateFailed"), True, False, id="it failed"),
            pytest.param(
                campaign(phase="Succeeded", run=RUN | {"outcome": "Succeeded"}), True, True, id="it succeeded"
            ),
            pytest.param(
                campaign(phase="Succeeded", run=RUN | {"outcome": "Succeeded"}, compensation={"state": "Failed"}),
                True,
                False,
                id="it succeeded and something could not be released",
            ),
            pytest.param(campaign(phase="Rejected", run=None), True, False, id="it was rejected"),
            pytest.param(
                with_metadata(failed("GateFailed"), generation=2), False, False, id="the spec changed after its end"
            ),
            pytest.param(
                with_metadata(failed("GateFailed"), deletionTimestamp="2026-11-22T06:31:30Z"),
                False,
                False,
                id="it is being deleted",
            ),
        ],
    )
    def test_watching_ends_with_the_run(self, item: Item, ended: bool, well: bool) -> None:
        assert over(item) is ended
        assert (over(item) and succeeded(item)) is well
