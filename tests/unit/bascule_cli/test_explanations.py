"""Why, and what to do: for every reason there is."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from bascule_api.conditions import CompensationState, ConditionType, Reason, WaitKind
from bascule_api.failures import FailureType
from bascule_cli.explanations import ADVICE, Verdict, explain
from bascule_cli.resources import Item
from bascule_cli.views.explanations import News, document, paragraphs
from bascule_cli.views.wording import Speech
from tests.support.items import NOW, condition, recorded, saying, tenant, with_metadata

SPEECH = Speech("kubectl bascule")
PLACE = "-n acme-dev"
GET = f"kubectl bascule get gated --watch {PLACE}"
EDIT = f"kubectl edit imagebuild gated {PLACE}"
RERUN = f"kubectl bascule rerun gated {PLACE}"
FORCE = f"kubectl bascule force-delete gated --reason WHY {PLACE}"
BINDING = {"stalled": True}

WORKING = [
    (Reason.TENANT_NOT_FOUND, Verdict.WAITS, ["kubectl get tenants"]),
    (Reason.TENANT_AMBIGUOUS, Verdict.WAITS, ["kubectl get tenants"]),
    (Reason.TENANT_NOT_READY, Verdict.WAITS, ["kubectl get tenants"]),
    (Reason.PROCEDURE_NOT_FOUND, Verdict.WAITS, ["kubectl get procedures -o wide", EDIT]),
    (Reason.TEMPORAL_UNAVAILABLE, Verdict.WAITS, ["kubectl get tenants"]),
    (
        Reason.STARTING,
        Verdict.UNDER_WAY,
        ["kubectl get pods -n bascule-system -l app.kubernetes.io/component=worker"],
    ),
    (Reason.PROGRESSING, Verdict.UNDER_WAY, [GET]),
    (Reason.SUSPENDED, Verdict.WAITS, [f"kubectl bascule resume gated {PLACE}"]),
    (Reason.COMPENSATING, Verdict.UNDER_WAY, [GET]),
    (Reason.DELETING, Verdict.UNDER_WAY, [GET]),
    (Reason.SUPERSEDED, Verdict.UNDER_WAY, [GET]),
    (Reason.RERUN_THROTTLED, Verdict.UNDER_WAY, [f"kubectl bascule history gated {PLACE}"]),
    (Reason.SCHEDULED, Verdict.WAITS, [RERUN]),
]
STALLED = [
    (Reason.PROCEDURE_FORBIDDEN, ["kubectl get procedures -o wide", EDIT]),
    (
        Reason.TARGETS_FORBIDDEN,
        ["kubectl get tenants -o custom-columns=TENANT:.metadata.name,NODES:.spec.nodeSelector", EDIT],
    ),
    (
        Reason.DRILLS_FORBIDDEN,
        [
            "kubectl get tenants -o custom-columns="
            "TENANT:.metadata.name,DRILLS:.spec.drills.enabled,NAMESPACES:.spec.namespaces",
            EDIT,
        ],
    ),
    (Reason.PARAMETERS_INVALID, ["kubectl get procedure NAME -o yaml", EDIT]),
    (Reason.SPEC_INVALID, [EDIT]),
    (Reason.STEP_FAILED, [RERUN]),
    (Reason.TIMED_OUT, [f"kubectl bascule get gated {PLACE}", EDIT, RERUN]),
    (Reason.APPROVAL_REJECTED, [RERUN]),
    (Reason.APPROVAL_TIMED_OUT, [RERUN]),
    (Reason.CANCELLED, [RERUN]),
    (Reason.COMPENSATION_FAILED, [RERUN, FORCE]),
]
BESIDES = [
    (
        ConditionType.VERIFIED,
        Reason.VERIFICATION_FAILED,
        "kubectl get tenants -o custom-columns=TENANT:.metadata.name,KEY:.spec.signing.publicKey",
    ),
    (ConditionType.PUBLISHED, Reason.TAG_MOVED, RERUN),
    (
        ConditionType.RUN_HEALTHY,
        Reason.WORKFLOW_TASK_FAILING,
        "kubectl logs -n bascule-system -l app.kubernetes.io/component=worker --tail=50",
    ),
    (
        ConditionType.RUN_HEALTHY,
        Reason.PAUSED_IN_TEMPORAL,
        f"temporal workflow unpause -w imagebuild/{recorded('succeeded').meta.uid}/1 -n acme",
    ),
]
FINE = (
    Reason.SUCCEEDED,
    Reason.NOTHING_TO_DO,
    Reason.SIGNATURE_VERIFIED,
    Reason.TARGETS_VERIFIED,
    Reason.TAGS_CURRENT,
    Reason.NAMESPACE_REGISTERED,
    Reason.OBJECTIVES_MET,
)


def commands(item: Item) -> list[str]:
    told = explain(item, SPEECH, NOW)
    return [advice.command for finding in (told.first, *told.others) for advice in finding.advice if advice.command]


def verdict(item: Item) -> Verdict:
    return explain(item, SPEECH, NOW).verdict


def test_every_reason_has_its_advice() -> None:
    missing = set(Reason) - set(ADVICE)
    assert not missing, f"say in bascule_cli.explanations.ADVICE what people can do about {sorted(missing)}"


def test_every_reason_is_tried_here() -> None:
    elsewhere = {
        Reason.WAITING,
        Reason.RUN_LOST,
        Reason.FORCED,
        Reason.TEMPORAL_NAMESPACE_TAKEN,
        Reason.NODE_SELECTOR_OVERLAPS,
        Reason.STEPS_NAMESPACE_MISSING,
        Reason.OBJECTIVES_MISSED,
        Reason.INCONCLUSIVE,
    }
    tried = {case[0] for case in (*WORKING, *STALLED)} | {case[1] for case in BESIDES} | set(FINE) | elsewhere
    assert tried == set(Reason)


@pytest.mark.parametrize(("reason", "wanted", "told"), [pytest.param(*case, id=case[0]) for case in WORKING])
def test_what_goes_on_or_waits(reason: Reason, wanted: Verdict, told: list[str]) -> None:
    item = saying(reason)
    assert (verdict(item), commands(item)) == (wanted, told)


@pytest.mark.parametrize(("reason", "told"), [pytest.param(*case, id=case[0]) for case in STALLED])
def test_what_does_not_go_on(reason: Reason, told: list[str]) -> None:
    item = saying(reason, stalled=True)
    assert (verdict(item), commands(item)) == (Verdict.STALLED, told)


@pytest.mark.parametrize("reason", FINE)
def test_what_is_fine_needs_nothing(reason: Reason) -> None:
    item = saying(reason, done=True)
    assert (verdict(item), commands(item)) == (Verdict.DONE, [])


@pytest.mark.parametrize(("kind", "reason", "told"), [pytest.param(*case, id=case[1]) for case in BESIDES])
def test_what_matters_besides(kind: ConditionType, reason: Reason, told: str) -> None:
    ready = condition(ConditionType.READY, "True", Reason.SUCCEEDED)
    item = recorded("succeeded", conditions=[ready, condition(kind, "False", reason)])
    told = told.replace("gated", "hello")
    assert commands(item) == [told]
    assert explain(item, SPEECH, NOW).others[0].message == "so it is"


def test_a_waiting_approval_names_both_decisions_and_its_time() -> None:
    told = explain(recorded("waiting"), SPEECH, NOW)
    assert told.verdict is Verdict.WAITS
    assert told.first.since == datetime(2026, 11, 22, 6, 24, 37, tzinfo=UTC)
    assert told.first.until == datetime(2026, 11, 22, 8, 24, 37, tzinfo=UTC)
    assert commands(recorded("waiting")) == [
        f"kubectl bascule approve gated {PLACE}",
        f"kubectl bascule reject gated --reason WHY {PLACE}",
    ]


@pytest.mark.parametrize("kind", [kind for kind in WaitKind if kind is not WaitKind.APPROVAL])
def test_every_other_wait_says_what_ends_it(kind: WaitKind) -> None:
    item = saying(Reason.WAITING, waitingFor={"gate": "publish", "kind": kind})
    (advice,) = explain(item, SPEECH, NOW).first.advice
    assert (advice.command, len(advice.text) > 20) == (GET, True)


@pytest.mark.parametrize("kind", list(FailureType))
def test_every_failure_ends_in_a_command(kind: FailureType) -> None:
    failure = {"type": kind, "step": "build", "message": "no"}
    assert commands(saying(Reason.STEP_FAILED, stalled=True, failure=failure))[-1] == RERUN


def test_a_failed_step_with_output_names_its_logs_first() -> None:
    assert commands(recorded("failed"))[0] == f"kubectl bascule logs nasty test-smoke {PLACE}"


def test_a_lost_run_whose_effects_were_found_may_run_again() -> None:
    assert commands(saying(Reason.RUN_LOST, stalled=True)) == [RERUN]


def test_what_a_lost_run_left_is_to_be_looked_for() -> None:
    failure = {"type": FailureType.RUN_LOST, "message": "terminated"}
    first, *others = commands(saying(Reason.COMPENSATION_FAILED, stalled=True, failure=failure))
    uid = recorded("waiting").meta.uid
    assert first == f"kubectl get jobs,pods,secrets,configmaps -A -l bascule.dev/run={uid}.1"
    assert others == [RERUN, FORCE]


def test_what_was_let_go_is_listed() -> None:
    compensation = {"state": CompensationState.FORCED, "left": ["registry.example.com/a:v1"]}
    item = saying(Reason.FORCED, stalled=True, compensation=compensation)
    assert "registry.example.com/a:v1" in explain(item, SPEECH, NOW).first.advice[0].text


def test_a_compensation_that_stumbles_says_to_mend_the_cause() -> None:
    compensation = {"state": "Running", "lastError": "no route", "deadline": "2026-11-22T07:00:00Z"}
    told = explain(saying(Reason.COMPENSATING, compensation=compensation), SPEECH, NOW)
    assert "mend" in told.first.advice[0].text
    assert told.first.until == datetime(2026, 11, 22, 7, 0, tzinfo=UTC)


def test_a_tenant_says_how_to_make_its_steps_namespace() -> None:
    assert commands(tenant(Reason.STEPS_NAMESPACE_MISSING)) == [
        "bascule tenant manifests acme -n acme-dev -n acme-prod | kubectl apply --server-side -f -"
    ]
    assert "TEMPORAL" in commands(tenant(Reason.TEMPORAL_NAMESPACE_TAKEN))[0]
    assert "NODES" in commands(tenant(Reason.NODE_SELECTOR_OVERLAPS))[0]


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(recorded("waiting", observedGeneration=-1, conditions=[]), id="never"),
        pytest.param(with_metadata(recorded("succeeded"), generation=7), id="not since it changed"),
    ],
)
def test_what_the_operator_has_not_seen_is_said_to_be_unseen(item: Item) -> None:
    assert verdict(item) is Verdict.UNSEEN
    assert commands(item) == ["kubectl get pods -n bascule-system -l app.kubernetes.io/component=operator"]


def test_commands_carry_the_cluster_that_was_chosen() -> None:
    speech = Speech("bascule", context="prod", kubeconfig="/tmp/my config")
    told = explain(saying(Reason.SUSPENDED), speech, NOW).first.advice[0].command
    assert told == "bascule resume gated -n acme-dev --context prod --kubeconfig '/tmp/my config'"


def plain(item: Item, news: list[News] | None = None) -> str:
    lines = paragraphs(item, explain(item, SPEECH, NOW), news or [], NOW)
    return "\n".join(line.plain for line in lines)


@pytest.mark.parametrize(
    ("status", "reason", "command"),
    [
        pytest.param("True", Reason.SCHEDULED, RERUN, id="its time is to come"),
        pytest.param("False", Reason.SUSPENDED, f"kubectl bascule resume gated {PLACE}", id="suspended"),
        pytest.param("False", Reason.PROCEDURE_NOT_FOUND, EDIT, id="a Procedure is missing"),
    ],
)
def test_what_waits_for_its_schedule_has_its_advice(status: str, reason: Reason, command: str) -> None:
    item = recorded("waiting", conditions=[condition(ConditionType.SCHEDULED, status, reason)], waitingFor=None)
    assert verdict(item) is Verdict.WAITS
    assert command in commands(item)


def test_after_a_run_it_is_told_besides_that_the_next_one_could_not_start() -> None:
    says = [
        condition(ConditionType.READY, "True", Reason.SUCCEEDED),
        condition(ConditionType.SCHEDULED, "False", Reason.PROCEDURE_NOT_FOUND),
    ]
    item = recorded("succeeded", conditions=says)
    assert verdict(item) is Verdict.DONE
    assert [other.reason for other in explain(item, SPEECH, NOW).others] == [Reason.PROCEDURE_NOT_FOUND]


def test_the_answer_as_people_read_it() -> None:
    digest = "sha256:7f6b435bf8f49f7c501e3a20127013035fc59befe403a132993980b42494293f"
    news = [News(datetime(2026, 11, 22, 6, 24, 37, tzinfo=UTC), "Waiting", "at the gate", count=2)]
    text = plain(recorded("waiting"), news)
    assert text.startswith("ImageBuild/gated in acme-dev waits (Waiting, run 1)\n  why        Waiting: ")
    for line in (
        "  since      2026-11-22 06:24:37 UTC (7m23s ago)",
        "  until      2026-11-22 08:24:37 UTC (in 1h52m) at the latest",
        f"  subject    {digest}",
        f"  candidate  registry.example.com/acme/gated-candidates@{digest}",
        f"    kubectl bascule approve gated {PLACE}",
        "  7m23s ago  Waiting (x2)  at the gate",
    ):
        assert f"\n{line}" in text


def test_a_narrow_terminal_wraps_words_and_breaks_no_command() -> None:
    item = recorded("waiting")
    lines = [line.plain for line in paragraphs(item, explain(item, SPEECH, NOW), [], NOW, width=60)]
    (begin,) = [place for place, line in enumerate(lines) if line.startswith("  why")]
    assert lines[begin + 1].startswith(" " * 13)
    assert f"    kubectl bascule reject gated --reason WHY {PLACE}" in lines


@pytest.mark.parametrize("name", ["cancelled", "failed", "pending", "running", "succeeded", "waiting"])
def test_nothing_hostile_gets_through(name: str) -> None:
    def poisoned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: item if key in _CLOSED else poisoned(item) for key, item in value.items()}
        if isinstance(value, list):
            return [poisoned(item) for item in value]
        return f"{value}\x1b[2J" if isinstance(value, str) else value

    item = recorded(name, **poisoned(recorded(name).body["status"]))
    assert not item.unreadable
    text = plain(item, [News(NOW, "Re\x1b[2J", "no\x1b[2J")])
    assert "\\x1b[2J" in text
    assert "\x1b" not in text
    assert "\x1b" not in str(document(item, explain(item, SPEECH, NOW), [])["name"])


_CLOSED = re.findall(
    r"\w+",
    "type status state phase kind trigger reason outcome digest log signature provenance sbom at retryable cancelCause "
    "lastTransitionTime startedAt finishedAt since until deadline scheduledFor reruns effects source missedReason",
)
