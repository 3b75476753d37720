"""The Debian archive agrees with itself, and takes no name that would be read as something else."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from hack.cluster import debian_archive, paths
from hack.cluster.debian_archive import DebianPackage
from hack.cluster.paths import Paths
from hack.cluster.shell import ClusterError


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setattr(paths, "state_directory", lambda: tmp_path)
    debian_archive.make(Paths("archive"))
    return Paths("archive")


def released(site: Paths, suite: str) -> list[str]:
    """The names and versions in the suite's list, which is the one that its Release file has the hash of."""
    folder = debian_archive.folder(site) / "dists" / suite
    hashes = dict(re.findall(r"^ ([0-9a-f]{64}) \d+ (.*)$", (folder / "Release").read_text(), re.MULTILINE)[::-1])
    found = [(folder / name).parent / "by-hash/SHA256" / digest for digest, name in hashes.items()]
    assert found
    text = found[0].read_text()
    assert hashlib.sha256(text.encode()).hexdigest() == found[0].name
    for file, digest in re.findall(r"^Filename: (.*)\nSize: \d+\nSHA256: (.*)$", text, re.MULTILINE):
        assert hashlib.sha256((debian_archive.folder(site) / file).read_bytes()).hexdigest() == digest
    return [" ".join(found) for found in re.findall(r"^Package: (.*)\nVersion: (.*)$", text, re.MULTILINE)]


def test_a_new_archive_has_an_old_version_and_its_security_update(site: Paths) -> None:
    assert released(site, "bookworm") == ["bascule-canary 1.0"]
    assert released(site, "bookworm-security") == ["bascule-canary 1.1"]


def test_what_is_published_is_listed_until_it_is_withdrawn(site: Paths) -> None:
    debian_archive.publish(site, DebianPackage("mine", "2.0"), security=False)
    assert released(site, "bookworm") == ["bascule-canary 1.0", "mine 2.0"]

    debian_archive.withdraw(site, "mine", "2.0")
    assert released(site, "bookworm") == ["bascule-canary 1.0"]
    assert released(site, "bookworm-security") == ["bascule-canary 1.1"]


def test_making_it_again_keeps_what_was_published(site: Paths) -> None:
    debian_archive.publish(site, DebianPackage("mine", "2.0"), security=True)
    debian_archive.make(site)
    assert "mine 2.0" in released(site, "bookworm-security")


@pytest.mark.parametrize(
    ("package", "asks", "fails"),
    [
        pytest.param(DebianPackage("mine", "2.0"), False, False, id="a plain one"),
        pytest.param(DebianPackage("mine", "2.0", needs_reboot=True), True, False, id="one that asks for a reboot"),
        pytest.param(DebianPackage("mine", "2.0", fails_on=["node2"]), False, True, id="one that fails on a node"),
    ],
)
def test_the_package_holds_what_was_asked_for(site: Paths, package: DebianPackage, asks: bool, fails: bool) -> None:
    file = debian_archive.publish(site, package, security=False)

    listed = subprocess.run(["dpkg-deb", "--contents", file], capture_output=True, text=True, check=True).stdout
    script = subprocess.run(["dpkg-deb", "--info", file, "postinst"], capture_output=True, text=True, check=True).stdout
    assert "./usr/share/mine/version" in listed
    assert ("/run/reboot-required" in script) is asks
    assert ("for node in node2;" in script) is fails


@pytest.mark.parametrize(
    ("name", "version", "fails_on"),
    [
        pytest.param("Mine", "1.0", [], id="capitals"),
        pytest.param("mine\nDepends: other", "1.0", [], id="a second line in the name"),
        pytest.param("mine", "1.0\n", [], id="a line break in the version"),
        pytest.param("mine", "$(reboot)", [], id="a version that a shell would read"),
        pytest.param("mine", "1.0", ["node9"], id="a node that there is not"),
    ],
)
def test_what_is_no_package_is_refused(name: str, version: str, fails_on: list[str]) -> None:
    with pytest.raises(ClusterError):
        DebianPackage(name, version, fails_on)
