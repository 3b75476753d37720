"""What the chart's tests share."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from hack.cluster.handle import Cluster
from hack.generated import ROOT

CHART = ROOT / "charts" / "bascule"
Documents = list[dict[str, Any]]
Render = Callable[..., Documents]


@pytest.fixture
def render(cluster: Cluster) -> Render:
    """Renders the chart with the least values it needs, and others as `path=value`."""

    def rendered(*values: str) -> Documents:
        settings = [word for value in values for word in ("--set", value)]
        argv = ["helm", "template", "bascule", str(CHART), "--namespace", "bascule-system"]
        text = cluster.exec([*argv, "--values", str(CHART / "ci/values.yaml"), *settings], check=True).stdout
        return [document for document in yaml.safe_load_all(text) if document]

    return rendered


@pytest.fixture
def namespace(bascule: Cluster) -> Iterator[str]:
    """A namespace of the test's own, claimed by no tenant."""
    name = f"chart-test-{secrets.token_hex(4)}"
    bascule.kubectl("create", "namespace", name)
    yield name
    bascule.kubectl("delete", "namespace", name, "--wait=false")
