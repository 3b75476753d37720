"""The smaller views, and what they are made of."""

from __future__ import annotations

import gzip
from datetime import timedelta
from typing import Any

import pytest
import yaml

from bascule_api.approvals import Approval, Decision
from bascule_api.runs import RunStatus
from bascule_cli.cluster import warnings_in
from bascule_cli.errors import CliError
from bascule_cli.kept_logs import unpacked
from bascule_cli.rights import Right
from bascule_cli.verbs.waiting import is_over, is_settled
from bascule_cli.views import documents
from bascule_cli.views.approvals import Approver, approval_of, question
from bascule_cli.views.histories import table
from bascule_cli.views.logs import chosen
from bascule_cli.views.managed import managed_by
from bascule_cli.views.wording import span
from tests.support.items import NOW, recorded, with_metadata

DIGEST = "sha256:7f6b435bf8f49f7c501e3a20127013035fc59befe403a132993980b42494293f"


class TestApprovals:
    ITEM = recorded("waiting")

    def made(self, approver: Approver, reason: str = "", decision: Decision = Decision.APPROVE) -> dict[str, Any]:
        assert self.ITEM.status.waiting_for is not None
        return approval_of(self.ITEM, self.ITEM.status.waiting_for, decision, approver, reason)

    def test_it_is_bound_to_what_waits_and_to_who_decides(self) -> None:
        body = self.made(Approver("alice", ("team-a", "system:authenticated")), "no", Decision.REJECT)
        uid = self.ITEM.meta.uid
        assert body["spec"] == {
            "for": {"kind": "ImageBuild", "name": "gated", "uid": uid},
            "run": 1,
            "gate": "publish",
            "subject": DIGEST,
            "decision": "Reject",
            "approver": "alice",
            "groups": ["team-a", "system:authenticated"],
            "reason": "no",
        }
        (owner,) = body["metadata"]["ownerReferences"]
        assert owner == {"apiVersion": "bascule.dev/v1alpha1", "kind": "ImageBuild", "name": "gated", "uid": uid}

    def test_more_groups_than_fit_leave_out_those_that_everybody_has(self) -> None:
        groups = ("system:authenticated", *(f"team-{number}" for number in range(64)), "x" * 300)
        body = self.made(Approver("alice", groups))
        assert body["spec"]["groups"] == [f"team-{number}" for number in range(64)]
        Approval.parse(body | {"metadata": {"name": "x"}})

    def test_the_question_shows_what_is_approved_and_as_whom(self) -> None:
        waits = self.ITEM.status.waiting_for
        assert waits is not None
        lines = question(self.ITEM, waits, Decision.APPROVE, Approver("alice\x1b[2J"), NOW)
        text = "\n".join(line.plain for line in lines)
        assert text.startswith("ImageBuild/gated in acme-dev\n")
        assert f"  subject    {DIGEST}" in text
        assert f"  candidate  registry.example.com/acme/gated-candidates@{DIGEST}" in text
        assert "alice\\x1b[2J" in text
        assert text.endswith("Approve: the run goes on.")


class TestHistory:
    def test_past_runs_are_told_newest_first(self) -> None:
        heading, second, first = [line.plain for line in table(recorded("failed"), NOW)]
        assert heading.split()[:4] == ["RUN", "PHASE", "TRIGGER", "STARTED"]
        assert second.startswith("2    Failed  Request   3m45s ago  14s")
        assert first.split()[:3] == ["1", "Failed", "Revision"]

    def test_the_run_that_goes_on_comes_first(self) -> None:
        _, current, *_ = [line.plain for line in table(recorded("running"), NOW)]
        assert current.startswith("2    Running")
        assert current.endswith("2/8 test-soak")

    def test_what_never_ran_has_none(self) -> None:
        assert table(recorded("pending"), NOW) == []


@pytest.mark.parametrize(
    ("name", "step", "names"),
    [
        pytest.param("running", None, ["test-soak"], id="what runs"),
        pytest.param("failed", None, ["test-smoke"], id="what failed"),
        pytest.param("failed", "build", ["build"], id="what is named"),
        pytest.param("failed", "nope", [], id="a step that is not there"),
    ],
)
def test_whose_logs_are_meant(name: str, step: str | None, names: list[str]) -> None:
    assert [found.name for found in chosen(recorded(name).status, step)] == names


def test_a_log_is_unpacked() -> None:
    assert unpacked(gzip.compress(b"line\n" * 1000)) == b"line\n" * 1000


@pytest.mark.parametrize(
    "packed", [pytest.param(gzip.compress(bytes(70_000_000)), id="a bomb"), pytest.param(b"no gzip", id="no gzip")]
)
def test_what_is_no_log_is_not_unpacked(packed: bytes) -> None:
    with pytest.raises(CliError):
        unpacked(packed)


