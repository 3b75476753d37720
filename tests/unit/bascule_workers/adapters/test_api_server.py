"""What requests are called in the metrics."""

from __future__ import annotations

import pytest

from bascule_workers.adapters.api_server import named


@pytest.mark.parametrize(
    ("method", "path", "watching", "expected"),
    [
        ("GET", "/api/v1/nodes", False, ("list", "nodes")),
        ("GET", "/api/v1/nodes", True, ("watch", "nodes")),
        ("PATCH", "/api/v1/nodes/node-1", False, ("patch", "nodes")),
        ("GET", "/api/v1/namespaces/acme", False, ("get", "namespaces")),
        ("POST", "/api/v1/namespaces/acme/pods/web/eviction", False, ("post", "pods/eviction")),
        ("GET", "/apis/batch/v1/namespaces/acme/jobs", False, ("list", "jobs")),
        ("DELETE", "/apis/coordination.k8s.io/v1/namespaces/acme/leases/a", False, ("delete", "leases")),
        ("GET", "/apis/bascule.dev/v1alpha1/tenants/acme", False, ("get", "tenants")),
    ],
)
def test_a_request_is_named(method: str, path: str, watching: bool, expected: tuple[str, str]) -> None:
    assert named(method, path, watching=watching) == expected
