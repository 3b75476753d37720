"""What a build says that it made elsewhere; the container that says so ran what a tenant wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bascule_api.image_builds import BuildArtifact
from bascule_workers.plans import artifacts

AMI = {"build": "a", "builder": "mitchellh.amazonebs", "id": "eu-west-1:ami-1", "elsewhere": True}
FILE = {"build": "b", "builder": "packer.file", "id": "File"}
FOUND = BuildArtifact(builder="mitchellh.amazonebs", id="eu-west-1:ami-1")


@pytest.mark.parametrize(
    ("items", "found"),
    [
        pytest.param([AMI, FILE], [FOUND], id="what lies elsewhere"),
        pytest.param([FILE], [], id="nothing elsewhere"),
        pytest.param([AMI, AMI], [FOUND], id="one twice"),
        pytest.param([AMI | {"elsewhere": "yes"}, 7, None, []], [], id="nonsense"),
        pytest.param([AMI | {"id": "two words"}, AMI | {"id": "a\nb"}, AMI | {"id": ""}], [], id="ids that are none"),
        pytest.param([AMI | {"id": "x" * 1025}], [], id="too long"),
    ],
)
def test_what_is_reported(items: list[Any], found: list[BuildArtifact]) -> None:
    assert artifacts.reported({"artifacts": json.dumps(items)}) == found


def test_more_than_a_status_holds_is_cut() -> None:
    items = [AMI | {"id": str(number)} for number in range(50)]
    found = artifacts.reported({"artifacts": json.dumps(items)})
    assert found is not None
    assert [item.id for item in found] == [str(number) for number in range(artifacts.MOST)]


@pytest.mark.parametrize("results", [{}, {"digest": "x"}, {"artifacts": "[{"}, {"artifacts": "{}"}])
def test_who_says_nothing_may_have_made_anything(results: dict[str, str]) -> None:
    assert artifacts.reported(results) is None


def test_one_word_each_for_builder_and_id() -> None:
    assert artifacts.words([FOUND]) == ["mitchellh.amazonebs eu-west-1:ami-1"]
