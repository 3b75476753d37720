"""Taking back for real: what deletion undoes, runs that somebody ended in Temporal, and people who let go by force."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from bascule_api import names
from hack.cluster.handle import Cluster
from hack.installation import SYSTEM_NAMESPACE, TenantHandle
from tests.support.builds import (
    PATIENCE,
    Body,
    Build,
    ImageBuildBuilder,
    condition,
    digest_of,
    phase_of,
    step_objects,
    steps_of,
    tags,
)
from tests.support.requests import as_user, refusal

Builder = Callable[[str], ImageBuildBuilder]

ALWAYS = {"onDelete": "Always"}
BEGUN = ("Running", "Succeeded", "Failed")
EVERYTHING = "jobs,pods,secrets,configmaps"


def temporal(build: Build, *arguments: str) -> None:
    """The command line that people have, on the workflow of the build's run."""
    body = build.get()
    assert body is not None
    build.cluster.exec(
        ["temporal", "workflow", *arguments, "--address", build.cluster.temporal_address]
        + ["--namespace", build.made.tenant.name, "--workflow-id", body["status"]["run"]["workflowId"]]
        + ["--reason", "by hand"],
        check=True,
    )


def begun(step: str) -> Callable[[Body], bool]:
    return lambda body: steps_of(body).get(step) in BEGUN


def reason(body: Body) -> str:
    return str(condition(body, "Ready").get("reason", ""))


def is_known(cluster: Cluster, repository: str, digest: str) -> bool:
    return cluster.exec(["skopeo", "inspect", "--raw", f"docker://{repository}@{digest}"]).returncode == 0


def assert_nothing_left(build: Build, tenant: TenantHandle, uid: str, run: int = 1) -> None:
    """Finished Jobs of earlier runs stay for a while, for their logs."""
    assert tags(build.cluster, build.made.candidates) == []
    for _ in range(60):
        found = step_objects(build.cluster, tenant, uid, EVERYTHING)
        if not (left := [name for name in found if f"/r{run}-" in name]):
            return
        time.sleep(1)
    raise AssertionError(f"left among the steps: {left}")


class TestDeletion:
    def test_a_published_image_goes_and_its_tag_points_where_it_did(
        self, image_build: Builder, bascule: Cluster, tenant: TenantHandle
    ) -> None:
        repository = f"{bascule.registry}/{tenant.name}/shared"
        image_build("before").with_publish(repository=repository).apply().until_phase("Succeeded")
        before = digest_of(bascule, f"{repository}:v1")
        web = image_build("web").with_file("greeting", "one\n").with_spec(compensation=ALWAYS)
        web = web.with_publish(repository=repository)
        first = web.apply().until_phase("Succeeded")["status"]["image"]["digest"]
        build = web.with_file("greeting", "two\n").with_publish(tags=["v1", "new"]).apply()
        body = build.until(lambda found: found["status"]["run"]["number"] == 2 and phase_of(found) == "Succeeded", "2")
        second = body["status"]["image"]["digest"]
        assert digest_of(bascule, f"{repository}:v1") == second

        build.delete()
        build.until_gone()

        assert digest_of(bascule, f"{repository}:v1") == before
        signature = before.replace(":", "-")
        assert sorted(tags(bascule, repository)) == sorted(["v1", signature]), "what belongs to the other build"
        assert [is_known(bascule, repository, digest) for digest in (before, first, second)] == [True, False, False]
        assert_nothing_left(build, tenant, body["metadata"]["uid"], run=2)

    def test_a_first_publication_leaves_no_tag(self, image_build: Builder, bascule: Cluster) -> None:
        build = image_build("only").with_spec(compensation=ALWAYS).apply()
        digest = build.until_phase("Succeeded")["status"]["image"]["digest"]
        build.delete()
        build.until_gone()
        assert tags(bascule, build.made.repository) == []
        assert not is_known(bascule, build.made.repository, digest)

    def test_never_leaves_what_is_published_and_releases_what_runs(
        self, image_build: Builder, bascule: Cluster, tenant: TenantHandle
    ) -> None:
        never = image_build("kept").with_spec(compensation={"onDelete": "Never"})
        digest = never.apply().until_phase("Succeeded")["status"]["image"]["digest"]
        build = never.with_test("sleeps", "sleep", "600").apply()
        body = build.until_step("test-sleeps", "Running")
        build.delete()
        build.until_gone()
        assert digest_of(bascule, f"{build.made.repository}:v1") == digest
        assert_nothing_left(build, tenant, body["metadata"]["uid"], run=2)

    def test_a_namespace_goes_once_its_three_live_runs_have_compensated(
        self, image_build: Builder, bascule: Cluster, tenant: TenantHandle
    ) -> None:
        builds = [image_build(name).with_test("sleeps", "sleep", "600").apply() for name in ("one", "two", "three")]
        bodies = [build.until_step("test-sleeps", "Running") for build in builds]
        bascule.kubectl("delete", "namespace", tenant.namespace, "--wait=false")
        for _ in range(PATIENCE):
            if not bascule.kubectl("get", "namespace", tenant.namespace, "--ignore-not-found").strip():
                break
            time.sleep(1)
        else:
            found = bascule.kubectl("get", "imagebuilds", "-n", tenant.namespace, "-o", "json")
            raise AssertionError(f"the namespace never went: {found}")
        for build, body in zip(builds, bodies, strict=True):
            assert_nothing_left(build, tenant, body["metadata"]["uid"])


