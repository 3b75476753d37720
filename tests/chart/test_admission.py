"""The admission policies on a real API server: who may, and who is told why not. Even administrators are meant."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from hack.cluster.handle import Cluster
from tests.support.requests import ADMIN_GROUP, OPERATOR, WORKER, as_user, creation, refusal, warnings

pytestmark = pytest.mark.cluster

FINALIZER = "bascule.dev/compensate"
SPEC = {
    "source": {"configMap": {"name": "files"}},
    "sign": {"keySecretRef": {"name": "signing-key"}},
    "publish": {"repository": "registry.example.com/acme/web", "tags": ["v1"]},
}
ADMIN = as_user("root@example.com", ADMIN_GROUP)
ALICE = as_user("alice", "system:authenticated", "team-a")


def image_build(namespace: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "bascule.dev/v1alpha1",
        "kind": "ImageBuild",
        "metadata": {"name": "web", "namespace": namespace} | metadata,
        "spec": SPEC,
    }


@pytest.fixture
def build(bascule: Cluster, namespace: str) -> Iterator[str]:
    """An ImageBuild that carries the operator's finalizer; its name."""
    # Suspended, so that the operator, which runs here as well, has nothing to do with it.
    document = image_build(namespace, finalizers=[FINALIZER]) | {"spec": SPEC | {"suspend": True}}
    bascule.kubectl(*as_user(OPERATOR, ADMIN_GROUP), "create", "-f", "-", input=json.dumps(document))
    yield "web"
    bascule.kubectl("delete", "imagebuild", "web", "-n", namespace, "--ignore-not-found", "--wait=false")


def patch(build: str, namespace: str, body: Any, *options: str, kind: str = "merge") -> list[str]:
    arguments = ["patch", "imagebuild", build, "-n", namespace, f"--type={kind}", "--dry-run=server"]
    return [*arguments, *options, "-p", json.dumps(body)]


class TestFinalizers:
    NONE = [{"op": "remove", "path": "/metadata/finalizers"}]

    def test_nobody_takes_it_off(self, bascule: Cluster, namespace: str, build: str) -> None:
        said = refusal(bascule, *ADMIN, *patch(build, namespace, self.NONE, kind="json"))
        assert "only Bascule's operator removes its finalizers" in said
        assert "bascule.dev/force-delete" in said

    def test_the_operator_takes_it_off(self, bascule: Cluster, namespace: str, build: str) -> None:
        operator = as_user(OPERATOR, ADMIN_GROUP)
        assert refusal(bascule, *operator, *patch(build, namespace, self.NONE, kind="json")) == ""

    def test_finalizers_of_others_are_none_of_our_business(self, bascule: Cluster, namespace: str, build: str) -> None:
        both = {"metadata": {"finalizers": [FINALIZER, "example.com/other"]}}
        assert refusal(bascule, *ADMIN, *patch(build, namespace, both)) == ""

    def test_the_spec_may_change_under_it(self, bascule: Cluster, namespace: str, build: str) -> None:
        assert refusal(bascule, *ADMIN, *patch(build, namespace, {"spec": {"timeout": "3h"}})) == ""

    def test_nobody_arrives_with_it(self, bascule: Cluster, namespace: str) -> None:
        said = creation(bascule, image_build(namespace, finalizers=[FINALIZER]), *ADMIN)
        assert "only Bascule's operator sets its finalizers" in said

    def test_nobody_puts_it_on_later(self, bascule: Cluster, namespace: str, build: str) -> None:
        tenants = {"metadata": {"finalizers": [FINALIZER, "bascule.dev/tenant"]}}
        said = refusal(bascule, *ADMIN, *patch(build, namespace, tenants))
        assert "only Bascule's operator sets its finalizers" in said

    def test_an_administrator_is_told_the_way_out(self, bascule: Cluster, namespace: str, build: str) -> None:
        said = refusal(bascule, *ADMIN, *patch(build, namespace, self.NONE, kind="json"))
        assert "deletes the policy bascule-finalizers first" in said

    def test_a_tenants_is_guarded_as_well(self, bascule: Cluster) -> None:
        tenant = {
            "apiVersion": "bascule.dev/v1alpha1",
            "kind": "Tenant",
            "metadata": {"name": "forged", "finalizers": ["bascule.dev/tenant"]},
            "spec": {"namespaces": ["forged"]},
        }
        assert "only Bascule's operator sets its finalizers" in creation(bascule, tenant, *ADMIN)


