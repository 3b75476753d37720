"""Bascule's kinds on a cluster that kind makes, where a Docker engine answers. hack/cluster needs none."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from hack.generated import ROOT

if TYPE_CHECKING:
    from pytest_kind import KindCluster


@pytest.fixture(scope="session")
def docker() -> None:
    """Skips before kind is asked for, which would download it."""
    if shutil.which("docker") is None:
        pytest.skip("kind needs a Docker engine, and there is no docker command")
    answer = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False, timeout=30)
    if answer.returncode != 0:
        pytest.skip(f"kind needs a Docker engine, and none answers: {answer.stderr.strip()}")


@pytest.fixture
def kind(docker: None, request: pytest.FixtureRequest) -> KindCluster:
    """The cluster of pytest-kind, asked for only now."""
    cluster: KindCluster = request.getfixturevalue("kind_cluster")
    return cluster


def test_the_kinds_are_served_and_an_example_is_accepted(kind: KindCluster) -> None:
    kind.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"), "--request-timeout=60s")
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        name = yaml.safe_load(path.read_text())["metadata"]["name"]
        kind.kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=60s")
    kind.kubectl("create", "namespace", "acme-dev")
    kind.kubectl("apply", "-f", str(ROOT / "examples" / "image-build-configmap.yaml"))
    assert "hello" in kind.kubectl("get", "ib", "-n", "acme-dev")
