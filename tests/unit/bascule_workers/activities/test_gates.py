"""Windows, gates and HTTP checks, with Jobs that end as a test says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from bascule_api import names
from bascule_api.conditions import WaitKind
from bascule_api.failures import FailureType
from bascule_api.fleets import Target, Window
from bascule_api.gates import Gate, HttpCheck, HttpMeasure, ProcedureMeasure, PrometheusMeasure, Verdict
from bascule_api.procedures import (
    Container,
    PinnedProcedure,
    ProcedureSpec,
    ResultDeclaration,
    Retry,
    SecurityProfile,
    Template,
    Use,
)
from bascule_api.progress import RunIdentity, TenantFacts
from bascule_workers.activities import gates as activities
from bascule_workers.activities.gates import GateActivities
from bascule_workers.activities.patch_campaigns import CampaignPorts, PatchCampaignActivities
from bascule_workers.activities.patch_targets import PatchTargetPorts
from bascule_workers.errors import JobLostError, PlanRefusedError, StepFailedError, TargetGoneError, TargetRefusedError
from bascule_workers.messages import Done, NotYet
from bascule_workers.patch_campaigns import (
    GateReport,
    GateRequest,
    HttpCheckRequest,
    PlanRequest,
    WindowRequest,
    WindowState,
)
from bascule_workers.plans import credentials
from bascule_workers.plans.jobs import JobSettings
from bascule_workers.plans.nodes import Node
from bascule_workers.plans.outcomes import Failed, Lost, Outcome, Running, Succeeded, TimedOut
from bascule_workers.ports.nodes import Nodes, TargetLeases
from bascule_workers.ports.steps import Stopped
from tests.support.fake_registry import Troubles
from tests.support.fake_world import FakeLogs, FakeObjects, FakeTenants

RUN = RunIdentity(
    kind="PatchCampaign", namespace="acme-dev", name="kernel", uid="0b1c", number=3, revision="1-a", tenant="acme"
)
TENANT = TenantFacts(name="acme", steps_namespace="bascule-steps-acme", service_account="steps")
COMMON = {"run": RUN, "tenant": TENANT, "step": "wave-canary"}
PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
HEADER = "spec.gates[0].prometheus"


@dataclass
class Jobs:
    """The port `Steps`: Jobs that end one after the other, each as it once did."""

    outcomes: list[Outcome] = field(default_factory=list)
    lines: str = ""
    ended: dict[str, Outcome] = field(default_factory=dict)
    seen: list[Mapping[str, Any]] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)

    async def run(self, job: Mapping[str, Any], *, known_note: str, limit_seconds: float) -> Outcome:
        name = job["metadata"]["name"]
        self.seen.append(job)
        self.limits.append(limit_seconds)
        if name in self.ended:
            return self.ended[name]
        outcome = self.outcomes.pop(0)
        if not isinstance(outcome, Running):
            self.ended[name] = outcome
        return outcome

    async def log_tail(self, namespace: str, pod: str, container: str, lines: int = 40) -> str:
        return "\n".join(self.lines.splitlines()[-lines:]) if pod == "running" else ""

    async def log(self, namespace: str, pod: str, container: str, *, limit_bytes: int) -> str:
        return ""

    async def stop(self, namespace: str, run: str, *, finished_too: bool, limit_seconds: float) -> Stopped:
        raise AssertionError


@dataclass
class OneNode:
    """Of the port `Nodes`, what a check asks."""

    node: Node | None

    async def get(self, name: str) -> Node | None:
        return self.node if self.node and self.node.name == name else None


def activities_with(jobs: Jobs, node: Node | None = None, **more: Any) -> GateActivities:
    ports = PatchTargetPorts(
        nodes=cast(Nodes, OneNode(node)),
        leases=cast(TargetLeases, None),
        steps=jobs,
        objects=FakeObjects(Troubles()),
        tenants=FakeTenants(),
        logs=FakeLogs(),
        job_settings=JobSettings("tools:1", "bascule-ca"),
    )
    return GateActivities(ports, **more)


def prometheus(**more: Any) -> Gate:
    measure = PrometheusMeasure(address="http://prometheus:9090", query="errors")
    return Gate.model_validate(
        {"name": "errors", "prometheus": measure, "success_condition": "result < 0.05", "count": 3} | more
    )


def request(gate: Gate, **more: Any) -> GateRequest:
    return GateRequest.model_validate(COMMON | {"gate": gate, "timeout_seconds": 600} | more)


def verdict(said: Verdict, message: str = "") -> Succeeded:
    return Succeeded({"verdict": said.value}, message, pod="pod")


# Windows


async def test_a_window_that_is_open() -> None:
    window = Window(start="22:00", end="02:00", time_zone="Europe/Berlin")
    found = await activities_with(Jobs()).window(
        WindowRequest.model_validate(COMMON | {"windows": [window], "now": 1_777_926_600})
    )
    name = "daily 22:00–02:00 Europe/Berlin"
    assert found == Done(value=WindowState(open=True, changes_at=1_777_939_200, name=name))


# Gates that a Job asks


async def test_a_gate_says_how_it_stands_while_it_is_measured() -> None:
    jobs = Jobs([Running(pod="running")], lines="Pass: 1 of 3 passed, last 1\nPass: 2 of 3 passed, last 0.004\n")
    assert await activities_with(jobs).gate(request(prometheus())) == NotYet(
        reason="2 of 3 passed, last 0.004", waits_for=WaitKind.CHECK, subject="errors"
    )


@pytest.mark.parametrize(
    ("outcome", "log", "reason"),
    [
        pytest.param(Running("no node takes the pod: 0/3"), "", "no node takes the pod: 0/3", id="in the way"),
        pytest.param(Running(), "", "measuring", id="no pod yet"),
        pytest.param(Running(pod="running"), "", "measuring", id="no log yet"),
        pytest.param(Running(pod="running"), "Traceback: x", "measuring", id="some other line"),
    ],
)
async def test_what_is_said_before_there_is_a_measurement(outcome: Running, log: str, reason: str) -> None:
    found = await activities_with(Jobs([outcome], log)).gate(request(prometheus()))
    assert isinstance(found, NotYet)
    assert found.reason == reason


@pytest.mark.parametrize("said", list(Verdict))
async def test_the_verdict_is_what_the_job_says(said: Verdict) -> None:
    found = await activities_with(Jobs([verdict(said, "3 of 3 passed")])).gate(request(prometheus()))
    assert found == Done(value=GateReport(verdict=said, message="3 of 3 passed"))


async def test_no_verdict_in_time_is_inconclusive() -> None:
    found = await activities_with(Jobs([TimedOut("pod", "step")])).gate(request(prometheus()))
    assert found == Done(value=GateReport(verdict=INCONCLUSIVE, message="no verdict within 600 s"))


@pytest.mark.parametrize(
    "outcome", [Lost("its node was drained"), Succeeded()], ids=["drained", "gone with its verdict"]
)
async def test_a_lost_job_has_a_successor(outcome: Outcome) -> None:
    jobs = Jobs([outcome, verdict(PASS)])
    given = request(prometheus())
    with pytest.raises(JobLostError):
        await activities_with(jobs).gate(given)
    await activities_with(jobs).gate(given.model_copy(update={"job_attempt": 2}))
    assert len({job["metadata"]["name"] for job in jobs.seen}) == 2


async def test_another_worker_finds_the_same_job() -> None:
    jobs = Jobs([verdict(PASS)])
    for _ in range(2):
        found = await activities_with(jobs).gate(request(prometheus(), note="whatever"))
        assert isinstance(found, Done)
    assert len({json.dumps(job, sort_keys=True) for job in jobs.seen}) == 1


async def test_long_gates_are_looked_at_less_often_but_soon_at_first() -> None:
    jobs = Jobs([Running()] * 4)
    for gate in (prometheus(), prometheus(name="day", interval="10m", count=144)):
        for note in ("", "measuring"):
            await activities_with(jobs).gate(request(gate, note=note))
    assert jobs.limits == [15.0, 15.0, 15.0, 240.0]


async def test_the_job_gets_the_header_and_nothing_else_of_the_runs_secret() -> None:
    jobs = Jobs([verdict(PASS)])
    await activities_with(jobs).gate(request(prometheus(), header=HEADER))
    pod = jobs.seen[0]["spec"]["template"]["spec"]
    (volume,) = [volume for volume in pod["volumes"] if "projected" in volume]
    key = credentials.http_key(HEADER)
    assert [source["secret"]["items"] for source in volume["projected"]["sources"]] == [
        [{"key": key, "path": "authorization"}]
    ]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "steps"


async def test_a_job_without_a_header_has_no_secret() -> None:
    jobs = Jobs([verdict(PASS)])
    await activities_with(jobs).gate(request(prometheus()))
    assert "projected" not in json.dumps(jobs.seen[0])
    assert "BASCULE_HTTP_DIR" not in json.dumps(jobs.seen[0])


# Procedures


def procedure(**more: Any) -> PinnedProcedure:
    spec = ProcedureSpec.model_validate(
        {"uses": [Use.PATCH_CAMPAIGN_GATE], "template": Template(container=Container(image="smoke:1"))} | more
    )
    return PinnedProcedure(name="smoke", generation=1, hash="abc", spec=spec)


def smoke(pinned: PinnedProcedure | None = None, **more: Any) -> GateRequest:
    gate = Gate.model_validate({"name": "smoke", "procedure": ProcedureMeasure(name="smoke")} | more)
    return request(gate, procedure=pinned or procedure())


async def ended(jobs: Jobs, given: GateRequest) -> tuple[GateReport, list[NotYet]]:
    """The report, as a workflow gets it: with the cursor handed back."""
    answers = []
    while True:
        found = await activities_with(jobs, wait_seconds=0.0).gate(given)
        if isinstance(found, Done):
            return found.value, answers
        answers.append(found)
        given = given.model_copy(update={"note": found.reason, "cursor": found.cursor})


async def test_each_measurement_of_a_procedure_is_a_job() -> None:
    jobs = Jobs([verdict(PASS, "fine"), verdict(FAIL, "slow"), Succeeded(message="fine again", pod="pod")])
    report, answers = await ended(jobs, smoke(count=2, failure_limit=1, interval="1m"))
    assert report == GateReport(verdict=PASS, message="2 of 2 passed, 1 failed (1 may), last fine again")
    assert [(answer.reason, answer.again_after) for answer in answers] == [
        ("1 of 2 passed, last fine", 60),
        ("1 of 2 passed, 1 failed (1 may), last slow", 60),
    ]
    assert len({job["metadata"]["name"] for job in jobs.seen}) == 3


async def test_measurements_close_to_each_other_need_one_call() -> None:
    jobs = Jobs([verdict(PASS), verdict(PASS), verdict(PASS)])
    given = smoke(count=3, interval="1s")
    found = await activities_with(jobs).gate(given)
    assert isinstance(found, Done)
    # Whoever repeats the call finds the Jobs that there were.
    assert await activities_with(jobs).gate(given) == found
    assert len({job["metadata"]["name"] for job in jobs.seen}) == 3


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        pytest.param(Failed("exit code 1", 1, "pod", "step"), FAIL, id="an exit code fails"),
        pytest.param(verdict(INCONCLUSIVE, "?"), INCONCLUSIVE, id="as it says"),
        pytest.param(Succeeded({"verdict": "Maybe"}, pod="pod"), INCONCLUSIVE, id="a verdict that is none"),
        pytest.param(TimedOut("pod", "step"), INCONCLUSIVE, id="too long"),
        pytest.param(Failed("InvalidImageName", pod="pod"), INCONCLUSIVE, id="it cannot start"),
        pytest.param(Lost("its node was drained"), INCONCLUSIVE, id="lost too often"),
    ],
)
async def test_how_a_procedure_ends(outcome: Outcome, expected: Verdict) -> None:
    report, _ = await ended(Jobs([outcome]), smoke(procedure(retry=Retry(attempts=1))))
    assert report.verdict is expected


async def test_a_lost_measurement_is_made_again() -> None:
    jobs = Jobs([verdict(PASS), Lost("drained"), Lost("drained"), verdict(PASS), verdict(PASS)])
    report, answers = await ended(jobs, smoke(procedure(retry=Retry(attempts=3)), count=3))
    assert report == GateReport(verdict=PASS, message="3 of 3 passed")
    assert [answer.reason for answer in answers][1:3] == ["attempt 1: drained", "attempt 2: drained"]
    assert len(jobs.seen) == 5


async def test_a_measurement_whose_verdict_nobody_heard_is_made_again() -> None:
    declaring = procedure(results=[ResultDeclaration(name="verdict")])
    report, _ = await ended(Jobs([Succeeded(), verdict(FAIL)]), smoke(declaring))
    assert report.verdict is FAIL


async def test_a_measurement_that_declares_no_verdict_passes_by_its_exit_code_alone() -> None:
    report, _ = await ended(Jobs([Succeeded()]), smoke())
    assert report.verdict is PASS


async def test_an_exit_code_that_may_be_repeated_is() -> None:
    retry = Retry(attempts=2, non_retryable_exit_codes=[1])
    jobs = Jobs([Failed("exit code 30", 30, "pod", "step"), verdict(PASS)])
    report, _ = await ended(jobs, smoke(procedure(retry=retry)))
    assert report.verdict is PASS


@pytest.mark.parametrize(
    ("pinned", "said"),
    [
        pytest.param(procedure(security_profile=SecurityProfile.HOST), "not for gates", id="root on a node"),
        pytest.param(None, "is not pinned", id="none"),
    ],
)
async def test_procedures_that_are_not_for_gates(pinned: PinnedProcedure | None, said: str) -> None:
    given = smoke().model_copy(update={"procedure": pinned})
    with pytest.raises(StepFailedError, match=said):
        await activities_with(Jobs()).gate(given)


# Targets


NODE = Node("node-1", labels={"pool": "acme"}, addresses=("10.0.0.7", "node-1"))


def check(**more: Any) -> HttpCheckRequest:
    given = {"target": Target(name="node-1"), "check": HttpCheck(port=9100, path="/-/ready"), "timeout_seconds": 120}
    return HttpCheckRequest.model_validate(COMMON | {"node_selector": {"pool": "acme"}} | given | more)


def asked(job: Mapping[str, Any]) -> Any:
    env = {entry["name"]: entry["value"] for entry in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    return json.loads(env["PARAM_ASKS"])


@pytest.mark.parametrize(
    ("given", "node", "url"),
    [
        pytest.param(check(), NODE, "http://10.0.0.7:9100/-/ready", id="a node"),
        pytest.param(
            check(), Node("node-1", labels={"pool": "acme"}, addresses=("fd00::7",)), "http://[fd00::7]:9100/-/ready",
            id="a node with IPv6",
        ),
        pytest.param(
            check(target=Target(name="db", address="db.example.com"), node=False), None,
            "http://db.example.com:9100/-/ready", id="a host",
        ),
        pytest.param(
            check(target=Target(name="db"), node=False), None, "http://db:9100/-/ready", id="a host without an address"
        ),
    ],
)  # fmt: skip
async def test_a_target_is_asked_where_it_is(given: HttpCheckRequest, node: Node | None, url: str) -> None:
    jobs = Jobs([verdict(PASS)])
    assert isinstance(await activities_with(jobs, node).check_http(given), Done)
    assert asked(jobs.seen[0]) == {"check": {"url": url, "interval": 5, "seconds": 120}}
    assert jobs.seen[0]["metadata"]["labels"][names.LABEL_TARGET] == given.target.name


async def test_a_target_whose_check_nobody_heard_of_is_asked_again() -> None:
    jobs = Jobs([Succeeded(), verdict(PASS)])
    with pytest.raises(JobLostError):
        await activities_with(jobs, NODE).check_http(check())
    assert isinstance(await activities_with(jobs, NODE).check_http(check(job_attempt=2)), Done)


async def test_a_target_that_is_checked_again_later_is_asked_again() -> None:
    jobs = Jobs([verdict(PASS), verdict(FAIL, "did not pass")])
    await activities_with(jobs, NODE).check_http(check(since=1))
    await activities_with(jobs, NODE).check_http(check(since=1))
    with pytest.raises(StepFailedError):
        await activities_with(jobs, NODE).check_http(check(since=2))


async def test_a_target_that_does_not_pass_is_not_ready() -> None:
    jobs = Jobs([verdict(FAIL, "http://10.0.0.7:9100/ did not pass within 120 s")])
    with pytest.raises(StepFailedError, match="did not pass within 120 s") as failed:
        await activities_with(jobs, NODE).check_http(check())
    assert (failed.value.type, failed.value.retryable) == (FailureType.TARGET_NOT_READY, False)


@pytest.mark.parametrize(
    ("node", "error"),
    [
        pytest.param(None, TargetGoneError, id="gone"),
        pytest.param(Node("node-1", labels={"pool": "other"}, addresses=("10.0.0.7",)), TargetRefusedError, id="other"),
        pytest.param(
            Node("node-1", labels={"pool": "acme"}, addresses=("10.0.0.7",), control_plane=True),
            TargetRefusedError,
            id="control plane",
        ),
        pytest.param(Node("node-1", labels={"pool": "acme"}), StepFailedError, id="no address"),
    ],
)
async def test_nodes_that_are_not_asked(node: Node | None, error: type[Exception]) -> None:
    jobs = Jobs()
    with pytest.raises(error):
        await activities_with(jobs, node).check_http(check())
    assert jobs.seen == []


# Before a run needs them


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        pytest.param(prometheus(), [], id="fine"),
        pytest.param(
            prometheus(success_condition="resutl < 1"),
            ["spec.gates[0].successCondition names resutl; there are result, results"],
            id="a name that there is not",
        ),
        pytest.param(
            Gate(name="up", http=HttpMeasure(url="http://web:99999/"), success_condition="result < 1"),
            [
                "spec.gates[0].http.url is no URL: Port out of range 0-65535",
                "spec.gates[0].successCondition names result; there are status, body, json",
            ],
            id="two things",
        ),
        pytest.param(
            Gate(name="up", http=HttpMeasure(url="http://[web]/")),
            ["spec.gates[0].http.url is no URL: 'web' does not appear to be an IPv4 or IPv6 address"],
            id="no address",
        ),
        pytest.param(
            Gate(name="up", http=HttpMeasure(url="http://:80/")), ["spec.gates[0].http.url names no host"], id="no host"
        ),
        pytest.param(
            Gate(name="smoke", procedure=ProcedureMeasure(name="smoke"), success_condition="true"),
            ["spec.gates[0].successCondition is for http and prometheus"],
            id="a condition of a Procedure",
        ),
    ],
)
def test_what_is_told_before_a_run_needs_it(gate: Gate, said: list[str]) -> None:
    assert activities.problems([gate], []) == said


async def test_a_plan_with_a_gate_that_cannot_work_is_refused() -> None:
    gate, window = prometheus(success_condition="result <"), Window(start="22:00", end="23:00", time_zone="Mars/Base")
    plan = PlanRequest.model_validate(COMMON | {"order": "1-a", "waves": [], "gates": [gate], "windows": [window]})
    with pytest.raises(PlanRefusedError, match=r"spec\.gates\[0\]\.successCondition .*; spec\.windows\[0\]\.timeZone"):
        await PatchCampaignActivities(cast(CampaignPorts, None)).plan(plan)


def test_unknown_time_zones_are_told_too() -> None:
    windows = [Window(start="22:00", end="23:00", time_zone="Europe/Atlantis")]
    assert [problem.partition(":")[0] for problem in activities.problems([], windows)] == ["spec.windows[0].timeZone"]
