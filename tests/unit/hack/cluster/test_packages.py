"""Where this machine gets Debian from."""

from __future__ import annotations

import pytest

from hack.cluster.packages import AptSource, parse_deb822, parse_one_line

MAIN = AptSource("http://mirror.example.org/debian", "bookworm")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("deb http://mirror.example.org/debian bookworm main contrib", [MAIN], id="plain"),
        pytest.param("deb http://mirror.example.org/debian/ bookworm main", [MAIN], id="a slash at the end"),
        pytest.param(
            "deb [signed-by=/k arch=amd64] http://mirror.example.org/debian bookworm main", [MAIN], id="options"
        ),
        pytest.param("deb-src http://mirror.example.org/debian bookworm main", [], id="sources only"),
        pytest.param("# deb http://mirror.example.org/debian bookworm main", [], id="switched off"),
        pytest.param("deb http://mirror.example.org/debian bookworm contrib", [], id="without main"),
        pytest.param("", [], id="empty"),
    ],
)
def test_one_line_sources(text: str, expected: list[AptSource]) -> None:
    assert parse_one_line(text) == expected


STANZAS = """\
Types: deb deb-src
# the mirror: http://elsewhere.example.org
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb-src
URIs: http://mirror.example.org/sources
Suites: bookworm
Components: main

Types: deb
URIs: http://mirror.example.org/other
Suites: nodistro
Components: other
"""


def test_stanzas() -> None:
    assert parse_deb822(STANZAS) == [MAIN, AptSource("http://mirror.example.org/debian", "bookworm-updates")]
