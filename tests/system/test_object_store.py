"""The S3 object store that backups are kept in: what is put there is there, for pods and host, and after a restart."""

from __future__ import annotations

import dataclasses
import secrets

import pytest

from hack.cluster.handle import Cluster
from hack.cluster.object_store import ObjectStore
from hack.cluster.shell import ClusterError

# With tests of the same group nobody uses it while it is off.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("object-store")]


@pytest.fixture
def store(cluster: Cluster) -> ObjectStore:
    return cluster.add_object_store(f"test-{secrets.token_hex(4)}")


def test_an_object_is_read_as_it_was_written(store: ObjectStore) -> None:
    content = secrets.token_bytes(3_000_000)
    store.put("web/2026-11-22 dump.sql", content)
    assert store.get("web/2026-11-22 dump.sql") == content
    assert store.keys("web/") == ["web/2026-11-22 dump.sql"]
    assert store.keys("other/") == []


def test_an_object_that_was_removed_is_gone(store: ObjectStore) -> None:
    store.put("dump.sql", b"content")
    store.delete("dump.sql")
    store.delete("dump.sql")
    assert store.get("dump.sql") is None
    assert store.keys() == []


def test_objects_outlive_the_server(cluster: Cluster, store: ObjectStore) -> None:
    store.put("dump.sql", b"content")
    cluster.kill("object-store")
    assert cluster.add_object_store(store.bucket) == store
    assert store.get("dump.sql") == b"content"


def test_who_does_not_know_the_secret_key_reads_nothing(store: ObjectStore) -> None:
    store.put("dump.sql", b"content")
    with pytest.raises(ClusterError, match=r"(?s)403.*SignatureDoesNotMatch"):
        dataclasses.replace(store, secret_key="guessed").get("dump.sql")


def test_the_clusters_own_name_leads_to_it_and_its_certificate_is_trusted(cluster: Cluster, store: ObjectStore) -> None:
    health = cluster.exec(["curl", "--silent", "--show-error", f"{store.endpoint}/health"], check=True)
    assert health.stdout == "OK"
