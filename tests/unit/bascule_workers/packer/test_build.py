"""A whole step with stand-ins for Packer and skopeo, for what no local builder can show: images at a cloud provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.bascule_workers.packer.test_machine_readable import CLOUD, FILE, NULL


@dataclass
class Ended:
    code: int
    message: str
    results: dict[str, str]
    pushed: bool


Run = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(output: str, *, code: int = 0, skopeo: str = "exit 0", artifact: str = "record", end: str = "") -> Ended:
        tools = tmp_path / "tools"
        for folder in ("tools", "params", "sources"):
            (tmp_path / folder).mkdir()
        (tmp_path / "output").write_text(output)
        (tmp_path / "params/artifact").write_text(artifact)
        (tmp_path / "sources/template.json").write_text("{}")
        script = f"#!/bin/sh\n[ $2 = build ] || exit 0\ncat {tmp_path}/output\n{end}\nexit {code}\n"
        (tools / "packer").write_text(script)
        (tools / "skopeo").write_text(f"#!/bin/sh\ntouch {tmp_path}/pushed\n{skopeo}\n")
        for tool in tools.iterdir():
            tool.chmod(0o755)
        environment = os.environ | {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "BASCULE_PARAMS_DIR": str(tmp_path / "params"),
            "BASCULE_SOURCE_DIR": str(tmp_path / "sources"),
            "BASCULE_RUN": "uid/1",
            "BASCULE_CANDIDATE": "registry.example.com/acme/web:1",
            "BASCULE_TERMINATION_LOG": str(tmp_path / "log"),
        }
        command = [sys.executable, "-m", "bascule_workers.packer"]
        done = subprocess.run(command, env=environment, check=False, timeout=60)
        report = json.loads((tmp_path / "log").read_text())
        return Ended(done.returncode, report["message"], report["results"], (tmp_path / "pushed").exists())

    return run


def test_the_ids_of_cloud_images_are_published_and_reported(run: Run) -> None:
    ended = run(CLOUD)
    assert (ended.code, ended.pushed) == (0, True)
    assert ended.results["digest"].startswith("sha256:")
    assert json.loads(ended.results["artifacts"]) == [
        {"build": "ami", "builder": "mitchellh.amazonebs", "id": "eu-west-1:ami-1,us-east-1:ami-2", "elsewhere": True}
    ]


@pytest.mark.parametrize(
    ("output", "given", "code"),
    [
        pytest.param(CLOUD, {"code": 1}, 10, id="another build failed"),
        pytest.param(CLOUD, {"artifact": "file"}, 10, id="only files were wanted"),
        pytest.param(CLOUD, {"skopeo": "echo unauthorized >&2; exit 1"}, 20, id="the registry refused"),
        pytest.param(CLOUD, {"end": "kill -TERM $PPID; sleep 0.2"}, 40, id="stopped"),
    ],
)
def test_a_failure_names_what_it_leaves_behind(run: Run, output: str, given: dict[str, str], code: int) -> None:
    ended = run(output, **given)
    assert ended.code == code
    assert "left behind: mitchellh.amazonebs eu-west-1:ami-1,us-east-1:ami-2; remove it" in ended.message
    assert json.loads(ended.results["artifacts"])[0]["build"] == "ami"
    assert "digest" not in ended.results


def test_no_second_image_is_made_because_a_registry_was_away(run: Run) -> None:
    ended = run(CLOUD, skopeo="echo 'connection refused' >&2; kill -TERM $PPID; exit 1")
    assert ended.code == 40
    assert "left behind: mitchellh.amazonebs" in ended.message


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        pytest.param(FILE.replace("1,file,artifact,0,end\n", ""), "breaks off; nothing was pushed", id="half a report"),
        pytest.param(NULL, "yields no artifact", id="the builder null"),
        pytest.param("", "yields no artifact", id="nothing"),
        pytest.param(FILE, "is not there, or is no file", id="a file that is missing"),
    ],
)
def test_nothing_is_pushed_of_what_is_not_whole(run: Run, output: str, expected: str) -> None:
    ended = run(output, artifact="file")
    assert (ended.code, ended.pushed) == (10, False)
    assert expected in ended.message