class TestStatus:
    BODY = {"status": {"phase": "Succeeded"}}

    def test_nobody_writes_it(self, bascule: Cluster, namespace: str, build: str) -> None:
        said = refusal(bascule, *ADMIN, *patch(build, namespace, self.BODY, "--subresource=status"))
        assert "only Bascule's operator writes the status" in said

    def test_nobody_brings_one_along(self, bascule: Cluster, namespace: str) -> None:
        document = image_build(namespace, name="forged") | {"spec": SPEC | {"suspend": True}}
        forged = {"phase": "Succeeded", "run": {"number": 7, "revision": "1-0", "trigger": "Revision", "tenant": "a"}}
        bascule.kubectl(*ADMIN, "create", "-f", "-", input=json.dumps(document | {"status": forged}))
        found = json.loads(bascule.kubectl("get", "imagebuild", "forged", "-n", namespace, "-o", "json"))
        assert found.get("status", {}).get("run") is None
        bascule.kubectl("delete", "imagebuild", "forged", "-n", namespace, "--wait=false")

    def test_the_operator_writes_it(self, bascule: Cluster, namespace: str, build: str) -> None:
        operator = as_user(OPERATOR, ADMIN_GROUP)
        assert refusal(bascule, *operator, *patch(build, namespace, self.BODY, "--subresource=status")) == ""


class TestForce:
    BODY = {"metadata": {"annotations": {"bascule.dev/force-delete": "the registry is gone for good"}}}

    @pytest.fixture
    def editors(self, bascule: Cluster, namespace: str) -> str:
        """Alice may edit ImageBuilds here, by the role of the chart."""
        bascule.kubectl("create", "rolebinding", "editors", "-n", namespace, "--clusterrole=edit", "--user=alice")
        return namespace

    def test_who_may_edit_may_not_let_go(self, bascule: Cluster, editors: str, build: str) -> None:
        said = refusal(bascule, *ALICE, *patch(build, editors, self.BODY))
        assert "needs the verb force" in said

    def test_nor_bring_it_along(self, bascule: Cluster, editors: str) -> None:
        document = image_build(editors, **self.BODY["metadata"])
        assert "needs the verb force" in creation(bascule, document, *ALICE)

    def test_nor_claim_it_without_a_reason(self, bascule: Cluster, editors: str, build: str) -> None:
        empty = {"metadata": {"annotations": {"bascule.dev/force-delete": ""}}}
        assert "needs the verb force" in refusal(bascule, *ALICE, *patch(build, editors, empty))

    @pytest.fixture
    def trusted(self, bascule: Cluster, editors: str) -> str:
        """Alice has the verb as well."""
        bascule.kubectl("create", "rolebinding", "force", "-n", editors, "--clusterrole=bascule-force", "--user=alice")
        return editors

    def test_who_has_the_verb_lets_go(self, bascule: Cluster, trusted: str, build: str) -> None:
        assert refusal(bascule, *ALICE, *patch(build, trusted, self.BODY)) == ""

    @pytest.mark.parametrize("reason", ["", "   "])
    def test_it_takes_a_reason(self, bascule: Cluster, trusted: str, build: str, reason: str) -> None:
        empty = {"metadata": {"annotations": {"bascule.dev/force-delete": reason}}}
        assert "needs a reason" in refusal(bascule, *ALICE, *patch(build, trusted, empty))

    def test_who_may_not_change_it_may_change_the_rest(self, bascule: Cluster, editors: str, build: str) -> None:
        bascule.kubectl(*ADMIN, "annotate", "imagebuild", build, "-n", editors, "bascule.dev/force-delete=as I say")
        assert refusal(bascule, *ALICE, *patch(build, editors, {"spec": {"timeout": "3h"}})) == ""
        assert "needs the verb force" in refusal(bascule, *ALICE, *patch(build, editors, self.BODY))
        gone = {"metadata": {"annotations": {"bascule.dev/force-delete": None}}}
        assert refusal(bascule, *ALICE, *patch(build, editors, gone)) == ""

    def test_generated_names_are_served(self, bascule: Cluster, editors: str) -> None:
        document = image_build(editors)
        document["metadata"] = {"generateName": "web-", "namespace": editors}
        assert creation(bascule, document, *ALICE) == ""