class TestEndedInTemporal:
    @pytest.mark.parametrize("step", ["resolve", "build", "test-greets", "sbom", "sign", "attest", "verify", "publish"])
    def test_a_run_terminated_in_a_step_leaves_nothing(
        self, image_build: Builder, bascule: Cluster, tenant: TenantHandle, step: str
    ) -> None:
        # It waits before it publishes, so that no step is too short to be met in.
        made = image_build("web").with_test("greets", "cat", "/greeting").with_publish(approval={"required": True})
        build = made.apply()
        body = build.until_phase("Waiting") if step == "publish" else build.until(begun(step), f"at {step}")
        temporal(build, "terminate")
        told = build.until(lambda found: reason(found) == "RunLost", "undone")
        assert told["status"]["phase"] == "Failed"
        assert told["status"]["compensation"]["state"] in ("Succeeded", "NothingToDo")
        assert tags(bascule, build.made.repository) == []
        assert_nothing_left(build, tenant, body["metadata"]["uid"])
        build.delete()
        build.until_gone()

    def test_a_run_that_was_reset_is_stopped_and_leaves_nothing(
        self, image_build: Builder, bascule: Cluster, tenant: TenantHandle
    ) -> None:
        build = image_build("web").with_test("sleeps", "sleep", "600").apply()
        body = build.until_step("test-sleeps", "Running")
        temporal(build, "reset", "--type", "FirstWorkflowTask")
        told = build.until(lambda found: reason(found) == "RunLost", "undone")
        assert "somebody reset the run" in condition(told, "Ready")["message"]
        assert tags(bascule, build.made.repository) == []
        assert_nothing_left(build, tenant, body["metadata"]["uid"])

    def test_a_request_after_that_builds_again(self, image_build: Builder) -> None:
        build = image_build("web").with_test("greets", "cat", "/greeting").apply()
        build.until(begun("build"), "at build")
        temporal(build, "terminate")
        build.until(lambda found: reason(found) == "RunLost", "undone")
        build.annotate(requested_at="again")
        body = build.until(lambda found: found["status"]["run"]["number"] == 2, "started again")
        assert body["status"]["history"][0]["phase"] == "Failed"
        build.until_phase("Succeeded")


class TestForce:
    def test_only_who_has_the_verb_lets_go_of_what_cannot_be_taken_back(
        self, image_build: Builder, bascule: Cluster, tenant: TenantHandle
    ) -> None:
        """Somebody else holds the Lease under which the repository's tags are moved, and never lets go of it."""
        build = image_build("stuck").with_spec(compensation=ALWAYS | {"timeout": "10s"})
        made = build.apply()
        digest = made.until_phase("Succeeded")["status"]["image"]["digest"]
        taken = {"spec": {"holderIdentity": "somebody-else", "leaseDurationSeconds": 86_400}}
        lease = ["lease", names.lease_name(build.repository), "-n", SYSTEM_NAMESPACE]
        bascule.kubectl("patch", *lease, "--type=merge", "-p", json.dumps(taken))
        made.delete()
        made.until(lambda found: reason(found) == "CompensationFailed", "stuck")
        made.annotate(requested_at="once more")
        told = made.until(
            lambda found: (
                found["status"]["compensation"].get("attempt", 0) >= 2 and reason(found) == "CompensationFailed"
            ),
            "stuck again",
        )
        assert told["status"]["compensation"]["left"]
        namespace, alice = tenant.namespace, as_user("alice")
        bascule.kubectl("create", "rolebinding", "editors", "-n", namespace, "--clusterrole=edit", "--user=alice")
        words = ["annotate", *made.arguments, "bascule.dev/force-delete=nobody can take it back"]
        assert "needs the verb force" in refusal(bascule, *alice, *words)
        off = ["patch", *made.arguments, "--type=merge", "-p", json.dumps({"metadata": {"finalizers": []}})]
        assert "only Bascule's operator removes its finalizers" in refusal(bascule, *off)
        assert made.get() is not None
        bascule.kubectl("create", "rolebinding", "f", "-n", namespace, "--clusterrole=bascule-force", "--user=alice")
        assert refusal(bascule, *alice, *words) == ""
        made.until_gone()
        assert digest_of(bascule, f"{build.repository}:v1") == digest, "what was let go of stays"
        events = json.loads(bascule.kubectl("get", "events.events.k8s.io", "-n", namespace, "-o", "json"))["items"]
        [note] = [event["note"] for event in events if event["reason"] == "Forced"]
        assert "nobody can take it back" in note
