"""What a run may be started on."""

from __future__ import annotations

from typing import Any

import pytest

from bascule_api.conditions import Reason
from bascule_api.image_builds import ImageBuildSpec
from bascule_operator.decisions.grounds import find_grounds
from bascule_operator.decisions.image_builds import wants
from bascule_operator.decisions.views import Grounds, Problem
from tests.support.subjects import procedure, spec, tenant

COMMAND = {"name": "command", "type": "array", "required": True}
TIMES = {"name": "times", "type": "integer"}
MODE = {"name": "mode", "enum": ["quick", "full"]}
ARTIFACTS = {"name": "artifacts", "type": "array"}
LABEL = {"name": "label", "pattern": "[a-z]+"}
PROCEDURES = {
    item.metadata.name: item
    for item in (
        procedure("buildah", "ImageBuild/build"),
        procedure("private", "ImageBuild/build", tenants=("other",)),
        procedure("run-image", "ImageBuild/test", parameters=[COMMAND, TIMES, MODE, LABEL]),
        procedure("packer", "ImageBuild/build", undo="delete-images"),
        procedure("delete-images", "ImageBuild/undo", parameters=[ARTIFACTS], tenants=()),
        procedure("lonely", "ImageBuild/build", tenants=("acme",), undo="nowhere"),
        procedure("misled", "ImageBuild/build", tenants=("acme",), undo="buildah"),
    )
}
ACME = tenant("acme", "acme-dev")


def look(tenants: list[Any], **changes: Any) -> tuple[Any, ...]:
    parsed = ImageBuildSpec.model_validate(spec(**changes))
    found = find_grounds("acme-dev", wants(parsed), {item.metadata.name: item for item in tenants}, PROCEDURES)
    if isinstance(found, Grounds):
        return ("grounds", found.tenant.metadata.name, *found.procedures)
    assert isinstance(found, Problem)
    return (found.reason, found.final, found.message)


def a_test(**parameters: Any) -> dict[str, Any]:
    first = {"name": "a", "procedure": "run-image", "parameters": {"command": ["true"]}}
    return {"tests": [first, {"name": "smoke", "procedure": "run-image", "parameters": parameters}]}


def test_tenant_and_procedures_are_found_and_pinned() -> None:
    assert look([ACME], **a_test(command=["true"])) == ("grounds", "acme", "buildah", "run-image")


def test_what_takes_a_build_back_is_pinned_with_it_though_no_tenant_may_name_it() -> None:
    assert look([ACME], build={"procedure": "packer"}) == ("grounds", "acme", "packer", "delete-images")


TENANTS = [
    pytest.param([], Reason.TENANT_NOT_FOUND, "no Tenant claims the namespace acme-dev", id="unclaimed"),
    pytest.param(
        [ACME, tenant("bad", "acme-dev")], Reason.TENANT_AMBIGUOUS, "several Tenants (acme, bad)", id="claimed twice"
    ),
    pytest.param([tenant("acme", "acme-dev", ready="")], Reason.TENANT_NOT_READY, "not ready yet", id="not looked at"),
    pytest.param(
        [tenant("acme", "acme-dev", ready="False", reason="StepsNamespaceMissing")],
        Reason.TENANT_NOT_READY,
        "not ready: so it is",
        id="not ready",
    ),
    pytest.param(
        [tenant("acme", "acme-dev", ready="False", reason="TemporalUnavailable")],
        Reason.TEMPORAL_UNAVAILABLE,
        "so it is",
        id="Temporal is away",
    ),
]


@pytest.mark.parametrize(("tenants", "reason", "words"), TENANTS)
def test_without_its_tenant_a_run_waits(tenants: list[Any], reason: Reason, words: str) -> None:
    found, final, message = look(tenants)
    assert (found, final) == (reason, False)
    assert words in message


PROBLEMS = [
    pytest.param(
        {"build": {"procedure": "kaniko"}},
        (Reason.PROCEDURE_NOT_FOUND, False),
        "there is no Procedure kaniko; for ImageBuild/build there are: buildah, lonely, misled, packer, private",
        id="unknown",
    ),
    pytest.param(
        {"build": {"procedure": "run-image"}},
        (Reason.PROCEDURE_FORBIDDEN, True),
        "spec.build.procedure: the Procedure run-image is not for ImageBuild/build, but for ImageBuild/test",
        id="for another use",
    ),
    pytest.param(
        {"build": {"procedure": "private"}},
        (Reason.PROCEDURE_FORBIDDEN, True),
        "is not offered to the tenant acme",
        id="of another tenant",
    ),
    pytest.param(
        {"build": {"procedure": "lonely"}},
        (Reason.PROCEDURE_NOT_FOUND, False),
        "there is no Procedure nowhere, which spec.undo of the Procedure lonely names",
        id="what takes it back is not there",
    ),
    pytest.param(
        {"build": {"procedure": "misled"}},
        (Reason.PROCEDURE_FORBIDDEN, False),
        "the Procedure buildah, which spec.undo of the Procedure misled names, cannot take back",
        id="what takes it back is for something else",
    ),
    pytest.param(
        a_test(), (Reason.PARAMETERS_INVALID, True), "spec.tests[1].parameters.command: is required", id="missing"
    ),
    pytest.param(
        a_test(command="true"),
        (Reason.PARAMETERS_INVALID, True),
        "spec.tests[1].parameters.command: must be a list of strings",
        id="of another type",
    ),
    pytest.param(
        a_test(command=["true"], times=True),
        (Reason.PARAMETERS_INVALID, True),
        "spec.tests[1].parameters.times: must be an integer",
        id="a boolean is no integer",
    ),
    pytest.param(
        a_test(command=["true"], comand=["x"]),
        (Reason.PARAMETERS_INVALID, True),
        "spec.tests[1].parameters.comand: is not a parameter of the Procedure; it knows: command, times, mode, label",
        id="unknown name",
    ),
    pytest.param(
        a_test(command=["true"], mode="slow"),
        (Reason.PARAMETERS_INVALID, True),
        "spec.tests[1].parameters.mode: must be one of: quick, full",
        id="not in the enum",
    ),
    pytest.param(
        a_test(command=["true"], label="abc\n"),
        (Reason.PARAMETERS_INVALID, True),
        "spec.tests[1].parameters.label: must match [a-z]+",
        id="the whole value has to match",
    ),
    pytest.param(
        a_test(command=["x" * 70_000]),
        (Reason.PARAMETERS_INVALID, True),
        "spec.tests[1].parameters: together have",
        id="too much",
    ),
]


@pytest.mark.parametrize(("changes", "expected", "words"), PROBLEMS)
def test_a_problem_names_the_field_and_the_remedy(
    changes: dict[str, Any], expected: tuple[Reason, bool], words: str
) -> None:
    reason, final, message = look([ACME], **changes)
    assert (reason, final) == expected
    assert words in message


def test_what_can_never_heal_is_said_first() -> None:
    reason, final, _ = look([], build={"procedure": "run-image"})
    assert (reason, final) == (Reason.PROCEDURE_FORBIDDEN, True)
