"""Calls have names by which a case can be lived again."""

from __future__ import annotations

import pytest

from tests.support.harness import calls
from tests.support.harness.calls import Point
from tests.support.harness.campaign import Case, Found, cases, sample
from tests.support.harness.gate import Fault, Kind
from tests.support.harness.lives import LIVES

BUILDS = "/apis/bascule.dev/v1alpha1"
WRITE = Point("operator", "kubernetes", "patch imagebuilds/status", 2)
READ = Point("operator", "kubernetes", "get imagebuilds", 1)
TASK = Point("worker", "temporal", "PollActivityTaskQueue image_build.sign", 1)
FOUND = Found([WRITE, READ, TASK], [], frozenset({"PollActivityTaskQueue image_build.sign"}), frozenset({WRITE.name}))


@pytest.mark.parametrize(
    ("method", "path", "query", "name"),
    [
        ("GET", f"{BUILDS}/imagebuilds", {}, "list imagebuilds"),
        ("GET", f"{BUILDS}/imagebuilds", {"watch": "true"}, "watch imagebuilds"),
        ("GET", f"{BUILDS}/namespaces/dev/imagebuilds/web", {}, "get imagebuilds"),
        ("PATCH", f"{BUILDS}/namespaces/dev/imagebuilds/web/status", {}, "patch imagebuilds/status"),
        ("PATCH", f"{BUILDS}/tenants/acme/status", {}, "patch tenants/status"),
        ("GET", "/api/v1/namespaces/dev", {}, "get namespaces"),
        ("POST", "/apis/batch/v1/namespaces/steps/jobs", {}, "create jobs"),
        ("GET", "/api/v1/namespaces/steps/pods/web/log", {"container": "step"}, "get pods/log"),
        ("DELETE", "/api/v1/namespaces/steps/secrets/run", {}, "delete secrets"),
    ],
)
def test_a_call_to_the_api_server_is_named_by_verb_and_resource(
    method: str, path: str, query: dict[str, str], name: str
) -> None:
    assert calls.kubernetes("operator", method, path, query).name == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v2/acme/web/manifests/v1", "PUT manifests"),
        ("/v2/acme/web-candidates/manifests/v1", "PUT manifests (candidates)"),
        ("/v2/acme/web/blobs/uploads/abc", "PUT uploads"),
        ("/v2/acme/web/blobs/sha256:1", "PUT blobs"),
        ("/v2/", "PUT /v2/"),
    ],
)
def test_a_call_to_the_registry_is_named_by_what_it_is_about(path: str, name: str) -> None:
    assert calls.registry("worker", "PUT", path).name == name


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("life", LIVES)
def test_a_case_can_be_read_from_how_it_is_written(life: str, kind: Kind) -> None:
    case = Case(life, Fault(kind, WRITE))
    assert Case.parse(str(case)) == case


def test_a_task_that_was_handed_out_can_only_get_lost() -> None:
    tried = cases(LIVES["success"], FOUND, [TASK], list(Kind))
    assert [case.fault for case in tried] == [Fault(Kind.RESET, TASK)]


def test_before_and_after_are_tried_where_they_differ() -> None:
    tried = cases(LIVES["success"], FOUND, FOUND.always, [Kind.KILL_BEFORE, Kind.KILL_AFTER])
    assert [str(case.fault).partition("#")[0] for case in tried] == [
        "kill-before@operator/kubernetes/patch imagebuilds/status",
        "kill-after@operator/kubernetes/patch imagebuilds/status",
        "kill-before@operator/kubernetes/get imagebuilds",
    ]


def test_the_same_seed_chooses_the_same_cases() -> None:
    every = cases(LIVES["success"], FOUND, FOUND.always, list(Kind))
    assert sample(every, 5, "one") == sample(every, 5, "one")
    assert sample(every, 5, "one") != sample(every, 5, "another")
