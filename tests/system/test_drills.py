"""Drills of a real PostgreSQL: what was dumped comes back, is probed and measured, and goes again."""

from __future__ import annotations

import io
import json
import re
import secrets
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bascule_api import names
from hack import installation
from hack.cluster.handle import Cluster
from hack.cluster.object_store import ObjectStore
from tests.support import live_drills
from tests.support.builds import Body
from tests.support.drill_environments import written_elsewhere
from tests.support.live_drills import Drill, DrillBuilder, Shop, in_registry, in_store, orders

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("drills")]


@pytest.fixture(scope="module")
def image(bascule: Cluster) -> str:
    found = bascule.extra_image("postgres")
    live_drills.ship_procedures(bascule, found)
    return found


@pytest.fixture(scope="module")
def shop(bascule: Cluster, image: str) -> Iterator[Shop]:
    """One live database for all drills of this module: none of them may change anything of it."""
    tenant = installation.make_tenant(bascule, f"drills-{secrets.token_hex(3)}")
    live_drills.enable_drills(bascule, tenant)
    yield Shop(bascule, tenant, image).open()
    bascule.kubectl("delete", "drdrills,pods", "--all", "-n", tenant.namespace, "--wait=false")


@pytest.fixture(scope="module")
def store(bascule: Cluster, shop: Shop) -> ObjectStore:
    found = bascule.add_object_store("backups")
    installation.apply(bascule, live_drills.store_secret(shop.tenant, found))
    return found


@pytest.fixture
def drill(shop: Shop) -> Callable[[], DrillBuilder]:
    return lambda: DrillBuilder(shop)


@pytest.fixture(scope="module")
def dump(shop: Shop) -> bytes:
    """Of a thousand orders; the one that follows is not in it."""
    found = shop.dump()
    shop.sql("INSERT INTO orders (id, what) VALUES (1001, 'after the dump')")
    return found


def seconds(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp).timestamp())


def namespace_of(body: Body) -> str:
    return names.drill_namespace(body["metadata"]["uid"], body["status"]["run"]["number"])


def gone(drill: Drill) -> None:
    """Nothing of the drill is left, and the status proves it."""
    body = drill.get()
    assert body is not None
    assert drill.cluster.kubectl("get", "namespace", namespace_of(body), "--ignore-not-found") == ""
    searched = {item["kind"]: item for item in body["status"]["drill"]["searched"]}
    assert searched["Namespace"]["before"] == 1
    assert [item for item in searched.values() if item.get("after", 0)] == []


def test_a_dump_comes_back_is_probed_and_measured_to_the_second_and_nothing_live_is_touched(
    shop: Shop, dump: bytes, drill: Callable[[], DrillBuilder]
) -> None:
    began = datetime.now(UTC).isoformat()
    point = shop.now()
    declared = (datetime.fromisoformat(point) + timedelta(seconds=7)).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = (
        drill()
        .restoring(in_registry(shop.cluster, dump, point))
        .asking(orders(), {"name": "answers", "tcp": {"service": "db", "port": 5432}})
        .with_spec(disaster={"declaredAt": declared}, objectives={"rto": "1h", "rpo": "1h"})
    )
    made.environment()
    before = shop.versions()

    applied = made.apply()
    figures = applied.figures()

    assert figures["phase"] == "Succeeded", figures
    assert (figures["verdict"], figures["reason"]) == ("Met", "ObjectivesMet"), figures
    assert (figures["rpoSeconds"], figures["recoveryPoint"]) == (7, point)
    passed = max(seconds(probe["passedAt"]) for probe in figures["probes"])
    assert figures["rtoSeconds"] == passed - seconds(declared) > 0
    assert figures["backup"].startswith("sha256:")
    gone(applied)
    assert shop.versions() == before
    assert shop.sql("SELECT count(*) FROM orders") == "1001"
    assert written_elsewhere(shop.cluster, shop.tenant, began) == []


def test_a_dump_in_an_object_store_comes_back_with_keys_that_are_gone_before_anything_is_asked(
    shop: Shop, dump: bytes, store: ObjectStore, drill: Callable[[], DrillBuilder]
) -> None:
    point = shop.now()
    made = drill().restoring(in_store(store, dump, point), secretRef={"name": "backup"})
    figures = made.with_spec(objectives={"rpo": "1h"}).apply().figures()
    assert (figures["verdict"], figures["recoveryPoint"]) == ("Met", point), figures


def test_files_come_back_into_a_claim_before_the_workload_that_serves_them_begins(
    shop: Shop, store: ObjectStore, drill: Callable[[], DrillBuilder]
) -> None:
    point = shop.now()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("uploads/greeting.txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"hello"))
    made = replace(drill(), manifests=live_drills.web_server(shop.image, shop.cluster.add_volumes()))
    http = {"service": "web", "port": 8080, "path": "/uploads/greeting.txt", "successCondition": "body == 'hello'"}
    made = made.restoring_files(in_store(store, buffer.getvalue(), point), secretRef={"name": "backup"})
    applied = made.asking({"name": "greeting", "http": http}).apply()

    figures = applied.figures()

    assert (figures["verdict"], figures["recoveryPoint"]) == ("Met", point), figures
    gone(applied)


BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda dump: b"", "is empty"),
    "truncated": (lambda dump: dump[: len(dump) - 200], "truncated or damaged"),
    "of a newer major version": (lambda dump: re.sub(rb"\b15\.(\d+) \(", rb"99.\1 (", dump), "PostgreSQL 99"),
}


