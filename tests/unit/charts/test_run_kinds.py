"""Every kind with runs is in the chart's roles and admission policies."""

from __future__ import annotations

import re

import pytest
import yaml

from bascule_api.kinds import KINDS, RUN_KINDS
from hack.generated import ROOT

CHART = ROOT / "charts" / "bascule" / "templates"
RUNS = '{{ include "bascule.runKinds" . }}'


def text(path: str) -> str:
    return (CHART / path).read_text()


def resources(path: str) -> list[str]:
    """What stands in the file as lists of resources of our group, as the chart renders them."""
    found = re.findall(r"resources: (\[.*\])", text(path).replace(RUNS, _rendered()))
    return [str(name) for line in found for name in yaml.safe_load(line)]


def _rendered() -> str:
    found = re.search(r'define "bascule.runKinds" -}}\n(.*)\n', text("_helpers.tpl"))
    assert found is not None
    return found.group(1)


def test_the_chart_knows_the_kinds_with_runs() -> None:
    assert _rendered() == ", ".join(kind.plural for kind in RUN_KINDS)


@pytest.mark.parametrize("path", ["user-roles.yaml", "policies/force.yaml", "policies/finalizers.yaml"])
def test_people_and_policies_reach_every_kind_with_runs(path: str) -> None:
    assert {kind.plural for kind in RUN_KINDS} <= set(resources(path))
    assert RUNS in text(path)


def test_each_kind_warns_of_what_deletion_takes_back() -> None:
    assert {kind.plural for kind in RUN_KINDS} == set(resources("policies/warnings.yaml"))


def test_every_status_is_the_operators() -> None:
    assert {f"{kind.plural}/status" for kind in KINDS} == set(resources("policies/status.yaml"))


def test_the_chart_says_how_to_delete_every_kind() -> None:
    assert 'kubectl delete {{ include "bascule.runKinds" . | replace " " "" }} --all' in text("NOTES.txt")