class TestWarnings:
    ALWAYS = {"spec": {"compensation": {"onDelete": "Always"}}}

    def test_always_is_warned_of_when_it_is_said(self, bascule: Cluster, namespace: str, build: str) -> None:
        said = warnings(bascule, *ADMIN, *patch(build, namespace, self.ALWAYS))
        assert "spec.compensation.onDelete is Always: deleting this ImageBuild" in said

    def test_always_is_warned_of_when_it_comes_along(self, bascule: Cluster, namespace: str) -> None:
        document = image_build(namespace) | {"spec": SPEC | self.ALWAYS["spec"]}
        said = warnings(bascule, "create", "--dry-run=server", "-f", "-", document=document)
        assert "moves the tags that it published back" in said

    def test_nothing_else_is_warned_of(self, bascule: Cluster, namespace: str, build: str) -> None:
        assert "Always" not in warnings(bascule, *ADMIN, *patch(build, namespace, {"spec": {"timeout": "3h"}}))

    def test_a_deletion_that_takes_something_back_is_warned_of(
        self, bascule: Cluster, namespace: str, build: str
    ) -> None:
        delete = ["delete", "imagebuild", build, "-n", namespace, "--dry-run=server"]
        always = ["patch", "imagebuild", build, "-n", namespace, "--type=merge", "-p", json.dumps(self.ALWAYS)]
        bascule.kubectl(*ADMIN, *always)
        assert "Always" not in warnings(bascule, *delete)
        published = {"status": {"published": {"repository": "registry.example.com/acme/web"}}}
        operator = as_user(OPERATOR, ADMIN_GROUP)
        written = ["patch", "imagebuild", build, "-n", namespace, "--type=merge", "--subresource=status"]
        bascule.kubectl(*operator, *written, "-p", json.dumps(published))
        assert "are moved back and its image is deleted before it goes" in warnings(bascule, *delete)