@pytest.mark.parametrize(("spoil", "told"), BAD.values(), ids=BAD)
def test_a_backup_that_is_no_good_is_a_missed_drill_that_says_why(
    shop: Shop, dump: bytes, drill: Callable[[], DrillBuilder], spoil: Callable[[bytes], bytes], told: str
) -> None:
    applied = drill().restoring(in_registry(shop.cluster, spoil(dump))).apply()
    figures = applied.figures()
    assert (figures["phase"], figures["failure"]["type"]) == ("Failed", "BackupNotFound"), figures
    assert told in figures["failure"]["message"]
    assert (figures["verdict"], figures["reason"]) == ("Missed", "RestoreFailed")
    gone(applied)


def test_a_backup_that_is_not_there_is_named(shop: Shop, drill: Callable[[], DrillBuilder]) -> None:
    missing = f"{shop.cluster.registry}/backups/never:v1"
    figures = drill().restoring({"artifact": missing}).apply().figures()
    assert (figures["failure"]["type"], figures["verdict"]) == ("BackupNotFound", "Missed"), figures
    assert missing in figures["failure"]["message"]


def test_a_probe_that_does_not_pass_is_a_missed_drill(
    shop: Shop, dump: bytes, drill: Callable[[], DrillBuilder]
) -> None:
    probe = orders("1001|1001") | {"timeout": "10s"}
    figures = drill().restoring(in_registry(shop.cluster, dump)).asking(probe).apply().figures()
    assert (figures["phase"], figures["verdict"], figures["reason"]) == ("Succeeded", "Missed", "ProbeFailed"), figures
    assert "the query gave 1000|1000, not 1001|1001" in figures["probes"][0]["message"]


def test_objectives_that_are_exceeded_are_missed(shop: Shop, dump: bytes, drill: Callable[[], DrillBuilder]) -> None:
    point = (datetime.now(UTC) - timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = drill().restoring(in_registry(shop.cluster, dump, point)).with_spec(objectives={"rpo": "1h"})
    figures = made.apply().figures()
    assert (figures["verdict"], figures["reason"]) == ("Missed", "RPOExceeded"), figures
    assert figures["rpoSeconds"] >= 3 * 3600


def test_a_restore_that_lies_about_its_recovery_point_is_caught_by_what_a_probe_sees(
    shop: Shop, dump: bytes, drill: Callable[[], DrillBuilder]
) -> None:
    probe = orders(asOfQuery="SELECT max(at) - interval '5 hours' FROM orders")
    made = drill().restoring(in_registry(shop.cluster, dump, shop.now())).asking(probe)
    figures = made.with_spec(objectives={"rpo": "1h"}).apply().figures()
    assert (figures["verdict"], figures["reason"]) == ("Missed", "RecoveryPointContradicted"), figures


def test_without_a_recovery_point_nothing_is_met(shop: Shop, drill: Callable[[], DrillBuilder]) -> None:
    silent = shop.dump("--format=plain --no-owner")
    made = drill().restoring(in_registry(shop.cluster, silent)).asking(orders("1001|1001"))
    figures = made.with_spec(objectives={"rpo": "1h"}).apply().figures()
    assert (figures["verdict"], figures["reason"]) == ("Inconclusive", "RecoveryPointUnknown"), figures


def test_a_deleted_drill_leaves_nothing_and_ends_in_the_middle_of_its_restore(
    shop: Shop, dump: bytes, drill: Callable[[], DrillBuilder]
) -> None:
    applied = drill().restoring(in_registry(shop.cluster, dump)).apply()
    body = applied.until_step("restore", "Running")
    applied.delete()
    applied.until_gone()
    assert shop.cluster.kubectl("get", "namespace", namespace_of(body), "--ignore-not-found") == ""


def test_a_live_database_cannot_be_named_as_the_place_to_restore_into(
    shop: Shop, dump: bytes, drill: Callable[[], DrillBuilder]
) -> None:
    made = drill().restoring(in_registry(shop.cluster, dump))
    outside = f"live.{shop.tenant.namespace}.svc"
    made.spec["restore"]["parameters"]["service"] = outside
    body = made.apply().until_phase("Rejected")
    assert "service" in json.dumps(body["status"]["conditions"])
    assert shop.sql("SELECT count(*) FROM orders") == "1001"


def test_a_recovery_that_takes_longer_than_it_may_is_missed(
    shop: Shop, dump: bytes, drill: Callable[[], DrillBuilder]
) -> None:
    made = drill().restoring(in_registry(shop.cluster, dump, shop.now())).with_spec(objectives={"rto": "1s"})
    figures = made.apply().figures()
    assert (figures["verdict"], figures["reason"]) == ("Missed", "RTOExceeded"), figures
    assert figures["rtoSeconds"] > 1


def test_a_namespace_that_is_kept_holds_no_keys_and_goes_with_its_drill(
    shop: Shop, dump: bytes, store: ObjectStore, drill: Callable[[], DrillBuilder]
) -> None:
    made = drill().restoring(in_store(store, dump[:-200], shop.now()), secretRef={"name": "backup"})
    applied = made.with_spec(keepFor="1h").apply()
    body = applied.until(lambda found: (found.get("status", {}).get("waitingFor") or {}).get("gate") == "keep", "kept")

    namespace = namespace_of(body)
    held = json.loads(shop.cluster.kubectl("get", "secrets", "-n", namespace, "-o", "json"))["items"]
    assert {item["metadata"]["name"] for item in held} == {"db"}
    applied.delete()
    applied.until_gone()
    assert shop.cluster.kubectl("get", "namespace", namespace, "--ignore-not-found") == ""
