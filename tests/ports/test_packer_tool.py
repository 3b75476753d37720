"""The Procedure `packer` with real Packer, real skopeo and a real registry."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import registry
from tests.support.registry import LoopbackRegistry
from tests.support.steps import Ended, StepRun

HCL = """\
variable "text" { default = "hello" }
source "file" "greeting" {
  content = var.text
  target  = "out/greeting.txt"
}
source "null" "nothing" { communicator = "none" }
build {
  sources = ["source.file.greeting", "source.null.nothing"]
  provisioner "shell-local" { inline = ["true"] }
}
"""
# `{{` is left out: it belongs to the language of templates, which Packer reads values of variables in as well.
HOSTILE = 'a=b $(touch executed) `id` { { x } } %{ if true } , "quoted" -x\r\n\\n zwei'
DISK = """\
source "qemu" "disk" {
  iso_url              = "disk.raw"
  iso_checksum         = "none"
  disk_image           = true
  format               = "raw"
  disk_size            = "4M"
  accelerator          = "tcg"
  headless             = true
  disable_vnc          = true
  use_default_display  = true
  communicator         = "none"
  shutdown_timeout     = "2m"
  output_directory     = "out"
  vm_name              = "golden.raw"
}
build { sources = ["source.qemu.disk"] }
"""
# Writes itself to the second sector through the BIOS, then switches the machine off by ACPI.
BOOT_SECTOR = bytes.fromhex("31c08ec0b80103bb007cb90200b600cd13ba0406b80020eff4ebfd").ljust(510, b"\0") + b"\x55\xaa"

MakeStep = Callable[..., StepRun]


@pytest.fixture(scope="module")
def registry_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackRegistry]:
    with registry.serving(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture
def step(registry_server: LoopbackRegistry, tmp_path: Path) -> MakeStep:
    """A step with sources and parameters; it pushes to the repository `acme/packer` of a tag named by the test."""

    def step(files: dict[str, str], **parameters: str | list[str]) -> StepRun:
        environment = registry_server.environment | {
            "BASCULE_CANDIDATE": f"{registry_server.host}/acme/{tmp_path.name.lower().replace('_', '-')}:run-1",
            "PACKER_LOG": "1",  # what a pod's environment says to Packer is not heard
            "PACKER_PLUGIN_PATH": "/nowhere",
        }
        made = StepRun(tmp_path / "step", "bascule_workers.packer", environment, dict(parameters))
        for name, content in files.items():
            (made.source / name).parent.mkdir(parents=True, exist_ok=True)
            (made.source / name).write_text(content)
        return made

    return step


def repository_of(step: StepRun) -> str:
    return step.environment["BASCULE_CANDIDATE"].partition("/")[2].partition(":")[0]


def refused(step: StepRun, server: LoopbackRegistry) -> Ended:
    """The end of a step that fails for good; nothing was pushed."""
    ended = step.run()
    assert (ended.code, ended.results) == (10, {}), ended.log
    assert server.tags(repository_of(step)) == []
    return ended


def test_a_file_goes_the_way_of_an_image(step: MakeStep, registry_server: LoopbackRegistry, tmp_path: Path) -> None:
    made = step({"template.pkr.hcl": HCL}, variables=[f"text={HOSTILE}"])
    ended = made.run()
    assert ended.code == 0, ended.log
    repository, digest = repository_of(made), ended.results["digest"]
    assert registry_server.tags(repository) == ["run-1"]
    manifest = registry_server.manifest(f"{repository}@{digest}")
    assert manifest == registry_server.manifest(f"{repository}:run-1")
    assert manifest["annotations"] == {"dev.bascule.run": "0b1c6d1e/1"}
    assert manifest["artifactType"] == "application/vnd.bascule.packer.files.v1"
    pulled = registry_server.pull(f"{repository}@{digest}", tmp_path / "pulled")
    assert pulled["out/greeting.txt"].read_bytes() == HOSTILE.encode()
    record = json.loads(pulled["packer-artifacts.json"].read_text())
    assert {artifact["builder"] for artifact in record["artifacts"]} == {"packer.file", "fnoeding.null"}
    assert {item["builder"] for item in json.loads(ended.results["artifacts"])} == {"packer.file", "fnoeding.null"}
    assert not (made.source / "executed").exists()
    assert "github.com" not in ended.log  # Packer asks nobody for a newer version


def test_a_template_in_json_with_names_that_have_commas(step: MakeStep, registry_server: LoopbackRegistry) -> None:
    builders = [
        {"type": "file", "name": "one, two", "content": "1", "target": "a,b.txt"},
        {"type": "file", "name": "three", "content": "3", "target": "c.txt"},
    ]
    made = step({"images/web.json": json.dumps({"builders": builders})}, template="images/web.json")
    ended = made.run()
    assert ended.code == 0, ended.log
    layers = registry_server.manifest(f"{repository_of(made)}@{ended.results['digest']}")["layers"]
    titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in layers]
    assert titles == ["a,b.txt", "c.txt", "packer-artifacts.json"]


def test_what_a_post_processor_makes_is_published(step: MakeStep, registry_server: LoopbackRegistry) -> None:
    content = json.dumps(
        {
            "builders": [{"type": "file", "content": "x", "target": "a.txt"}],
            "post-processors": [{"type": "compress", "output": "a.tar.gz"}],
        }
    )
    made = step({"template.json": content})
    ended = made.run()
    assert ended.code == 0, ended.log
    layers = registry_server.manifest(f"{repository_of(made)}@{ended.results['digest']}")["layers"]
    titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in layers]
    assert titles == ["a.tar.gz", "packer-artifacts.json"]


def test_a_disk_that_a_virtual_machine_wrote_to(
    step: MakeStep, registry_server: LoopbackRegistry, tmp_path: Path
) -> None:
    made = step({"template.pkr.hcl": DISK})
    (made.source / "disk.raw").write_bytes(BOOT_SECTOR + bytes(1 << 20))
    ended = made.run()
    assert ended.code == 0, ended.log
    pulled = registry_server.pull(f"{repository_of(made)}@{ended.results['digest']}", tmp_path / "pulled")
    disk = pulled["out/golden.raw"].read_bytes()
    assert len(disk) == 4 << 20
    assert disk[512:1024] == BOOT_SECTOR


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        pytest.param("template.pkr.hcl", "source {{{", "template.pkr.hcl is not valid: Error:", id="no HCL"),
        pytest.param("template.json", "{ nothing", "template.json is not valid: Failed to parse", id="no JSON"),
        pytest.param("template.json", "{}", "is not valid", id="a template without builders"),
        pytest.param(
            "template.json", '{"builders": [{"type": "nosuch"}]}', "no plugin 'nosuch'", id="an unknown builder in JSON"
        ),
        pytest.param(
            "template.pkr.hcl",
            'source "nosuch" "a" {}\nbuild { sources = ["source.nosuch.a"] }',
            "no plugin 'nosuch'",
            id="an unknown builder in HCL",
        ),
        pytest.param(
            "template.pkr.hcl",
            'packer {\n required_plugins {\n  a = { version = "1", source = "b/c" }\n }\n}\n' + HCL,
            "leave the block required_plugins out",
            id="a plugin to fetch",
        ),
        pytest.param(
            "template.json",
            '{"builders": [{"type": "null", "communicator": "none"}]}',
            "use a builder that makes one",
            id="a template that yields nothing",
        ),
        pytest.param(
            "template.json",
            '{"builders": [{"type": "file", "content": "x", "target": "/tmp/bascule-outside"}]}',
            "lies outside of the sources",
            id="a file elsewhere",
        ),
    ],
)
def test_bad_templates_fail_clearly(
    step: MakeStep, registry_server: LoopbackRegistry, name: str, content: str, expected: str
) -> None:
    try:
        assert expected in refused(step({name: content}), registry_server).message
    finally:
        Path("/tmp/bascule-outside").unlink(missing_ok=True)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("exit 3", id="a command fails"),
        pytest.param("kill -KILL $PPID", id="the plugin is killed"),
        pytest.param("rm -f half.txt; kill -KILL $PPID", id="the file is gone and the plugin killed"),
    ],
)
def test_half_an_artifact_is_not_pushed(step: MakeStep, registry_server: LoopbackRegistry, command: str) -> None:
    content = {
        "builders": [{"type": "file", "content": "half", "target": "half.txt"}],
        "post-processors": [{"type": "shell-local", "inline": [command]}],
    }
    ended = refused(step({"template.json": json.dumps(content)}), registry_server)
    assert ended.message.startswith("the build of ./template.json failed: ")


def test_packer_itself_killed_half_way(step: MakeStep, registry_server: LoopbackRegistry) -> None:
    made = step({"template.json": json.dumps(sleeping("$PWD/pid"))})
    process = made.start()
    packer = wait_for_packer(process.pid)
    for child in packer:
        os.kill(child, signal.SIGKILL)
    ended = made.ended(process)
    assert ended.code == 10
    assert "killed by SIGKILL" in ended.message
    assert registry_server.tags(repository_of(made)) == []


def test_a_step_that_is_told_to_stop_stops_packer(step: MakeStep, registry_server: LoopbackRegistry) -> None:
    made = step({"template.json": json.dumps(sleeping("$PWD/pid"))})
    process = made.start()
    packer = wait_for_packer(process.pid)
    process.send_signal(signal.SIGTERM)
    ended = made.ended(process)
    assert (ended.code, ended.message) == (30, "stopped before the build was through")
    assert not any(Path(f"/proc/{child}").exists() for child in packer)
    assert registry_server.tags(repository_of(made)) == []


def sleeping(marker: str) -> dict[str, object]:
    return {
        "builders": [{"type": "file", "content": "half", "target": "half.txt"}],
        "post-processors": [{"type": "shell-local", "inline": [f"touch {marker}; exec sleep 20"]}],
    }


def wait_for_packer(parent: int) -> list[int]:
    """Processes of Packer below the parent, once its post-processor sleeps."""
    for _ in range(200):
        listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
        rows = [row.split(None, 2) for row in listed.stdout.splitlines()]
        below = {parent}
        for pid, above, _ in sorted(rows, key=lambda row: int(row[0])):
            if int(above) in below:
                below.add(int(pid))
        found = [int(pid) for pid, _, text in rows if int(pid) in below and text.startswith("packer")]
        if any(int(pid) in below and text == "sleep 20" for pid, _, text in rows):
            return found
        time.sleep(0.05)
    raise AssertionError("Packer did not come to its post-processor")


def test_a_registry_that_is_away_is_tried_again(step: MakeStep, tmp_path: Path) -> None:
    made = step({"template.pkr.hcl": HCL})
    made.environment = {**made.environment, "BASCULE_CANDIDATE": "127.0.0.1:9/acme/web:run-1"}
    ended = made.run()
    assert (ended.code, ended.results) == (30, {})
    assert ended.message.startswith("the registry does not answer for 127.0.0.1:9/acme/web:run-1: ")


def test_a_registry_that_nobody_vouches_for_is_final(step: MakeStep) -> None:
    made = step({"template.pkr.hcl": HCL})
    made.environment = {name: value for name, value in made.environment.items() if name != "SSL_CERT_FILE"}
    ended = made.run()
    assert ended.code == 20, ended.log
    assert "x509" in ended.message
