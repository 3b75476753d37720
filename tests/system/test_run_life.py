"""When a run starts, and how it ends: the table of the design, row by row, with the real operator and workers.

Runs are kept small: one whose key is missing fails within a second and starts no Job; one whose git server does
not answer goes on until it is stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hack.cluster.handle import Cluster
from hack.installation import SYSTEM_NAMESPACE, TenantHandle
from tests.support import faults
from tests.support.builds import Body, Build, ImageBuildBuilder, condition, digest_of, phase_of, tags
from tests.support.requests import ADMIN_GROUP, OPERATOR, as_user

Builder = Callable[[str], ImageBuildBuilder]

MISSING = {"keySecretRef": {"name": "no-such-secret"}}
SILENT = {"git": {"url": "https://silent.invalid/acme/web.git"}}


@pytest.fixture
def quick(image_build: Builder) -> Builder:
    """Builds whose runs fail at once, for want of a key."""
    return lambda name: image_build(name).with_spec(sign=MISSING)


@pytest.fixture
def endless(image_build: Builder) -> Builder:
    """Builds whose runs try to reach their source until somebody stops them."""
    return lambda name: image_build(name).with_spec(source=SILENT)


@pytest.fixture
def after_all(quick: Builder) -> Callable[[], None]:
    """Waits until the operator has dealt with everything that came before."""
    names = iter(range(100))

    def waited() -> None:
        quick(f"afterwards-{next(names)}").apply().until_over()

    return waited


def run(body: Body) -> Body:
    return dict(body.get("status", {}).get("run", {}))


def ready(body: Body) -> Body:
    return condition(body, "Ready")


def is_over(number: int) -> Callable[[Body], bool]:
    return lambda body: run(body).get("number") == number and "outcome" in run(body)


def goes_on(number: int) -> Callable[[Body], bool]:
    return lambda body: run(body).get("number") == number and phase_of(body) == "Running"


def runs_of(build: Build) -> list[str]:
    """Ids of all runs that Temporal itself knows of the resource, oldest first."""
    body = build.get()
    assert body is not None
    listed = build.cluster.exec(
        ["temporal", "workflow", "list", "--address", build.cluster.temporal_address, "--output", "json"]
        + ["--namespace", build.made.tenant.name, "--query", f"BasculeUid = '{body['metadata']['uid']}'"],
        check=True,
    ).stdout
    return sorted(item["execution"]["workflowId"] for item in json.loads(listed or "[]"))


def patch(build: Build, body: Body, *options: str) -> None:
    build.cluster.kubectl("patch", *build.arguments, "--type=merge", "-p", json.dumps(body), *options)


def write_status(build: Build, status: Body) -> None:
    """As the operator: nobody else may."""
    options = ["--subresource=status", *as_user(OPERATOR, ADMIN_GROUP)]
    patch(build, {"status": status}, *options)


# a revision, a request, or neither


def test_nothing_differs_and_nothing_starts(quick: Builder, bascule: Cluster, after_all: Callable[[], None]) -> None:
    asked = {"bascule.dev/requested-at": "at once"}
    build = quick("rest").with_metadata(annotations=asked).apply()
    build.until_phase("Failed")
    bascule.kubectl("label", *build.arguments, "team=a")
    bascule.kubectl("annotate", *build.arguments, "example.com/note=a")
    quick("rest").with_spec(timeout="3h").with_metadata(annotations=asked).apply()
    write_status(build, {"run": None, "handled": None, "progress": None, "steps": None})
    faults.sigkill(bascule, "operator")
    faults.wait_ready(bascule, "operator")
    after_all()
    body = build.until_phase("Failed")
    assert [past["number"] for past in body["status"]["history"]] == [1]
    assert len(runs_of(build)) == 1


def test_a_new_request_runs_again_once_and_its_removal_does_nothing(
    quick: Builder, bascule: Cluster, after_all: Callable[[], None]
) -> None:
    build = quick("asked").apply()
    build.until(is_over(1), "over")
    build.annotate(requested_at="one")
    body = build.until(is_over(2), "run again")
    assert (run(body)["trigger"], body["status"]["handled"]["request"]) == ("Request", "one")
    build.annotate(requested_at="one")
    bascule.kubectl("annotate", *build.arguments, "bascule.dev/requested-at-")
    after_all()
    assert len(runs_of(build)) == 2


def test_each_new_revision_runs_and_the_history_keeps_the_last_five(quick: Builder) -> None:
    for number in range(1, 8):
        build = quick("revised").with_publish(tags=[f"v{number}"]).apply()
        body = build.until(is_over(number), f"over with run {number}")
        assert run(body)["trigger"] == "Revision"
    history = body["status"]["history"]
    assert [past["number"] for past in history] == [7, 6, 5, 4, 3]
    assert {past["phase"] for past in history} == {"Failed"}
    assert len({past["revision"] for past in history}) == 5
    assert history[0]["summary"].startswith("step resolve failed: ")


def test_a_request_that_changes_every_few_seconds_is_throttled_and_says_until_when(quick: Builder) -> None:
    build = quick("restless").apply()
    build.until(is_over(1), "over")
    build.annotate(requested_at="0")
    build.until(is_over(2), "run again")
    for number in range(1, 6):
        build.annotate(requested_at=str(number))
        body = build.until(lambda found: ready(found)["reason"] == "RerunThrottled", "throttled")
    assert ready(body)["message"].startswith("the requested re-run starts at 20")
    assert "at most one a minute and ten an hour" in ready(body)["message"]
    assert len(runs_of(build)) == 2
    body = build.until(is_over(3), "run once the minute was over")
    assert body["status"]["handled"]["request"] == "5"
    assert len(runs_of(build)) == 3


# a run that is not over yet


def test_of_the_requests_meanwhile_the_latest_starts_when_the_run_has_settled(endless: Builder) -> None:
    build = endless("busy").apply()
    build.until(goes_on(1), "running")
    build.annotate(requested_at="first")
    build.annotate(requested_at="last")
    build.annotate(cancel="wrong branch")
    body = build.until(goes_on(2), "running again")
    assert (run(body)["trigger"], body["status"]["handled"]["request"]) == ("Request", "last")
    assert [(past["number"], past["phase"]) for past in body["status"]["history"]] == [(1, "Cancelled")]
    assert len(runs_of(build)) == 2


def test_a_cancelled_run_counts_until_a_new_revision_or_request(
    endless: Builder, quick: Builder, after_all: Callable[[], None]
) -> None:
    build = endless("stopped").apply()
    build.until(goes_on(1), "running")
    build.annotate(cancel="wrong base image")
    body = build.until_phase("Cancelled")
    assert ready(body)["message"].startswith("run 1 was cancelled (wrong base image)")
    assert condition(body, "Stalled")["status"] == "True"
    after_all()
    assert len(runs_of(build)) == 1
    quick("stopped").apply()
    body = build.until(is_over(2), "over with the new revision")
    assert (run(body)["outcome"], run(body)["trigger"]) == ("Failed", "Revision")


def test_a_changed_revision_supersedes_and_going_back_runs_what_is_wanted_then(endless: Builder) -> None:
    build = endless("wavering").apply()
    first = run(build.until(goes_on(1), "running"))
    endless("wavering").with_publish(tags=["v2"]).apply()
    endless("wavering").apply()
    body = build.until(lambda found: phase_of(found) == "Running" and _wanted(found, first), "running what is wanted")
    assert run(body)["revision"] == first["revision"]
    for past in body["status"]["history"]:
        assert past["phase"] == "Cancelled"
    assert len(runs_of(build)) == run(body)["number"]
    endless("wavering").with_publish(tags=["v2"]).apply()
    number = run(body)["number"] + 1
    body = build.until(goes_on(number), "running the other revision")
    assert run(body)["revision"] != first["revision"]
    assert run(body)["trigger"] == "Revision"
    starts = [run(body)["startedAt"], *(past["startedAt"] for past in body["status"]["history"])]
    ends = [past["finishedAt"] for past in body["status"]["history"]]
    assert all(end <= start for start, end in zip(starts, ends, strict=False)), "one run at a time"


def _wanted(body: Body, first: Body) -> bool:
    """The run of the first revision goes on and nothing more is asked of it: it saw both edits, or neither."""
    current = body["status"]["observedGeneration"] == body["metadata"]["generation"]
    return current and run(body)["revision"] == first["revision"] and "cancelCause" not in run(body)


def test_what_is_being_deleted_starts_nothing_more(endless: Builder) -> None:
    build = endless("leaving").apply()
    build.until(goes_on(1), "running")
    uid = (build.get() or {})["metadata"]["uid"]
    build.annotate(requested_at="too late")
    build.delete()
    build.until_gone()
    listed = build.cluster.exec(
        ["temporal", "workflow", "list", "--address", build.cluster.temporal_address, "--output", "json"]
        + ["--namespace", build.made.tenant.name, "--query", f"BasculeUid = '{uid}'"],
        check=True,
    ).stdout
    assert [item["execution"]["workflowId"] for item in json.loads(listed)] == [f"imagebuild/{uid}/1"]


def test_a_run_that_takes_too_long_fails_and_takes_back(endless: Builder) -> None:
    body = endless("slow").with_spec(timeout="3s").apply().until_phase("Failed")
    assert body["status"]["failure"]["type"] == "RunTimedOut"
    assert ready(body)["reason"] == "TimedOut"
    assert body["status"]["compensation"]["state"] in ("NothingToDo", "Succeeded")


# suspended


def test_created_suspended_with_a_request_and_edited_meanwhile_comes_to_one_run(
    quick: Builder, after_all: Callable[[], None]
) -> None:
    annotations = {"bascule.dev/requested-at": "at once"}
    build = quick("early").with_spec(suspend=True).with_metadata(annotations=annotations).apply()
    body = build.until_phase("Suspended")
    assert body["status"]["observedGeneration"] == body["metadata"]["generation"]
    assert (ready(body)["status"], ready(body)["reason"]) == ("Unknown", "Suspended")
    after_all()
    assert runs_of(build) == []
    later = {"bascule.dev/requested-at": "later"}
    quick("early").with_spec(suspend=False).with_publish(tags=["v2"]).with_metadata(annotations=later).apply()
    body = build.until_phase("Failed")
    assert body["status"]["handled"]["request"] == "later"
    after_all()
    assert len(runs_of(build)) == 1


def test_while_suspended_an_edit_cancels_nothing_and_a_cancellation_does(
    endless: Builder, quick: Builder, after_all: Callable[[], None]
) -> None:
    build = endless("frozen").apply()
    build.until(goes_on(1), "running")
    edited = endless("frozen").with_publish(tags=["v2"])
    edited.with_spec(suspend=True).apply()
    body = build.until(lambda found: run(found).get("suspended") is True, "told")
    after_all()
    body = build.get() or {}
    assert (run(body)["number"], run(body).get("cancelCause")) == (1, None)
    build.annotate(cancel="enough")
    body = build.until(is_over(1), "cancelled")
    assert run(body)["outcome"] == "Cancelled"
    after_all()
    assert len(runs_of(build)) == 1
    edited.with_spec(suspend=False).apply()
    build.until(goes_on(2), "running what was wanted meanwhile")


def test_suspended_while_no_worker_lives_a_run_pauses_before_its_first_step_and_its_time_stands_still(
    quick: Builder, bascule: Cluster
) -> None:
    with _no_workers(bascule):
        build = quick("paused").with_spec(timeout="5m").apply()
        build.until(lambda body: bool(run(body).get("runId")), "started")
        patch(build, {"spec": {"suspend": True}})
        body = build.until(lambda found: run(found).get("suspended") is True, "told")
        assert ready(body)["message"].endswith("no worker has taken it up yet")
    body = build.until_phase("Suspended")
    assert ready(body)["message"] == "spec.suspend is set: paused at a step boundary"
    patch(build, {"spec": {"suspend": False}})
    body = build.until(is_over(1), "over")
    assert run(body)["waited"]
    assert body["status"]["failure"]["type"] == "SecretMissing"


class _no_workers:  # noqa: N801 - used like a function
    """No worker lives within; afterwards all do again."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._deployment = ["deployment/bascule-worker", "-n", SYSTEM_NAMESPACE]

    def __enter__(self) -> None:
        found = json.loads(self._cluster.kubectl("get", *self._deployment, "-o", "json"))
        self._replicas = found["spec"]["replicas"]
        self._cluster.kubectl("scale", *self._deployment, "--replicas=0")
        selector = "app.kubernetes.io/component=worker"
        waits = ["--for=delete", "pod", "-l", selector, "-n", SYSTEM_NAMESPACE, "--timeout=120s"]
        self._cluster.kubectl("wait", *waits)

    def __exit__(self, *exc: object) -> None:
        self._cluster.kubectl("scale", *self._deployment, f"--replicas={self._replicas}")
        faults.wait_ready(self._cluster, "worker")


