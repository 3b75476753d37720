"""`get`: whole screens, from recorded statuses."""

from __future__ import annotations

from dataclasses import replace

from bascule_api.conditions import CompensationState, ConditionType, Reason
from bascule_cli.resources import Item
from bascule_cli.views.marks import ASCII
from bascule_cli.views.trees import Look, line, tree
from tests.support.items import NOW, condition, recorded, with_metadata

LOOK = Look(now=NOW)


def drawn(*items: Item, look: Look = LOOK) -> list[str]:
    return [text.plain for text in tree(items, replace(look, width=look.width or 62))]


def test_what_runs_is_shown_step_by_step() -> None:
    assert drawn(recorded("running")) == [
        "NAME            PHASE      READY    FOR   SAYS",
        "ib/abandoned    Running    Unknown  1m3s  step test-soak sinc…",
        "├─ ✓ resolve    Succeeded           0s",
        "├─ ✓ build      Succeeded           8s",
        "├─ ▸ test-soak  Running             55s",
        "├─ · sbom       Pending",
        "├─ · sign       Pending",
        "├─ · attest     Pending",
        "├─ · verify     Pending",
        "└─ · publish    Pending",
    ]


def test_what_waits_names_the_gate_in_its_place() -> None:
    assert drawn(recorded("waiting"))[-1] == "└─ ◔ publish  Waiting             7m23s  for Approval, at mos…"


def test_what_is_done_takes_one_line() -> None:
    assert len(drawn(recorded("succeeded"), recorded("cancelled"), recorded("pending"))) == 4


def test_steps_can_be_asked_for() -> None:
    assert len(drawn(recorded("succeeded"), look=replace(LOOK, steps=True))) == 2 + 9


def test_a_failed_step_says_its_last_line() -> None:
    (failed,) = [text for text in drawn(recorded("failed"), look=replace(LOOK, width=200)) if "✗" in text]
    assert failed == "├─ ✗ test-smoke  Failed            4s     [bold red]boo[/bold red]"


def test_what_was_not_taken_back_is_shown() -> None:
    compensation = {"state": CompensationState.FAILED, "completed": 1, "total": 2, "left": ["a:v1"], "lastError": "no"}
    last = drawn(recorded("failed", compensation=compensation), look=replace(LOOK, width=200))[-1]
    assert last.split(maxsplit=4)[-1] == "1 of 2 taken back; left: a:v1; last error: no"


def test_attempts_are_counted() -> None:
    step = {"name": "build", "state": "Running", "attempts": 3, "message": "first\nthe registry is silent"}
    last = drawn(recorded("running", steps=[step]), look=replace(LOOK, width=200))[-1]
    assert last.endswith("attempt 3: the registry is silent")


def test_wide_shows_run_revision_and_facts() -> None:
    heading, first, *rest = drawn(recorded("succeeded"), look=replace(LOOK, wide=True, width=400))
    assert heading.split() == ["NAME", "PHASE", "READY", "FOR", "RUN", "REVISION", "SAYS"]
    assert first.split()[4:6] == ["1", "1-b89215a868"]
    assert [text.split()[1] for text in rest] == ["source", "image", "tags"]


def test_all_namespaces_have_a_column() -> None:
    heading, first, branch, *_ = drawn(recorded("running"), look=replace(LOOK, namespaces=True, width=200))
    assert heading.startswith("NAMESPACE  NAME")
    assert first.startswith("acme-dev   ib/abandoned")
    assert branch.startswith("           ├─ ✓ resolve")


def test_ascii_stands_for_signs_that_cannot_be_printed() -> None:
    text = "\n".join(drawn(recorded("running"), recorded("waiting"), look=replace(LOOK, glyphs=ASCII, width=400)))
    assert text.isascii()


def test_a_deleted_one_says_so() -> None:
    item = with_metadata(recorded("running"), deletionTimestamp="2026-11-22T06:31:00Z")
    assert drawn(item)[1].split()[1] == "Deleting"


def test_what_has_gone_meanwhile_is_named_last() -> None:
    *_, last = [text.plain for text in tree([recorded("succeeded")], LOOK, gone=[recorded("running")])]
    assert last.split() == ["ib/abandoned", "gone", "it", "left", "the", "cluster"]


def test_what_tenants_wrote_is_text() -> None:
    step = {"name": "build", "state": "Failed", "message": "\x1b[2J[red]x[/red]\u202e"}
    text = "\n".join(drawn(recorded("failed", steps=[step]), look=replace(LOOK, width=400)))
    assert "\\x1b[2J[red]x[/red]\\u202e" in text
    assert "\x1b" not in text


def test_a_newer_version_is_named_instead_of_a_wrong_status() -> None:
    assert "too old for the status (phase)" in drawn(recorded("running", phase="New"), look=replace(LOOK, width=200))[1]


def test_one_line_for_logs() -> None:
    assert line(recorded("running"), LOOK) == (
        "acme-dev/ib/abandoned  Running  2/8 test-soak  step test-soak since 2026-11-22T06:31:05Z is running"
    )


SCHEDULE = {
    "timetable": "0 3 * * * Etc/UTC", "next": "2026-11-23T03:00:00Z", "last": "2026-11-22T03:00:00Z", "missed": 2,
    "missedAt": "2026-11-21T03:00:00Z", "missedReason": "Unfinished",
}  # fmt: skip


def test_what_waits_for_its_schedule_says_when_it_is_due() -> None:
    says = [condition(ConditionType.SCHEDULED, "True", Reason.SCHEDULED)]
    waits = recorded("pending", schedule=SCHEDULE, conditions=says, blocked=None)
    assert drawn(waits, look=replace(LOOK, width=200))[1].endswith("the next run is due at 2026-11-23 03:00 UTC")
    held = [condition(ConditionType.SCHEDULED, "False", Reason.SUSPENDED, "nothing starts")]
    held_up = recorded("pending", schedule=SCHEDULE, conditions=held, blocked=None)
    assert drawn(held_up, look=replace(LOOK, width=200))[1].endswith("nothing starts")


def test_wide_shows_how_the_schedule_stands() -> None:
    lines = drawn(recorded("succeeded", schedule=SCHEDULE), look=replace(LOOK, wide=True, width=400))[-4:]
    assert [" ".join(text.split()[1:]) for text in lines] == [
        "schedule 0 3 * * * Etc/UTC",
        "next 2026-11-23 03:00:00 UTC (in 20h28m)",
        "last due 2026-11-22 03:00:00 UTC (3h32m ago)",
        "missed 2, the last 2026-11-21 03:00:00 UTC (1d3h ago) (Unfinished)",
    ]
