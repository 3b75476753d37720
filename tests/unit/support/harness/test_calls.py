"""Calls have names by which a case can be lived again."""

from __future__ import annotations

import pytest

from tests.support.harness import calls
from tests.support.harness.calls import Point
from tests.support.harness.campaign import Found, sample
from tests.support.harness.gate import KILLS, Fault, Kind
from tests.support.harness.lives import LIVES
from tests.support.harness.packing import Case

BUILDS = "/apis/bascule.dev/v1alpha1"
WRITE = Point("testing", "operator", "kubernetes", "patch imagebuilds/status", 2)
READ = Point("published", "operator", "kubernetes", "get imagebuilds", 1)
TASK = Point("testing", "worker", "temporal", "PollActivityTaskQueue image_build.sign", 1)
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
    case = Case(life, (Fault(kind, WRITE), Fault(Kind.ERROR, READ)))
    assert Case.parse(str(case)) == case
    assert Case.parse(f"{life}:none") == Case(life)


def test_a_task_that_was_handed_out_can_only_get_lost() -> None:
    assert FOUND.faults(list(Kind), [TASK]) == [Fault(Kind.RESET, TASK)]


def test_before_and_after_are_tried_where_they_differ() -> None:
    assert [str(fault).partition("#")[0] for fault in FOUND.faults(KILLS)] == [
        "kill-before@testing:operator/kubernetes/patch imagebuilds/status",
        "kill-after@testing:operator/kubernetes/patch imagebuilds/status",
        "kill-before@published:operator/kubernetes/get imagebuilds",
    ]


def test_only_a_write_can_conflict() -> None:
    assert FOUND.faults([Kind.CONFLICT]) == [Fault(Kind.CONFLICT, WRITE)]


def test_the_same_seed_chooses_the_same_faults() -> None:
    every = FOUND.faults(list(Kind))
    assert sample(every, 5, "one") == sample(every, 5, "one")
    assert sample(every, 5, "one") != sample(every, 5, "another")
