"""A tenant's worker acts for that tenant and in what belongs to it."""

from __future__ import annotations

from typing import Any

import pytest

from bascule_workers.adapters.same_tenant_policy import SameTenantPolicy
from bascule_workers.errors import PolicyDeniedError
from bascule_workers.messages import StepRequest
from bascule_workers.plans import image_builds
from bascule_workers.ports.policy import Question
from tests.support.runs import TENANT, image_build

BUILD = image_build()


def question(tenant: str = "acme", **changes: Any) -> Question:
    request = StepRequest(**image_builds.common(BUILD, "build"))
    for name, value in changes.items():
        part, _, field = name.partition("__")
        value = getattr(request, part).model_copy(update={field: value}) if field else value
        request = request.model_copy(update={part: value})
    return Question(tenant, "image_build.build", request)


async def test_what_belongs_to_the_tenant_is_allowed() -> None:
    await SameTenantPolicy(TENANT).authorize(question())


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(question("globex"), id="a worker of another tenant"),
        pytest.param(question(tenant__name="globex"), id="for another tenant"),
        pytest.param(question(run__tenant="globex"), id="a run of another tenant"),
        pytest.param(question(run__namespace="globex-dev"), id="a namespace of another tenant"),
        pytest.param(question(tenant__steps_namespace="bascule-steps-globex"), id="in another's steps namespace"),
        pytest.param(question(tenant__service_account="cluster-admin"), id="as another service account"),
        pytest.param(
            question(tenant__steps_namespace="bascule-steps-globex", compensating=True), id="not even to take back"
        ),
    ],
)
async def test_all_else_is_denied(asked: Question) -> None:
    with pytest.raises(PolicyDeniedError):
        await SameTenantPolicy(TENANT).authorize(asked)


async def test_what_was_done_in_a_namespace_lost_since_may_be_taken_back() -> None:
    await SameTenantPolicy(TENANT).authorize(question(run__namespace="acme-old", compensating=True))
