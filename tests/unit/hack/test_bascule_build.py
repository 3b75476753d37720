"""The builder image's script: parameters stay values, and every failure has the exit code that says what to do.

A stand-in for buildah writes down its command line and fails as the real one does; the words of its errors were taken
from buildah 1.28 against a real registry.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hack.generated import ROOT

SCRIPT = ROOT / "hack" / "images" / "builder" / "bascule-build"
DIGEST = "sha256:" + "0123456789abcdef" * 4
BUILDAH = f"""\
#!/bin/bash
printf '%s\\0' "$@" >>"$CALLS/$1"
for word in "$@"; do
	case $word in
	--iidfile=*) printf image-id >"${{word#*=}}" ;;
	--digestfile=*) printf '{DIGEST}' >"${{word#*=}}" ;;
	esac
done
[[ ! -f $CALLS/$1.says ]] || cat "$CALLS/$1.says"
if [[ -f $CALLS/$1.error ]]; then
	cat "$CALLS/$1.error" >&2
	exit 125
fi
"""


class Step:
    """A step's container: sources, parameters, and what the script does with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        for name in ("calls", "bin", "params", "source", "work"):
            (folder / name).mkdir()
        (folder / "bin/buildah").write_text(BUILDAH)
        (folder / "bin/buildah").chmod(0o755)
        (folder / "source/Containerfile").write_text("FROM scratch\n")

    def parameter(self, name: str, value: str) -> None:
        path = self.folder / "params" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(value.encode())

    def fails_with(self, command: str, error: str) -> None:
        (self.calls / f"{command}.error").write_text(error + "\n")

    def says(self, command: str, *lines: str) -> None:
        (self.calls / f"{command}.says").write_text("".join(f"{line}\n" for line in lines))

    @property
    def report(self) -> dict[str, Any]:
        """What the run is told."""
        found: dict[str, Any] = json.loads((self.folder / "result").read_text())
        return found

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        values = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "CALLS": str(self.calls),
            "BASCULE_PARAMS_DIR": str(self.folder / "params"),
            "BASCULE_SOURCE_DIR": str(self.folder / "source"),
            "BASCULE_BUILD_DIR": str(self.folder / "work"),
            "BASCULE_TERMINATION_LOG": str(self.folder / "result"),
            "BASCULE_RUN": "0f1e/3",
            "BASCULE_CANDIDATE": "registry.example.com/acme/web-candidates:r3",
        }
        return subprocess.run(
            [str(SCRIPT)], env=values | environment, capture_output=True, text=True, check=False, timeout=30
        )

    def words(self, command: str) -> list[str]:
        """The command line that buildah got."""
        return (self.calls / command).read_bytes().decode().split("\0")[:-1]


@pytest.fixture
def step(tmp_path: Path) -> Step:
    return Step(tmp_path)


def test_it_builds_pushes_and_reports_the_digest(step: Step) -> None:
    done = step.run()
    assert done.returncode == 0, done.stderr
    assert step.report == {"results": {"digest": DIGEST, "baseImages": ""}}
    assert "--annotation=dev.bascule.run=0f1e/3" in step.words("build")
    assert step.words("push")[-3:] == ["--", "image-id", "docker://registry.example.com/acme/web-candidates:r3"]


@pytest.mark.parametrize(
    "value",
    [
        "A=plain",
        "A=with \"quotes\" and 'others'",
        "A=$(touch pwned) `touch pwned` ${HOME}",
        "A=two\nlines\n",
        "A={{ template }} %s \\n *",
        "A=--isolation=oci",
        "A=",
    ],
)
def test_a_build_argument_reaches_buildah_unchanged_as_one_word(step: Step, value: str) -> None:
    step.parameter("buildArgs/0", value)
    step.parameter("buildArgs/1", "B=2")
    assert step.run().returncode == 0
    assert [word for word in step.words("build") if word.startswith("--build-arg")] == [
        f"--build-arg={value}",
        "--build-arg=B=2",
    ]
    assert not list(step.folder.rglob("pwned"))


def test_containerfile_and_target_are_taken_from_the_parameters(step: Step) -> None:
    (step.folder / "source/images").mkdir()
    (step.folder / "source/images/Web").write_text("FROM scratch\n")
    step.parameter("containerfile", "images/Web")
    step.parameter("target", "production")
    assert step.run().returncode == 0
    assert f"--file={step.folder}/source/images/Web" in step.words("build")
    assert "--target=production" in step.words("build")


@pytest.mark.parametrize("link", ["../outside", "/etc/passwd"])
def test_no_link_leads_out_of_the_sources(step: Step, link: str) -> None:
    (step.folder / "outside").write_text("FROM scratch\n")
    (step.folder / "source/Linked").symlink_to(link)
    step.parameter("containerfile", "Linked")
    done = step.run()
    assert done.returncode == 10
    assert "Linked is not a file within the sources" in done.stderr
    assert not (step.calls / "build").exists()


def test_a_containerfile_that_is_not_there_is_named(step: Step) -> None:
    step.parameter("containerfile", "Nowhere")
    done = step.run()
    assert done.returncode == 10
    assert "the sources have no file Nowhere" in done.stderr


