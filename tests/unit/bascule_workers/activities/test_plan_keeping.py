"""The whole plan is kept where the tenant has a place for it, and read there by the command line."""

from __future__ import annotations

import json
from datetime import date

from bascule_api.progress import RunIdentity, TenantFacts
from bascule_cli.views.plans import of_artifact
from bascule_workers.activities.plan_keeping import KeptPlan, PlanKeeper
from bascule_workers.errors import RegistryUnavailableError
from bascule_workers.messages import StepRequest
from bascule_workers.patch_campaigns import Plan, PlannedWave, Target
from bascule_workers.ports.registry import Repository
from tests.support.fake_world import FakeLogs, FakeTenants

REQUEST = StepRequest(
    run=RunIdentity(
        kind="PatchCampaign", namespace="acme-dev", name="web", uid="u", number=3, revision="1-a", tenant="acme"
    ),
    tenant=TenantFacts(name="acme", steps_namespace="bascule-steps-acme", service_account="step"),
    step="plan",
)
PLAN = Plan(
    digest=f"sha256:{'0' * 64}",
    waves=[PlannedWave(name="fleet", targets=[Target(name=f"node-{number}", zone="a") for number in range(300)])],
)
PLACE = {"acme": Repository("registry.example.com/acme/artifacts")}


def keeper(tenants: FakeTenants, logs: FakeLogs) -> PlanKeeper:
    return PlanKeeper(tenants, logs, lambda: date(2026, 11, 22))


async def test_it_is_kept_and_all_targets_are_found_in_it_again() -> None:
    logs = FakeLogs()

    kept = await keeper(FakeTenants(repositories=PLACE), logs).keep(REQUEST, PLAN)

    repository, _, digest = kept.artifact.partition("@")
    where, text, annotations = logs.kept[digest]
    assert (repository, where) == ("registry.example.com/acme/artifacts", repository)
    assert annotations == {"dev.bascule.run": "u/3", "dev.bascule.resource": "PatchCampaign/acme-dev/web"}
    assert logs.days == ["20261122"]
    found = of_artifact(json.loads(text))
    assert (found.digest, [target.name for target in found.waves[0].targets]) == (
        PLAN.digest,
        [f"node-{number}" for number in range(300)],
    )


async def test_the_same_plan_is_the_same_artifact() -> None:
    logs = FakeLogs()
    tenants = FakeTenants(repositories=PLACE)

    assert await keeper(tenants, logs).keep(REQUEST, PLAN) == await keeper(tenants, logs).keep(REQUEST, PLAN)
    assert len(logs.kept) == 1


async def test_without_a_place_nothing_is_kept_and_nothing_said() -> None:
    assert await keeper(FakeTenants(), FakeLogs()).keep(REQUEST, PLAN) == KeptPlan()


async def test_a_registry_that_is_away_stops_no_campaign() -> None:
    logs = FakeLogs()
    logs.troubles.before["keep"].append(RegistryUnavailableError("it is silent"))

    kept = await keeper(FakeTenants(repositories=PLACE), logs).keep(REQUEST, PLAN)

    assert kept == KeptPlan(note="the whole plan could not be kept: it is silent")
