"""The real Temporal server: client certificates, and a token per tenant that opens one Temporal namespace."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator

import pytest

from hack import installation
from hack.cluster import handle
from hack.cluster.handle import Cluster
from hack.cluster.temporal_access import tenant_permissions
from hack.cluster.temporal_server import TemporalKind
from hack.installation import TenantHandle
from tests.support.builds import ImageBuildBuilder

# One process: they share a cluster of their own.
pytestmark = pytest.mark.xdist_group("temporal-server")
NAME = f"{os.environ.get('BASCULE_TEST_CLUSTER', 'bascule-test')}-pg"
ACME, GLOBEX = (f"{name}-{secrets.token_hex(3)}" for name in ("acme", "globex"))


def secret_of(tenant: str) -> str:
    return f"temporal-{tenant}"


@pytest.fixture(scope="module")
def platform() -> Iterator[Cluster]:
    """A cluster with the real server. The worker holds nothing but what the Tenants bring."""
    found = handle.running(NAME)
    cluster = found or handle.up(NAME, TemporalKind.POSTGRES)
    for tenant in (ACME, GLOBEX):
        installation.prepare_system_namespace(cluster)
        installation.apply(
            cluster, installation.temporal_secret(cluster, secret_of(tenant), tenant_permissions(tenant))
        )
    temporal = installation.temporal_values(cluster) | {
        "workerSecretName": "",
        "tenantSecrets": [secret_of(tenant) for tenant in (ACME, GLOBEX)],
    }
    installation.install(cluster.refresh_images(), temporal=temporal)
    yield cluster
    if found is None:
        handle.down(NAME)


@pytest.fixture(scope="module")
def acme(platform: Cluster) -> TenantHandle:
    return installation.make_tenant(platform, ACME, temporal={"credentialsSecretRef": {"name": secret_of(ACME)}})


def test_a_build_runs_with_the_credentials_of_its_tenant_alone(platform: Cluster, acme: TenantHandle) -> None:
    build = ImageBuildBuilder("web", platform, acme).with_test("greets", "cat", "/greeting").apply()

    body = build.until_phase("Succeeded")

    assert body["status"]["published"]["tags"]
    assert body["status"]["run"]["temporalNamespace"] == ACME


def test_a_tenant_whose_credentials_open_another_namespace_is_not_ready_until_they_are_right(
    platform: Cluster, acme: TenantHandle
) -> None:
    wrong = installation.temporal_secret(platform, secret_of(GLOBEX), tenant_permissions(ACME))
    installation.apply(platform, wrong)
    globex = installation.make_tenant(
        platform, GLOBEX, temporal={"credentialsSecretRef": {"name": secret_of(GLOBEX)}}, ready="False"
    )
    told = json.loads(platform.kubectl("get", "tenant", GLOBEX, "-o", "json"))["status"]["conditions"]
    (ready,) = [condition for condition in told if condition["type"] == "Ready"]
    assert ready["reason"] == "TenantNotReady"
    assert "unauthorized" in ready["message"]
    build = ImageBuildBuilder("web", platform, globex).apply()

    right = installation.temporal_secret(platform, secret_of(GLOBEX), tenant_permissions(GLOBEX))
    installation.apply(platform, right)

    platform.kubectl("wait", "--for=condition=Ready", f"tenant/{GLOBEX}", "--timeout=150s")
    build.until_phase("Succeeded")


@pytest.mark.parametrize(
    ("namespace", "certificate", "refusal"),
    [
        pytest.param(GLOBEX, True, "unauthorized", id="another tenant's namespace"),
        pytest.param(ACME, False, "certificate", id="its own namespace without a client certificate"),
    ],
)
def test_a_tenants_token_opens_nothing_else(
    platform: Cluster, acme: TenantHandle, namespace: str, certificate: bool, refusal: str
) -> None:
    token = platform.temporal_credentials(ACME, tenant_permissions(ACME))["api-key"]
    environment = {"TEMPORAL_API_KEY": token}
    if not certificate:
        environment |= {"TEMPORAL_TLS_CLIENT_CERT_PATH": "", "TEMPORAL_TLS_CLIENT_KEY_PATH": ""}

    own = platform.exec(["temporal", "workflow", "list", "--namespace", ACME], env={"TEMPORAL_API_KEY": token})
    other = platform.exec(["temporal", "workflow", "list", "--namespace", namespace], env=environment)

    assert own.returncode == 0, own.stderr
    assert other.returncode != 0
    assert refusal in other.stderr