BASE = "Error: creating build container: initializing source docker://r.example/x/y:z: "


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        pytest.param(
            'Error: building at STEP "RUN false": exit status 1', 10, "the build failed", id="a command failed"
        ),
        pytest.param("Error: no FROM statement found", 10, "no FROM statement", id="no Containerfile at all"),
        pytest.param(BASE + "reading manifest z: manifest unknown", 10, "manifest unknown", id="no such base"),
        pytest.param(BASE + "reading manifest z: unauthorized: authentication required", 20, "refused", id="no right"),
        pytest.param(
            BASE + "pinging container registry r.example: dial tcp 1.2.3.4:443: connect: connection refused",
            30,
            "does not answer",
            id="registry away",
        ),
        pytest.param(BASE + "reading manifest z: received unexpected HTTP status code: 503", 30, "does not", id="503"),
        pytest.param(
            'wget: connection refused\nError: building at STEP "RUN wget x": exit status 4',
            10,
            "the build failed",
            id="a command that found a server away is not our registry",
        ),
    ],
)
def test_a_failed_build_says_whether_to_try_again(step: Step, error: str, code: int, says: str) -> None:
    step.fails_with("build", error)
    done = step.run()
    assert done.returncode == code
    assert says in done.stderr.splitlines()[-1]
    failure = {20: "RegistryRefused", 30: "RegistryUnavailable"}.get(code)
    if failure is None:
        assert not (step.folder / "result").exists()
    else:
        assert step.report == {"failure": failure, "message": done.stderr.splitlines()[-1].split(": ", 1)[1]}


PUSH = "Error: pushing image to docker://r.example/a/b: trying to reuse blob sha256:0 at destination: "


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(PUSH + "checking whether a blob exists: authentication required", 20, id="no login"),
        pytest.param(PUSH + "requested access to the resource is denied", 20, id="no right"),
        pytest.param(PUSH + "unexpected HTTP status: 403 Forbidden", 20, id="forbidden"),
        pytest.param(PUSH + "pinging container registry: connect: connection refused", 30, id="away"),
        pytest.param(PUSH + "dial tcp: lookup r.example: no such host", 30, id="no such host"),
        pytest.param(PUSH + "something new", 30, id="what is not known is tried again"),
    ],
)
def test_a_failed_push_says_whether_to_try_again(step: Step, error: str, code: int) -> None:
    step.fails_with("push", error)
    done = step.run()
    assert done.returncode == code
    assert "registry.example.com/acme/web-candidates:r3" in done.stderr.splitlines()[-1]


def test_a_missing_variable_is_named(step: Step) -> None:
    done = step.run(BASCULE_RUN="")
    assert done.returncode == 64
    assert "BASCULE_RUN is not set" in done.stderr


def test_what_a_server_says_is_told_as_json_whatever_is_in_it(step: Step) -> None:
    step.fails_with("push", 'Error: pinging container registry: "quoted" back\\slash \x07 \xc3\xa9 denied')
    assert step.run().returncode == 20
    assert step.report["failure"] == "RegistryRefused"
    assert '"quoted" back\\slash' in step.report["message"]


def test_the_base_images_are_told_with_the_digests_that_were_pulled(step: Step) -> None:
    lines = [f"r.example:5000/lib/base 1 {DIGEST}", f"r.example/lib/other <none> {DIGEST}", f"<none> <none> {DIGEST}"]
    step.says("images", *lines, f"r.example/cache/acme abc {DIGEST}", "r.example/odd 1 sha256:0", 'r.example/"q" 1 x')
    assert step.run(BASCULE_CACHE="r.example/cache/acme").returncode == 0
    assert step.report["results"]["baseImages"].split() == [
        f"r.example:5000/lib/base:1@{DIGEST}",
        f"r.example/lib/other@{DIGEST}",
    ]


def test_more_base_images_than_a_report_holds_are_cut(step: Step) -> None:
    step.says("images", *(f"r.example/lib/base{number} 1 {DIGEST}" for number in range(200)))
    assert step.run().returncode == 0
    assert len((step.folder / "result").read_text()) < 4096
    assert len(step.report["results"]["baseImages"].split()) > 10


@pytest.mark.parametrize(
    ("cache", "age"),
    [pytest.param("", "24h", id="no repository"), pytest.param("r.example/c/acme", "0", id="switched off")],
)
def test_without_a_cache_every_build_begins_anew(step: Step, cache: str, age: str) -> None:
    step.parameter("cacheFor", age)
    assert step.run(BASCULE_CACHE=cache).returncode == 0
    assert not [word for word in step.words("build") if word.startswith(("--cache", "--layers"))]
    assert step.words("build").count("build") == 1


def test_with_a_cache_the_image_is_made_once_more_as_this_runs_own(step: Step) -> None:
    step.parameter("cacheFor", "90m")
    step.says("inspect", "r.example/lib/base:1")
    assert step.run(BASCULE_CACHE="r.example/c/acme").returncode == 0
    words = step.words("build")
    first, second = words[: words.index("build", 1)], words[words.index("build", 1) :]
    assert {"--layers", "--cache-from=r.example/c/acme", "--cache-to=r.example/c/acme", "--cache-ttl=90m"} <= set(first)
    assert not [word for word in first if word.startswith("--annotation")]
    assert "--annotation=dev.bascule.run=0f1e/3" in second
    assert "--annotation=org.opencontainers.image.base.name=r.example/lib/base:1" in second
    assert not [word for word in second if word.startswith("--cache")]
