"""What a build says that it was made from."""

from __future__ import annotations

import pytest

from bascule_workers.messages import BaseImage
from bascule_workers.plans import bases

DIGEST = "sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("words", "references"),
    [
        pytest.param(
            [f"r.example:5000/b:1@{DIGEST}", f"r.example/a@{DIGEST}"],
            ["r.example/a", "r.example:5000/b:1"],
            id="by name",
        ),
        pytest.param([f"r.example/a@{DIGEST}"] * 3, ["r.example/a"], id="one twice"),
        pytest.param(["r.example/a@sha256:0", DIGEST, "$(x)@" + DIGEST, ""], [], id="what is no reference"),
        pytest.param(
            [f"r.example/a{n:03}@{DIGEST}" for n in range(99)], [f"r.example/a{n:03}" for n in range(64)], id="too many"
        ),
    ],
)
def test_what_was_pulled(words: list[str], references: list[str]) -> None:
    found = bases.reported({"baseImages": " ".join(words)})
    assert found == [BaseImage(reference=reference, digest=DIGEST) for reference in references]


def test_a_build_that_says_nothing_has_none() -> None:
    assert bases.reported({}) == []