# forged


def test_a_status_that_comes_along_at_creation_is_nobodys(quick: Builder, bascule: Cluster) -> None:
    made = quick("forged")
    forged = {
        "phase": "Succeeded",
        "observedGeneration": 1,
        "run": {"number": 41, "revision": "1-0000000000", "trigger": "Revision", "tenant": "other"},
        "compensation": {"state": "Succeeded"},
        "handled": {"request": "x"},
    }
    bascule.kubectl("create", "-f", "-", input=json.dumps(made.body | {"status": forged}))
    body = Build(made).until_phase("Failed")
    assert (run(body)["number"], run(body)["tenant"]) == (1, made.tenant.name)


# waiting for people


@pytest.fixture
def approvers(tenant: TenantHandle, bascule: Cluster) -> list[str]:
    """Alice may approve in the tenant's namespace, by the role of the chart, and nothing else."""
    binding = ["create", "rolebinding", "approvers", "-n", tenant.namespace, "--clusterrole=bascule-approve"]
    bascule.kubectl(*binding, "--user=alice")
    return as_user("alice", "system:authenticated")


def _gated(made: ImageBuildBuilder) -> ImageBuildBuilder:
    return made.with_publish(approval={"required": True, "timeout": "1h"})


def _approval(body: Body, **changes: Any) -> Body:
    waits = body["status"]["waitingFor"]
    spec = {
        "for": {"kind": "ImageBuild", "name": body["metadata"]["name"], "uid": body["metadata"]["uid"]},
        "run": run(body)["number"],
        "gate": waits["gate"],
        "subject": waits["subject"],
        "decision": "Approve",
        "approver": "alice",
    }
    metadata = {"name": changes.pop("name", "one"), "namespace": body["metadata"]["namespace"]}
    return {
        "apiVersion": "bascule.dev/v1alpha1",
        "kind": "Approval",
        "metadata": metadata,
        "spec": spec | changes,
    }


