"""What apt prints is read as it is meant."""

from __future__ import annotations

import pytest

from bascule_workers.on_node import apt
from bascule_workers.on_node.apt_rollback import still_changed
from bascule_workers.on_node.apt_upgrade import changes_between, told
from bascule_workers.on_node.records import Change

SIMULATED = """\
Reading package lists...
Inst libc6 [2.36-9] (2.36-9+deb12u4 Debian-Security:12/stable-security [amd64]) []
Inst linux-image-6.1.0-28-amd64 (6.1.119-1 Debian:12.8/stable, Debian-Security:12/stable-security [amd64])
Inst libssl3:i386 [3.0.11-1] (3.0.15-1 Debian:12.8/stable [i386])
Inst base-files [12.4+deb12u2] (12.4+deb12u8 Debian:12.8/stable [amd64]) [libc6:amd64 ]
Remv old-thing [1.0]
Conf libc6 (2.36-9+deb12u4 Debian-Security:12/stable-security [amd64])
"""


def test_a_simulation_is_read_with_old_versions_new_ones_and_where_they_are_from() -> None:
    assert apt.parse_simulation(SIMULATED) == [
        (Change("libc6", "2.36-9", "2.36-9+deb12u4"), "Debian-Security:12/stable-security"),
        (
            Change("linux-image-6.1.0-28-amd64", "", "6.1.119-1"),
            "Debian:12.8/stable, Debian-Security:12/stable-security",
        ),
        (Change("libssl3:i386", "3.0.11-1", "3.0.15-1"), "Debian:12.8/stable"),
        (Change("base-files", "12.4+deb12u2", "12.4+deb12u8"), "Debian:12.8/stable"),
    ]


@pytest.mark.parametrize(
    ("origins", "is_one"),
    [
        pytest.param("Debian-Security:12/stable-security", True, id="Debian's"),
        pytest.param("Debian:12.8/stable, Debian-Security:12/oldstable-security", True, id="one of several archives"),
        pytest.param("Ubuntu:22.04/jammy-security", True, id="Ubuntu's, by the suite"),
        pytest.param("Ubuntu:22.04/jammy-updates, Ubuntu:22.04/jammy-security", True, id="Ubuntu's, in both"),
        pytest.param("Debian:12.8/stable", False, id="the distribution itself"),
        pytest.param("Ubuntu:22.04/jammy-updates", False, id="other updates"),
        pytest.param("Vendor-security-tools:1/stable", False, id="an archive that only sounds so"),
        pytest.param("", False, id="a local file"),
    ],
)
def test_security_updates_are_known_by_their_archive(origins: str, is_one: bool) -> None:
    assert apt.is_security(origins) is is_one


@pytest.mark.parametrize(
    ("output", "message"),
    [
        pytest.param(
            "Setting up web (1.2) ...\nweb does not start\ndpkg: error processing package web (--configure):\n"
            " installed web package post-installation script subprocess returned error exit status 1\n"
            "Errors were encountered while processing:\n web\n"
            "E: Sub-process /usr/bin/dpkg returned an error code (1)\n",
            "web: web does not start; Sub-process /usr/bin/dpkg returned an error code (1)",
            id="a package's own words come first",
        ),
        pytest.param("E: Unable to locate package web\n", "Unable to locate package web", id="apt's error"),
        pytest.param("something else\nlast\n", "last", id="without a word that looks like an error, the last line"),
        pytest.param("", "it said nothing", id="silence"),
    ],
)
def test_what_went_wrong_is_told_in_the_packages_words(output: str, message: str) -> None:
    assert apt.error_in(output) == message


def test_changes_are_the_packages_whose_version_differs() -> None:
    before = {"a": "1", "b": "1", "c": "1"}
    after = {"a": "1", "b": "2", "d": "1"}
    assert changes_between(before, after) == [Change("b", "1", "2"), Change("c", "1", ""), Change("d", "", "1")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(Change("web", "1.1", "1.2"), "web 1.1 → 1.2", id="another version"),
        pytest.param(Change("web", "", "1.2"), "web new → 1.2", id="one that was not there"),
        pytest.param(Change("web", "1.1", ""), "web 1.1 → gone", id="one that is gone"),
        pytest.param(Change("db", "1.1", ""), "db 1.1 → 1.2, half-configured", id="one that could not be configured"),
    ],
)
def test_a_change_is_told_for_people(change: Change, words: str) -> None:
    assert told(change, {"db": "1.2, half-configured"}) == words


@pytest.mark.parametrize(
    ("now", "left"),
    [
        pytest.param({"libc6:amd64": "2", "web": "1.1"}, [("libc6", "1", "2"), ("web", "1.0", "1.1")], id="both"),
        pytest.param({"libc6:amd64": "1", "web": "1.1"}, [("web", "1.0", "1.1")], id="one went back by itself"),
        pytest.param({"libc6:amd64": "1", "web": "1.0"}, [], id="none"),
        pytest.param({"libc6:amd64": "1"}, [("web", "1.0", "")], id="one is broken or gone"),
        pytest.param({"libc6:amd64": "1", "web": "1.0", "new": "3"}, [("new", "", "3")], id="a new one stands"),
    ],
)
def test_a_rollback_touches_what_its_run_changed_and_still_differs(
    now: dict[str, str], left: list[tuple[str, str, str]]
) -> None:
    intended = [Change("libc6", "1", "2"), Change("web", "1.0", "1.1"), Change("new", "", "3")]
    assert still_changed(intended, now | {"somebody-elses": "9"}) == [Change(*words) for words in left]
