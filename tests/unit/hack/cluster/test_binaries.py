"""Which Go is new enough, and which installed programs will do."""

from __future__ import annotations

import re

import pytest

from hack.cluster.binaries import STAGES, go_version

BINARIES = {binary.name: binary for stage in STAGES for binary in stage}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param("go version go1.26.8 linux/amd64", (1, 26), id="a release"),
        pytest.param("go version go1.27rc1 linux/arm64", (1, 27), id="a candidate"),
        pytest.param("command not found", (0, 0), id="none"),
    ],
)
def test_go_version(said: str, expected: tuple[int, int]) -> None:
    assert go_version(said) == expected


@pytest.mark.parametrize(
    ("name", "said", "accepted"),
    [
        pytest.param("kube-apiserver", "Kubernetes v1.36.3", True, id="the API server"),
        pytest.param("kube-apiserver", "Kubernetes v1.35.9", False, id="an older API server"),
        pytest.param("kubectl", "Client Version: v1.36.0\nKustomize Version: v5.8.0", True, id="kubectl"),
        pytest.param("helm", "v4.3.1+g1234567", True, id="helm 4"),
        pytest.param("helm", "v3.19.0", False, id="helm 3"),
        pytest.param("cosign", "GitVersion:    v3.1.3", True, id="cosign 3"),
        pytest.param("cosign", "GitVersion:    v2.5.0", False, id="cosign 2"),
        pytest.param("coredns", "CoreDNS-1.15.0", True, id="CoreDNS"),
    ],
)
def test_installed_programs(name: str, said: str, accepted: bool) -> None:
    assert bool(re.search(BINARIES[name].accept, said)) is accepted
