"""What a run writes down on a node bears dying at any point, and stays where it belongs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bascule_workers.in_step.contract import ExitCode, Step, StepError
from bascule_workers.on_node.host import Host
from bascule_workers.on_node.records import Change, Records, records_of, step_name

RUN = "8f1c-33/2"


def records(root: Path, run: str = RUN) -> Records:
    return records_of(Step({"BASCULE_RUN": run}), Host(root, enter=()))


def test_the_first_record_of_a_run_stays(tmp_path: Path) -> None:
    assert not records(tmp_path).exists()
    records(tmp_path).keep_first({"web": "1.0"})
    assert records(tmp_path).keep_first({"web": "1.1"}) == {"web": "1.0"}
    assert records(tmp_path).exists()
    assert (tmp_path / "var/lib/bascule" / RUN / "packages-before.json").exists()


def test_another_run_has_a_record_of_its_own(tmp_path: Path) -> None:
    records(tmp_path).keep_first({"web": "1.0"})
    assert records(tmp_path, "8f1c-33/3").keep_first({"web": "1.1"}) == {"web": "1.1"}


def test_half_a_record_counts_as_none(tmp_path: Path) -> None:
    made = records(tmp_path)
    made.folder.mkdir(parents=True)
    (made.folder / ".packages-before.json.partial").write_text('{"web"')
    assert not made.exists()
    assert made.keep_first({"web": "1.0"}) == {"web": "1.0"}


def test_of_a_package_that_is_changed_twice_the_first_version_counts(tmp_path: Path) -> None:
    made = records(tmp_path)
    made.intend([Change("web", "1.0", "1.1")], "boot-1")
    made.intend([Change("web", "1.1", "1.2"), Change("new", "", "1")], "boot-2")
    assert made.intended() == [Change("web", "1.0", "1.2"), Change("new", "", "1")]
    assert made.changed_under() == "boot-2"


def test_a_request_to_reboot_is_one_of_a_step(tmp_path: Path) -> None:
    made = records(tmp_path)
    made.asks_to_reboot("wave-canary", "boot-1")
    assert made.asked_to_reboot("wave-canary") == "boot-1"
    assert made.asked_to_reboot("rollback") == ""


def test_older_runs_are_forgotten_and_never_ones_own(tmp_path: Path) -> None:
    for number in range(1, 6):
        folder = records(tmp_path, f"8f1c-33/{number}").folder
        folder.mkdir(parents=True)
        os.utime(folder, (number, number))
    records(tmp_path, "8f1c-33/1").forget_others(keep=2)
    assert sorted(path.name for path in (tmp_path / "var/lib/bascule/8f1c-33").iterdir()) == ["1", "4", "5"]


@pytest.mark.parametrize("run", ["../../etc/1", "a/b/c", "a", "a/../1", "/1", "a/1\n", ""])
def test_a_run_that_is_no_folder_is_refused(tmp_path: Path, run: str) -> None:
    with pytest.raises(StepError) as raised:
        records(tmp_path, run)
    assert raised.value.report.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", ""])
def test_a_step_that_is_no_file_is_refused(name: str) -> None:
    with pytest.raises(StepError):
        step_name(Step({"BASCULE_STEP_NAME": name}), "upgrade")


def test_what_a_patch_and_its_rollback_ask_for_within_one_step_is_told_apart(tmp_path: Path) -> None:
    step, made = Step({"BASCULE_STEP_NAME": "wave-canary"}), records(tmp_path)
    made.asks_to_reboot(step_name(step, "upgrade"), "boot-1")
    assert made.asked_to_reboot(step_name(step, "upgrade")) == "boot-1"
    assert made.asked_to_reboot(step_name(step, "rollback")) == ""


def test_a_link_out_of_the_nodes_root_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "var").mkdir(parents=True)
    (root / "var/lib").symlink_to("/var/tmp")
    with pytest.raises(StepError, match="absolute symbolic link"):
        records(root)