class TestApprovals:
    @pytest.fixture(autouse=True)
    def approvers(self, bascule: Cluster, namespace: str) -> None:
        """Alice and a robot may create Approvals here."""
        binding = ["create", "rolebinding", "approvers", "-n", namespace, "--clusterrole=bascule-approve"]
        bascule.kubectl(*binding, "--user=alice", f"--serviceaccount={namespace}:robot")

    @staticmethod
    def approval(namespace: str, approver: str, **changes: Any) -> dict[str, Any]:
        spec = {
            "for": {"kind": "ImageBuild", "name": "web", "uid": "0f1e2d3c"},
            "run": 1,
            "gate": "publish",
            "subject": "sha256:" + "0" * 64,
            "decision": "Approve",
            "approver": approver,
        }
        return {
            "apiVersion": "bascule.dev/v1alpha1",
            "kind": "Approval",
            "metadata": {"name": "web-1", "namespace": namespace},
            "spec": spec | changes,
        }

    def test_who_creates_it_approves(self, bascule: Cluster, namespace: str) -> None:
        assert creation(bascule, self.approval(namespace, "alice", groups=["team-a"]), *ALICE) == ""

    def test_nobody_approves_in_anothers_name(self, bascule: Cluster, namespace: str) -> None:
        said = creation(bascule, self.approval(namespace, "bob"), *ALICE)
        assert "spec.approver must be who creates the Approval: alice" in said

    def test_nobody_claims_anothers_groups(self, bascule: Cluster, namespace: str) -> None:
        said = creation(bascule, self.approval(namespace, "alice", groups=["team-a", "board"]), *ALICE)
        assert "may name only groups that the approver is in" in said

    def test_a_rejection_has_a_reason(self, bascule: Cluster, namespace: str) -> None:
        said = creation(bascule, self.approval(namespace, "alice", decision="Reject"), *ALICE)
        assert "a rejection needs spec.reason" in said

    def test_a_service_account_needs_a_verb_of_its_own(self, bascule: Cluster, namespace: str) -> None:
        name = f"system:serviceaccount:{namespace}:robot"
        robot = as_user(name, "system:serviceaccounts")
        document = self.approval(namespace, name)
        assert "approve-as-service" in creation(bascule, document, *robot)
        verb = ["--verb=approve-as-service", "--resource=approvals.bascule.dev"]
        bascule.kubectl("create", "role", "robots", "-n", namespace, *verb)
        binding = ["create", "rolebinding", "robots", "-n", namespace, "--role=robots"]
        bascule.kubectl(*binding, f"--serviceaccount={namespace}:robot")
        assert creation(bascule, document, *robot) == ""

    def test_who_may_edit_builds_may_not_approve_them(self, bascule: Cluster, namespace: str) -> None:
        bascule.kubectl("create", "rolebinding", "editors", "-n", namespace, "--clusterrole=edit", "--user=bob")
        bob = as_user("bob", "system:authenticated")
        said = creation(bascule, self.approval(namespace, "bob"), *bob)
        assert 'User "bob" cannot create resource "approvals"' in said

    def test_who_approves_sees_what_and_edits_nothing(self, bascule: Cluster, namespace: str) -> None:
        may = ["auth", "can-i", "-n", namespace, *ALICE]
        assert refusal(bascule, *may, "get", "imagebuilds") == ""
        with pytest.raises(subprocess.CalledProcessError):
            bascule.kubectl(*may, "update", "imagebuilds")

    def test_nobody_says_what_became_of_it(self, bascule: Cluster, namespace: str) -> None:
        forged = self.approval(namespace, "alice") | {"status": {"state": "Counted"}}
        bascule.kubectl(*ALICE, "create", "-f", "-", input=json.dumps(forged))
        change = json.dumps({"status": {"state": "Counted"}})
        named = ["approval", "web-1", "-n", namespace, "--subresource=status", "--type=merge", "-p", change]
        assert "only Bascule's operator writes the status" in refusal(bascule, *ADMIN, "patch", *named)
        path = "jsonpath={.status.state}"
        named = ["approval/web-1", "-n", namespace]
        bascule.kubectl("wait", *named, f"--for={path}=Stale", "--timeout=60s")

    def test_it_is_immutable(self, bascule: Cluster, namespace: str) -> None:
        bascule.kubectl(*ALICE, "create", "-f", "-", input=json.dumps(self.approval(namespace, "alice")))
        change = json.dumps({"spec": {"decision": "Reject", "reason": "no"}})
        said = refusal(bascule, "patch", "approval", "web-1", "-n", namespace, "--type=merge", "-p", change)
        assert "an Approval is immutable: delete it and create another" in said


class TestLeases:
    """Those of the operator's and the workers' own namespace."""

    WORKER = as_user(WORKER, "system:serviceaccounts", ADMIN_GROUP)

    def lease(self, name: str, namespace: str = "bascule-system") -> dict[str, Any]:
        metadata = {"name": name, "namespace": namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}

    def test_the_worker_holds_those_under_which_tags_are_moved(self, bascule: Cluster) -> None:
        assert creation(bascule, self.lease("publish-0123456789"), *self.WORKER) == ""

    def test_it_makes_no_other(self, bascule: Cluster) -> None:
        said = creation(bascule, self.lease("other"), *self.WORKER)
        assert "Bascule's worker writes no Lease here but those under which tags are moved" in said

    def test_the_operators_is_out_of_its_reach(self, bascule: Cluster) -> None:
        theft = ["patch", "lease", "bascule-operator", "-n", "bascule-system", "--type=merge", "--dry-run=server"]
        said = refusal(bascule, *self.WORKER, *theft, "-p", '{"spec": {"holderIdentity": "me"}}')
        assert "Bascule's worker writes no Lease here but those under which tags are moved" in said
        assert (
            refusal(bascule, *as_user(OPERATOR, ADMIN_GROUP), *theft, "-p", '{"spec": {"leaseTransitions": 9}}') == ""
        )

    def test_elsewhere_it_is_not_meant(self, bascule: Cluster, namespace: str) -> None:
        assert creation(bascule, self.lease("target-node-1", namespace), *self.WORKER) == ""
