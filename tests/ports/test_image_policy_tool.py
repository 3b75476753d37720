"""The Procedure `image-policy` against real images: built by Buildah, in a real registry, fetched by skopeo."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bascule_workers.image_policy import passwords
from tests.support import registry
from tests.support.registry import LoopbackRegistry
from tests.support.steps import Ended, StepRun

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n"
GOOD = """\
FROM scratch
COPY --chmod=0755 tree /
COPY --chmod=4755 su /usr/bin/su
COPY --chmod=0644 passwd /etc/passwd
COPY --chmod=0640 shadow /etc/shadow
USER web
"""


@dataclass(frozen=True)
class Bench:
    """A registry, a folder for Buildah, and the images built so far."""

    server: LoopbackRegistry
    folder: Path

    def build(self, name: str, containerfile: str, **files: bytes) -> str:
        """Build and push an image. Returns `repository@digest`."""
        context = self.folder / name
        (context / "tree/srv").mkdir(parents=True)
        (context / "Containerfile").write_text(containerfile)
        content = {"su": b"#!", "passwd": PASSWD.encode(), "shadow": b"root:*:1::::::\n", "file": b"content"} | files
        for file, text in content.items():
            (context / file).write_bytes(text)
        repository = f"{self.server.host}/acme/{name}"
        digest = context / "digest"
        self.buildah("build", "--quiet", "--layers=false", f"--iidfile={context}/id", str(context))
        self.buildah(
            "push", "--quiet", f"--digestfile={digest}", (context / "id").read_text(), f"docker://{repository}:1"
        )
        return f"{repository}@{digest.read_text()}"

    def buildah(self, *words: str) -> None:
        storage = ["--storage-driver=vfs", f"--root={self.folder}/storage", f"--runroot={self.folder}/run"]
        environment = self.server.environment | {"BUILDAH_ISOLATION": "chroot"}
        subprocess.run(["buildah", *storage, *words], env=environment, check=True, capture_output=True)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with registry.serving(tmp_path_factory.mktemp("registry")) as server:
        yield Bench(server, tmp_path_factory.mktemp("buildah"))


Test = Callable[..., Ended]


@pytest.fixture
def policy(bench: Bench, tmp_path: Path) -> Test:
    def policy(image: str, **parameters: str | list[str]) -> Ended:
        number = len(list(tmp_path.iterdir()))
        environment = bench.server.environment | {"BASCULE_IMAGE": image}
        return StepRun(tmp_path / str(number), "bascule_workers.image_policy", environment, dict(parameters)).run()

    return policy


@pytest.fixture(scope="module")
def good(bench: Bench) -> str:
    return bench.build("good", GOOD)


def report(bench: Bench, image: str, ended: Ended, folder: Path) -> dict[str, Any]:
    """The report that the step attached, fetched by the digest that it named."""
    repository = image.partition("@")[0].partition("/")[2]
    files = bench.server.pull(f"{repository}@{ended.results['report']}", folder)
    content: dict[str, Any] = json.loads(files["image-policy.json"].read_text())
    return content


def test_a_good_image_passes_and_has_its_report(bench: Bench, policy: Test, good: str, tmp_path: Path) -> None:
    ended = policy(good)
    assert ended.code == 0, ended.log
    assert ended.message == f"no findings; report {ended.results['report']}"
    content = report(bench, good, ended, tmp_path / "report")
    assert (content["image"], content["findings"]) == (good, [])
    assert content["lookedAt"]["layers"] >= 1
    repository, _, digest = good.partition("@")
    repository = repository.partition("/")[2]
    manifest = bench.server.manifest(f"{repository}:{digest.replace(':', '-')}.policy")
    assert manifest == bench.server.manifest(f"{repository}@{ended.results['report']}")
    assert manifest["subject"]["digest"] == digest
    assert manifest["annotations"] == {"dev.bascule.run": "0b1c6d1e/1"}


def test_a_repeated_test_attaches_nothing_new(policy: Test, good: str) -> None:
    assert policy(good).results == policy(good).results


def key() -> bytes:
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


BAD = {
    "root": ("USER root", {}, "root-user", "/"),
    "no-password": ("USER web", {"shadow": b"root::1::::::\n"}, "default-credentials", "/etc/shadow"),
    "known-password": ("USER web", {"shadow": b"root:KNOWN:1::::::\n"}, "default-credentials", "/etc/shadow"),
    "password": ("USER web", {"shadow": b"web:OTHER:1::::::\n"}, "password-hash", "/etc/shadow"),
    "authorized": (
        "COPY file /root/.ssh/authorized_keys",
        {"file": b"ssh-ed25519 AAAAC3Nza me@example.com\n"},
        "default-credentials",
        "/root/.ssh/authorized_keys",
    ),
    "key": ("COPY file /opt/app/key", {"file": key()}, "private-key", "/opt/app/key"),
    "hidden-key": ("COPY file /srv/key", {"file": key()}, "private-key", "/srv/key"),
    "host-key": (
        "COPY --chmod=0600 file /etc/ssh/ssh_host_ed25519_key",
        {"file": b"binary"},
        "private-key",
        "/etc/ssh/ssh_host_ed25519_key",
    ),
    "setuid": ("COPY --chmod=4755 file /usr/local/bin/tool", {}, "setuid", "/usr/local/bin/tool"),
    "setgid": ("COPY --chmod=2755 file /usr/local/bin/tool", {}, "setuid", "/usr/local/bin/tool"),
    "writable": ("COPY --chmod=0666 file /etc/cron", {}, "world-writable", "/etc/cron"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_fails_and_says_why(bench: Bench, policy: Test, tmp_path: Path, name: str) -> None:
    line, files, rule, path = BAD[name]
    known, other = passwords.crypt("toor", "$6$salt$"), passwords.crypt("unheard-of-9f3", "$6$salt$")
    filled = {
        key: value.replace(b"KNOWN", known.encode()).replace(b"OTHER", other.encode()) for key, value in files.items()
    }
    image = bench.build(name, f"{GOOD}{line}\n", **filled)
    if name == "hidden-key":
        image = bench.build("hidden-key-above", f"FROM {image}\nCOPY passwd /srv/key\n")
    ended = policy(image)
    assert ended.code == 1, ended.log
    content = report(bench, image, ended, tmp_path / "report")
    assert [(finding["rule"], finding["path"]) for finding in content["findings"]] == [(rule, path)]
    assert f"{rule} {path}: " in ended.message
    assert ended.results["findings"] == "1"


def test_what_was_declared_to_be_meant_passes(bench: Bench, policy: Test) -> None:
    image = bench.build("meant", f"{GOOD}COPY --chmod=4755 file /usr/local/bin/tool\nUSER 0\n")
    meant = {"allowRoot": "true", "allowedSetuid": ["/usr/bin/su", "/usr/local/bin/tool"]}
    assert policy(image, **meant).code == 0
    ignored = policy(image, ignore=["root-user:*", "setuid:/usr/local/*"])
    assert (ignored.code, ignored.message.partition(";")[0]) == (0, "no findings (2 ignored)")
    assert policy(image, ignore=["root-user:*"]).code == 1
    assert policy(image, failOn="Never").code == 0
    assert policy(image, allowRoot="true", allowedSetuid=[]).message.startswith("2 High; ")


def test_an_ignore_that_is_none_is_refused(policy: Test, good: str) -> None:
    ended = policy(good, ignore=["setuid:/x", "anything"])
    assert ended.code == 10
    assert ended.message.startswith("parameter ignore[1] must be rule:glob")


def test_an_artifact_is_no_image(bench: Bench, policy: Test, good: str) -> None:
    attached = policy(good).results["report"]
    ended = policy(f"{good.partition('@')[0]}@{attached}")
    assert ended.code == 10
    assert "this is no container image" in ended.message


def test_an_image_that_is_gone_is_final(bench: Bench, policy: Test) -> None:
    ended = policy(f"{bench.server.host}/acme/gone@sha256:{'0' * 64}")
    assert ended.code == 10
    assert ended.message.startswith("the registry does not have")


def test_a_registry_that_is_away_is_tried_again(policy: Test) -> None:
    ended = policy(f"127.0.0.1:9/acme/web@sha256:{'0' * 64}")
    assert ended.code == 30
    assert ended.message.startswith("the registry does not answer for")
