"""What a step's container is given, and how it answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bascule_workers.in_step import contract
from bascule_workers.in_step.contract import ExitCode, Report, Step, StepError


def step(folder: Path) -> Step:
    return Step({"BASCULE_PARAMS_DIR": str(folder)})


def test_a_string_is_read_byte_for_byte(tmp_path: Path) -> None:
    hostile = "-x $(reboot) {{ x }} \"'\r\nzweite\n"
    (tmp_path / "template").write_bytes(hostile.encode())
    assert step(tmp_path).text("template") == hostile


def test_an_array_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    (tmp_path / "items").mkdir()
    for number in range(12):
        (tmp_path / "items" / str(number)).write_text(f"item {number}\n")
    assert step(tmp_path).items("items") == tuple(f"item {number}\n" for number in range(12))


def test_an_empty_array_is_not_the_default(tmp_path: Path) -> None:
    (tmp_path / "items").mkdir()
    assert step(tmp_path).items("items", ("default",)) == ()
    assert step(tmp_path).items("other", ("default",)) == ("default",)


@pytest.mark.parametrize(("written", "expected"), [("true", True), ("false", False), (None, False)])
def test_a_boolean_is_true_only_when_it_says_so(tmp_path: Path, written: str | None, expected: bool) -> None:
    if written is not None:
        (tmp_path / "flag").write_text(written)
    assert step(tmp_path).flag("flag") is expected


def test_a_missing_variable_is_wrong_usage() -> None:
    with pytest.raises(StepError, match="BASCULE_RUN is not set") as raised:
        Step({}).variable("BASCULE_RUN")
    assert raised.value.report.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("letter", ["x", "ä", "\n", "\\", "\0"])
def test_a_long_message_gives_way_to_the_results(letter: str) -> None:
    text = Report(letter * 100_000, {"digest": "sha256:abc"}).to_json()
    assert len(text.encode()) <= contract.MESSAGE_LIMIT
    assert json.loads(text)["results"] == {"digest": "sha256:abc"}
    assert json.loads(text)["message"].endswith("…")


def test_a_failure_is_reported_with_what_was_found_out(tmp_path: Path) -> None:
    def program(step: Step) -> Report:
        raise StepError(ExitCode.LEFT_BEHIND, "half of it", {"artifacts": "[]"})

    log = tmp_path / "log"
    assert contract.run(program, {"BASCULE_TERMINATION_LOG": str(log)}) == 40
    assert json.loads(log.read_text()) == {"results": {"artifacts": "[]"}, "message": "half of it"}
