"""A drill's report is kept where the tenant has a place for it; where it cannot be, the step says why."""

from __future__ import annotations

from datetime import date

import pytest

from bascule_workers.activities.drill_reports import NOWHERE, DrillReportActivities
from bascule_workers.dr_drills import Reported
from bascule_workers.errors import RegistryRefusedError, RegistryUnavailableError
from bascule_workers.ports.registry import Repository
from tests.support.drill_reports import request
from tests.support.fake_world import FakeLogs, FakeTenants

PLACE = {"acme": Repository("registry.example.com/acme/artifacts")}


def activities(logs: FakeLogs, repositories: dict[str, Repository] = PLACE) -> DrillReportActivities:
    return DrillReportActivities(FakeTenants(repositories=repositories), logs, lambda: date(2026, 11, 22))


async def test_it_is_kept_with_the_name_of_its_drill() -> None:
    logs = FakeLogs()

    done = await activities(logs).report(request())

    where, page, annotations = logs.kept[done.value.digest]
    assert where == "registry.example.com/acme/artifacts"
    assert "<h1>DRDrill orders in acme-prod</h1>" in page
    assert annotations == {
        "dev.bascule.run": "u/10",
        "dev.bascule.resource": "DRDrill/acme-prod/orders",
        "org.opencontainers.image.title": "orders-10.html",
    }
    assert logs.days == ["20261122"]


async def test_the_same_drill_has_the_same_report() -> None:
    logs = FakeLogs()

    assert await activities(logs).report(request()) == await activities(logs).report(request())


async def test_without_a_place_the_step_says_so() -> None:
    done = await activities(FakeLogs(), {}).report(request())

    assert (done.value, done.message) == (Reported(note=NOWHERE), NOWHERE)


async def test_a_registry_that_refuses_changes_no_verdict() -> None:
    logs = FakeLogs()
    logs.troubles.before["keep"] = [RegistryRefusedError("registry.example.com refuses: denied")]

    done = await activities(logs).report(request())

    assert done.message == "the report could not be kept: registry.example.com refuses: denied"


async def test_a_registry_that_does_not_answer_is_asked_again() -> None:
    logs = FakeLogs()
    logs.troubles.before["keep"] = [RegistryUnavailableError("no answer")]

    with pytest.raises(RegistryUnavailableError):
        await activities(logs).report(request())
