"""Commands on a node: nothing of the pod's reaches them, and a request to stop waits for their end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bascule_workers.in_step.contract import ExitCode, Step, StepError
from bascule_workers.on_node.host import Host, Outcome, host_of


def test_a_command_gets_a_nodes_environment_and_none_of_the_pods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARAM_PACKAGES", "$(reboot)")
    said = Host(tmp_path, enter=()).run(["env"], {"DEBIAN_FRONTEND": "noninteractive"}).output
    names = {line.partition("=")[0] for line in said.splitlines()}
    assert names == {"PATH", "HOME", "LANG", "LC_ALL", "DEBIAN_FRONTEND"}


def test_errors_are_in_what_a_long_command_printed_and_not_in_the_answer_of_a_short_one(tmp_path: Path) -> None:
    host, script = Host(tmp_path, enter=()), ["sh", "-c", "echo out; echo error >&2; exit 3"]
    assert host.run(script) == Outcome(3, "out\nerror\n")
    assert host.ask(script) == Outcome(3, "out\n")


def test_the_end_of_a_long_output_is_kept(tmp_path: Path) -> None:
    lines = Host(tmp_path, enter=()).run(["seq", "1000"]).output.split()
    assert (lines[0], lines[-1]) == ("601", "1000")


def test_a_request_to_stop_waits_for_the_command(tmp_path: Path) -> None:
    script = f"kill -TERM {os.getpid()}; sleep 0.2; echo through >{tmp_path}/mark"
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StepError) as raised:
        Host(tmp_path, enter=()).run(["sh", "-c", script])
    assert raised.value.report.exit_code is ExitCode.UNAVAILABLE
    assert (tmp_path / "mark").read_text() == "through\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_container_without_the_nodes_root_is_told_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="hostPath /") as raised:
        host_of(Step({"BASCULE_HOST": str(tmp_path)}))
    assert raised.value.report.exit_code is ExitCode.USAGE