@pytest.mark.parametrize(
    ("right", "missing", "hint"),
    [
        pytest.param(
            Right("list", "imagebuilds"),
            "bob may not list imagebuilds.bascule.dev in all namespaces",
            "the ClusterRole bascule-view grants it; check with: kubectl auth can-i list imagebuilds.bascule.dev -A",
            id="reading",
        ),
        pytest.param(
            Right("patch", "imagebuilds", "dev", "web"),
            "bob may not patch imagebuilds.bascule.dev in the namespace dev",
            "the ClusterRole bascule-edit grants it; "
            "check with: kubectl auth can-i patch imagebuilds.bascule.dev -n dev",
            id="changing",
        ),
        pytest.param(
            Right("create", "approvals", "dev"),
            "bob may not create approvals.bascule.dev in the namespace dev",
            "the ClusterRole bascule-approve grants it; "
            "check with: kubectl auth can-i create approvals.bascule.dev -n dev",
            id="approving",
        ),
        pytest.param(
            Right("get", "pods/log", "steps", group=""),
            "bob may not get pods/log in the namespace steps",
            "check with: kubectl auth can-i get pods --subresource=log -n steps",
            id="of Kubernetes itself",
        ),
        pytest.param(
            Right("force", "imagebuilds", "dev"),
            "bob may not force imagebuilds.bascule.dev in the namespace dev",
            "the ClusterRole bascule-force grants it; "
            "check with: kubectl auth can-i force imagebuilds.bascule.dev -n dev",
            id="letting go",
        ),
    ],
)
def test_a_missing_right_is_named_with_who_grants_it(right: Right, missing: str, hint: str) -> None:
    assert (right.missing("bob"), right.hint) == (missing, hint)


@pytest.mark.parametrize(
    ("annotations", "labels", "manager"),
    [
        ({}, {}, ""),
        ({"argocd.argoproj.io/tracking-id": "a"}, {}, "Argo CD"),
        ({}, {"kustomize.toolkit.fluxcd.io/name": "a"}, "Flux"),
        ({}, {"app.kubernetes.io/managed-by": "Helm"}, ""),
    ],
)
def test_who_would_set_it_back(annotations: dict[str, str], labels: dict[str, str], manager: str) -> None:
    assert managed_by(with_metadata(recorded("running"), annotations=annotations, labels=labels)) == manager


def status(number: int, outcome: str | None, request: str = "") -> RunStatus:
    run = {"number": number, "revision": "1-a", "trigger": "Request", "tenant": "acme", "outcome": outcome}
    return RunStatus.model_validate({"run": run, "handled": {"request": request}})


@pytest.mark.parametrize(
    ("now", "over"),
    [
        pytest.param(status(3, None, "t2"), False, id="it runs"),
        pytest.param(status(2, "Succeeded", "t1"), False, id="the run before it is over"),
        pytest.param(status(3, "Cancelled", "t1"), False, id="another run is over, not the wanted one"),
        pytest.param(status(3, "Failed", "t2"), True, id="it is over"),
        pytest.param(status(4, "Succeeded", "t3"), True, id="a later request took it along"),
        pytest.param(RunStatus(), False, id="nothing has run"),
    ],
)
def test_when_the_wait_for_a_run_ends(now: RunStatus, over: bool) -> None:
    assert is_over(now, "t2", 2) is over


@pytest.mark.parametrize(
    ("state", "request_", "over"),
    [
        pytest.param("Failed", "t1", False, id="the attempt before"),
        pytest.param("Running", "t2", False, id="it goes on"),
        pytest.param("Failed", "t2", True, id="something is left again"),
        pytest.param("Succeeded", "t2", True, id="all is taken back"),
    ],
)
def test_when_the_wait_for_another_attempt_ends(state: str, request_: str, over: bool) -> None:
    now = RunStatus.model_validate({"handled": {"request": request_}, "compensation": {"state": state}})
    assert is_settled(now, "t2") is over


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ('299 - "deleting web undoes what it published"', ["deleting web undoes what it published"]),
        ('299 apiserver "say \\"hello\\"" "Sun, 22 Nov 2026 06:00:00 GMT"', ['say "hello"']),
        ('110 - "stale"', []),
    ],
)
def test_warnings_of_the_api_server_are_told(header: str, told: list[str]) -> None:
    assert warnings_in([header]) == told


def test_documents_are_ascii_and_lose_nothing() -> None:
    value = {"message": "\x1b[2J\u202e… ok", "list": [1, None, True]}
    for text in (documents.as_json(value), documents.as_yaml(value)):
        assert text.isascii()
        assert "\x1b" not in text
        assert yaml.safe_load(text) == value


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (133, "2m13s"), (3600, "1h"), (3661, "1h1m"), (90_061, "1d1h"), (-5, "0s")],
)
def test_spans_have_two_units(seconds: int, text: str) -> None:
    assert span(timedelta(seconds=seconds)) == text
