"""What keeps a build from starting is said, and heals by itself."""

from __future__ import annotations

import asyncio

from bascule_operator.store import Key
from tests.reconcilers.conftest import Lab, condition, ready


async def test_a_build_without_a_tenant_waits_and_starts_once_there_is_one(lab: Lab) -> None:
    await lab.start_operator()
    key = await lab.build()
    body = await lab.until_reason(key, "TenantNotFound")
    assert body["status"]["phase"] == "Pending"
    assert body["status"]["observedGeneration"] == 1
    assert condition(body, "Reconciling")["status"] == "True"
    assert not body["metadata"].get("finalizers")
    await lab.make_tenant()
    await lab.until_reason(Key("Tenant", "", lab.tenant), "NamespaceRegistered")
    await lab.start_worker()
    body = await lab.until_phase(key, "Succeeded")
    assert "blocked" not in body["status"]


async def test_a_namespace_claimed_twice_starts_nothing_until_one_lets_go(served: Lab) -> None:
    rival = f"{served.tenant}-rival"
    await served.make_tenant(rival, [served.namespace])
    await served.until_reason(Key("Tenant", "", rival), "NamespaceRegistered")
    key = await served.build()
    body = await served.until_reason(key, "TenantAmbiguous")
    assert f"{served.tenant}, {rival}" in ready(body)["message"]
    await served.make_tenant(rival, ["elsewhere"])
    await served.until_phase(key, "Succeeded")
    await served.delete(Key("Tenant", "", rival))
    await served.until_gone(Key("Tenant", "", rival))


async def test_an_unknown_procedure_is_named_and_its_coming_heals(served: Lab) -> None:
    key = await served.build(spec={"build": {"procedure": f"later-{served.tenant}"}})
    body = await served.until_reason(key, "ProcedureNotFound")
    assert ready(body)["message"].startswith(f"spec.build.procedure: there is no Procedure later-{served.tenant}")
    await served.apply(
        "Procedure", f"later-{served.tenant}",
        {"uses": ["ImageBuild/build"], "template": {"container": {"image": "example.com/step:1"}}},
    )  # fmt: skip
    await served.until_phase(key, "Succeeded")


async def test_wrong_parameters_are_rejected_with_the_field_and_a_correction_runs(served: Lab) -> None:
    key = await served.build(parameters={"unknown": "x"})
    body = await served.until_phase(key, "Rejected")
    assert ready(body)["reason"] == "ParametersInvalid"
    assert ready(body)["message"].startswith("spec.build.parameters.unknown: is not a parameter of the Procedure")
    assert condition(body, "Stalled")["status"] == "True"
    await served.build()
    await served.until_phase(key, "Succeeded")


async def test_a_rejected_build_is_deleted_at_once(served: Lab) -> None:
    key = await served.build(parameters={"unknown": "x"})
    await served.until_phase(key, "Rejected")
    await served.delete(key)
    await served.until_gone(key)


async def test_the_younger_of_two_tenants_with_one_temporal_namespace_is_not_ready(served: Lab) -> None:
    await asyncio.sleep(1)
    young = f"{served.tenant}-young"
    await served.make_tenant(young, ["elsewhere"], namespace=served.tenant)
    body = await served.until_reason(Key("Tenant", "", young), "TemporalNamespaceTaken")
    assert ready(body)["status"] == "False"
    await served.delete(Key("Tenant", "", young))
    await served.until_gone(Key("Tenant", "", young))


async def test_a_temporal_namespace_that_is_managed_elsewhere_is_told_with_the_commands(lab: Lab) -> None:
    await lab.start_operator()
    await lab.make_tenant(management="Existing")
    body = await lab.until_reason(Key("Tenant", "", lab.tenant), "TenantNotReady")
    assert f"temporal operator namespace create --namespace {lab.tenant}" in ready(body)["message"]


async def test_a_missing_steps_namespace_is_told_with_the_command_and_heals(lab: Lab) -> None:
    await lab.start_operator()
    await lab.apply("Tenant", lab.tenant, {"namespaces": [lab.namespace]})
    key = Key("Tenant", "", lab.tenant)
    await lab.until_reason(key, "StepsNamespaceMissing")
    await lab.make_tenant()
    await lab.until_reason(key, "NamespaceRegistered")


async def test_a_tenant_goes_only_when_nothing_depends_on_it_and_starts_nothing_meanwhile(served: Lab) -> None:
    first = await served.build("first")
    await served.until_phase(first, "Succeeded")
    tenant = Key("Tenant", "", served.tenant)
    await served.delete(tenant)
    body = await served.until_reason(tenant, "Deleting")
    assert f"ImageBuild {served.namespace}/first" in ready(body)["message"]
    second = await served.build("second")
    await served.until_reason(second, "TenantNotReady")
    await served.delete(first)
    await served.until_gone(first)
    await served.until_gone(tenant)


async def test_the_tenant_counts_its_active_runs(served: Lab) -> None:
    key = await served.build(behaviour="hang")
    tenant = Key("Tenant", "", served.tenant)
    await served.until(tenant, lambda body: body["status"].get("runs", {}).get("active") == 1, "counted one")
    await served.delete(key)
    await served.until(tenant, lambda body: body["status"].get("runs", {}).get("active") == 0, "counted none")