def _state(bascule: Cluster, body: Body, name: str, state: str) -> str:
    """Wait for an Approval's state; its reason."""
    named = [f"approval/{name}", "-n", body["metadata"]["namespace"]]
    bascule.kubectl("wait", *named, f"--for=jsonpath={{.status.state}}={state}", "--timeout=120s")
    return bascule.kubectl("get", *named, "-o", "jsonpath={.status.reason}")


def test_a_gated_build_waits_says_for_what_and_is_published_by_the_command_that_it_names(
    image_build: Builder, bascule: Cluster, approvers: list[str]
) -> None:
    build = _gated(image_build("gated")).apply()
    body = build.until_phase("Waiting")
    assert tags(bascule, build.made.repository) == []

    described = bascule.kubectl("describe", *build.arguments)
    assert body["status"]["waitingFor"]["subject"] in described
    assert f"kubectl bascule approve imagebuild/gated -n {build.made.tenant.namespace}" in described
    assert body["status"]["waitingFor"]["until"] in described

    other = _approval(body, name="other", subject="sha256:" + "0" * 64)
    bascule.kubectl(*approvers, "create", "-f", "-", input=json.dumps(other))
    assert body["status"]["waitingFor"]["subject"] in _state(bascule, body, "other", "Stale")
    patch(build, {"spec": {"suspend": True}})
    build.until_phase("Suspended")
    patch(build, {"spec": {"suspend": False}})
    body = build.until_phase("Waiting")

    bascule.exec(["sh", "-c", body["status"]["waitingFor"]["detail"]], check=True)
    done = build.until_phase("Succeeded")
    assert digest_of(bascule, f"{build.made.repository}:v1") == body["status"]["waitingFor"]["subject"]
    assert run(done)["waited"]
    bascule.kubectl(*approvers, "create", "-f", "-", input=json.dumps(_approval(body, name="twice")))
    assert _state(bascule, body, "twice", "Stale") == "run 1 is over (Succeeded)"

    build.delete()
    build.until_gone()
    bascule.kubectl("wait", "approval", "--all", "--for=delete", "-n", body["metadata"]["namespace"], "--timeout=120s")


def test_a_rejected_build_fails_with_the_reason_and_leaves_nothing_in_the_registry(
    image_build: Builder, bascule: Cluster, approvers: list[str]
) -> None:
    build = _gated(image_build("refused")).apply()
    body = build.until_phase("Waiting")

    rejection = _approval(body, decision="Reject", reason="the release is frozen")
    bascule.kubectl(*approvers, "create", "-f", "-", input=json.dumps(rejection))

    failed = build.until_phase("Failed")
    assert failed["status"]["failure"]["type"] == "ApprovalRejected"
    assert ready(failed)["reason"] == "ApprovalRejected"
    assert "the release is frozen" in ready(failed)["message"]
    assert _state(bascule, body, "one", "Counted") == "run 1 has it and fails and takes back what it made"
    assert tags(bascule, build.made.candidates) == []
    assert tags(bascule, build.made.repository) == []
