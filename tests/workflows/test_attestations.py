"""What the platform attests of an image, in the workflow: attached, verified, told; or not, and then nothing moves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bascule_api.conditions import Phase
from bascule_workers.errors import SbomFailedError, SigningFailedError
from bascule_workers.ports.signer import PredicateType
from tests.support.fake_world import World
from tests.support.runs import CANDIDATES, REPOSITORY, Runs, image_build


def predicates(world: World, digest: str) -> dict[PredicateType, Any]:
    return {kind: predicate for _, kind, predicate in world.registry.attestations[REPOSITORY][digest]}


async def test_a_published_image_carries_its_bill_of_materials_and_its_provenance(runs: Runs, world: World) -> None:
    build = image_build()

    story = await runs.carried_out(build)

    image = story.result.image
    assert image is not None
    assert image.sbom is not None
    assert image.provenance is not None
    found = predicates(world, image.digest)
    assert [package["name"] for package in found[PredicateType.SPDX]["packages"]] == ["hello"]
    definition = found[PredicateType.SLSA_PROVENANCE]["buildDefinition"]
    assert definition["internalParameters"]["run"] == f"{build.run.uid}/1"
    assert [item["uri"] for item in definition["resolvedDependencies"]] == [
        "kubernetes:configmaps/acme-dev/src",
        "kubernetes:procedures.bascule.dev/buildah",
        "kubernetes:procedures.bascule.dev/run-image",
    ]
    assert world.registry.empty(CANDIDATES)


async def test_a_platform_without_a_key_attests_nothing_and_says_so(runs: Runs, world: World) -> None:
    world.platform_key.pair = None

    story = await runs.carried_out(image_build())

    assert story.result.phase == Phase.SUCCEEDED
    skipped = {step.name: step.message for step in story.result.steps if step.state == "Skipped"}
    assert set(skipped) == {"sbom", "attest"}
    assert all("provenance.keySecretName is empty" in message for message in skipped.values())
    assert story.progress[-1].completed == story.progress[-1].total
    assert story.result.image is not None
    assert (story.result.image.sbom, story.result.image.provenance) == (None, None)
    assert story.result.image.signature is not None


async def test_an_artifact_that_is_no_image_has_provenance_only(runs: Runs, world: World) -> None:
    world.registry.config_type = "application/vnd.oci.empty.v1+json"

    story = await runs.carried_out(image_build(tests=()))

    assert story.steps["sbom"] == "Skipped"
    assert story.result.image is not None
    assert story.result.image.sbom is None
    assert story.result.image.provenance is not None


@pytest.mark.parametrize(
    ("call", "error", "kind", "step"),
    [
        pytest.param(
            "describe", SbomFailedError("syft failed with exit code 2: panic"), "SbomFailed", "sbom", id="syft crashes"
        ),
        pytest.param(
            "attest-spdx", SigningFailedError("decryption failed"), "SigningFailed", "sbom", id="a wrong password"
        ),
        pytest.param(
            "attest-slsa_provenance", SigningFailedError("no such key"), "SigningFailed", "attest", id="no such key"
        ),
    ],
)
async def test_what_cannot_be_attested_is_not_published(
    runs: Runs, world: World, call: str, error: Exception, kind: str, step: str
) -> None:
    world.troubles.before[call] = [error]

    story = await runs.carried_out(image_build())

    assert story.failure_type == kind
    assert story.result.failure is not None
    assert (story.result.failure.step, story.result.failure.message) == (step, str(error))
    assert world.registry.empty(REPOSITORY)
    assert world.registry.empty(CANDIDATES)


async def test_a_syft_that_was_killed_is_tried_again(runs: Runs, world: World) -> None:
    world.troubles.before["describe"] = [SbomFailedError("syft was ended by signal 9", retryable=True)]

    story = await runs.carried_out(image_build())

    assert story.result.phase == Phase.SUCCEEDED
    assert [step.attempts for step in story.result.steps if step.name == "sbom"] == [2]


@pytest.mark.parametrize("kind", list(PredicateType))
async def test_an_attestation_that_states_something_else_ends_the_run_before_any_tag_moves(
    runs: Runs, world: World, kind: PredicateType
) -> None:
    world.attester.instead[kind] = {"spdxVersion": "SPDX-2.3", "packages": [], "buildDefinition": {}}

    story = await runs.carried_out(image_build())

    assert story.failure_type == "VerificationFailed"
    assert story.result.failure is not None
    assert story.result.failure.step == "verify"
    assert story.result.image is not None
    assert story.result.image.signature is None
    assert world.registry.empty(REPOSITORY)


async def test_attestations_by_another_key_count_for_nothing(runs: Runs, world: World) -> None:
    world.platform_key.pair = ("platform", "another's public half")

    story = await runs.carried_out(image_build())

    assert story.failure_type == "VerificationFailed"
    assert "by the platform's key" in (story.result.failure.message if story.result.failure else "")
    assert world.registry.empty(REPOSITORY)


async def test_the_platforms_key_is_in_no_history(runs: Runs, world: World) -> None:
    handle = await runs.start(image_build())
    await runs.story(handle)

    async for event in handle.fetch_history_events():
        for payload in event.activity_task_scheduled_event_attributes.input.payloads:
            [plain] = await runs.env.client.data_converter.decode([payload])
            assert "canary-secret" not in json.dumps(plain)
