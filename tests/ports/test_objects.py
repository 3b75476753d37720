"""What `Objects` and `Tenants` promise, on the fake and on the real API server."""

from __future__ import annotations

import pytest

from bascule_api import names
from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.kubernetes_objects import KubernetesObjects, KubernetesTenants
from bascule_workers.errors import StepFailedError
from bascule_workers.ports.secrets import Labelled, Objects
from tests.support.fake_registry import Troubles
from tests.support.fake_world import FakeObjects, secret


@pytest.fixture(params=["fake", "real"])
def objects(request: pytest.FixtureRequest) -> Objects:
    if request.param == "fake":
        return FakeObjects(Troubles())
    return KubernetesObjects(request.getfixturevalue("api"))


async def test_what_exists_stays_as_it_is_and_what_is_gone_may_be_deleted_again(
    objects: Objects, namespace: str
) -> None:
    first, second = (secret("own", "", {"a": value}, namespace=namespace) for value in "12")
    assert await objects.secret(namespace, "own") is None

    for made in (first, second):
        await objects.create([made])

    found = await objects.secret(namespace, "own")
    assert found is not None
    assert found["data"] == first["data"]
    for _ in range(2):
        await objects.delete("Secret", namespace, "own")
    assert await objects.secret(namespace, "own") is None
    assert await objects.config_map(namespace, "own") is None


async def test_what_carries_a_label_is_found_without_its_content(objects: Objects, namespace: str) -> None:
    labels = {names.LABEL_RUN: "u.1"}
    for kind, name, given in (("Secret", "own", labels), ("ConfigMap", "source", labels), ("Secret", "other", {})):
        metadata = {"name": name, "namespace": namespace, "labels": given, "annotations": {"a": "b"}}
        await objects.create([{"apiVersion": "v1", "kind": kind, "metadata": metadata}])

    found = await objects.labelled(namespace, names.LABEL_RUN, "u.1")

    assert found == [
        Labelled("Secret", "own", labels, {"a": "b"}),
        Labelled("ConfigMap", "source", labels, {"a": "b"}),
    ]
    assert await objects.labelled(namespace, names.LABEL_RUN, "u.2") == []


async def test_a_secret_that_the_server_refuses_is_not_quoted(api: ApiServer, namespace: str) -> None:
    wrong = secret("Not_A_Name", "", {"a": "hunter2!"}, namespace=namespace)
    with pytest.raises(StepFailedError, match="refuses the Secret") as refused:
        await KubernetesObjects(api).create([wrong])
    assert "hunter2" not in str(refused.value)


async def test_a_tenant_that_there_is_not_has_no_key(api: ApiServer) -> None:
    assert await KubernetesTenants(api, "bascule-system").public_key("no-such-tenant") is None
    assert await KubernetesTenants(api, "bascule-system").build_cache("no-such-tenant") is None


async def test_every_tenant_has_a_cache_of_its_own(api: ApiServer) -> None:
    for name in ("cached-a", "cached-b"):
        body = {
            "apiVersion": names.API_VERSION,
            "kind": "Tenant",
            "metadata": {"name": name},
            "spec": {"namespaces": [name], "buildCache": {"repository": "r.example.com/cache"}},
        }
        await api.create(f"/apis/{names.API_VERSION}/tenants", body)
    try:
        found = [await KubernetesTenants(api, "bascule-system").build_cache(name) for name in ("cached-a", "cached-b")]
    finally:
        for name in ("cached-a", "cached-b"):
            await api.delete(f"/apis/{names.API_VERSION}/tenants/{name}")
    assert found == ["r.example.com/cache/cached-a", "r.example.com/cache/cached-b"]
