"""What a campaign asks before it goes on: windows, gates, and targets over HTTP.

Nothing goes out from the worker: what a tenant names is asked by a Job of the tenant's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from temporalio import activity

from bascule_api.conditions import WaitKind
from bascule_api.failures import FailureType
from bascule_api.fleets import Window
from bascule_api.gates import Gate, Verdict
from bascule_api.procedures import PinnedProcedure, SecurityProfile
from bascule_workers.activities.common import WAIT_SECONDS, JobRunner
from bascule_workers.activities.patch_targets import PatchTargetPorts
from bascule_workers.errors import StepFailedError, StepTimedOutError, TargetGoneError, TargetRefusedError, WorkerError
from bascule_workers.in_step import conditions
from bascule_workers.messages import Done, Left, NotYet
from bascule_workers.patch_campaigns import GateReport, GateRequest, HttpCheckRequest, WindowRequest, WindowState
from bascule_workers.plans import asking_jobs, gates, nodes, windows
from bascule_workers.plans.gates import Cursor
from bascule_workers.plans.measurements import Measurement
from bascule_workers.plans.outcomes import Running

LOST_PAUSE_SECONDS = 5


def problems(given: Sequence[Gate], maintenance: Sequence[Window]) -> list[str]:
    """What is wrong with gates and windows that no schema can tell, each a sentence that names the field.

    Bounded in time whatever a tenant writes: expressions are parsed, not evaluated.
    """
    found = [f"spec.gates[{number}].{part}" for number, gate in enumerate(given) for part in _problems(gate)]
    return found + windows.check(maintenance)


def _problems(gate: Gate) -> list[str]:
    known: tuple[str, ...] = ()
    found = []
    if gate.http is not None:
        known = conditions.HTTP_NAMES
        found.append(("http.url", gates.url_problem(gate.http.url)))
    if gate.prometheus is not None:
        known = conditions.PROMETHEUS_NAMES
        found.append(("prometheus.address", gates.url_problem(gate.prometheus.address)))
    if gate.success_condition is not None:
        wrong = conditions.problem(gate.success_condition, known) if known else "is for http and prometheus"
        found.append(("successCondition", wrong))
    return [f"{part} {wrong}" for part, wrong in found if wrong]


class GateActivities:
    """Each may die before or after its effect and be repeated."""

    def __init__(self, ports: PatchTargetPorts, wait_seconds: float = WAIT_SECONDS) -> None:
        self._ports = ports
        self._wait_seconds = wait_seconds
        self._jobs = JobRunner.of(ports)

    @activity.defn(name="patch_campaign.window")
    async def window(self, request: WindowRequest) -> Done[WindowState] | NotYet:
        """Whether a target may be begun now.

        An activity, since the rules of time zones change with a worker's version: what a run was told, it was told.
        """
        found = windows.standing(request.windows, request.now)
        name = windows.words(found.window) if found.window else ""
        return Done(value=WindowState(open=found.open, changes_at=found.changes_at, name=name))

    @activity.defn(name="patch_campaign.gate")
    async def gate(self, request: GateRequest) -> Done[GateReport] | NotYet:
        """Measure until there is a verdict.

        A Job asks by itself until then; when it is lost, its successor counts from the beginning: nobody can vouch for
        what the lost one saw. A Procedure is a Job for each measurement.
        """
        if request.gate.procedure is not None:
            return await self._by_procedure(request)
        job, traits = gates.asking_job(request, self._ports.job_settings)
        look = gates.look_seconds(request, self._wait_seconds)
        try:
            outcome = await self._jobs.run(
                job, FailureType.STEP_FAILED, traits, limit_seconds=look, reads=gates.RESULTS
            )
        except StepTimedOutError:
            message = f"no verdict within {request.timeout_seconds} s"
            return Done(value=GateReport(verdict=Verdict.INCONCLUSIVE, message=message))
        if isinstance(outcome, Running):
            return self._not_yet(request, outcome.note or await self._progress(request, outcome.pod))
        ended, log = outcome
        verdict = ended.results.get("verdict", Verdict.INCONCLUSIVE)
        report = GateReport(verdict=Verdict(verdict), message=gates.shortened(ended.message))
        return Done(value=report, log=log.digest, message=log.note)

    def _not_yet(self, request: GateRequest, reason: str, cursor: str = "", again_after: int = 0) -> NotYet:
        return NotYet(
            reason=reason or "measuring",
            waits_for=WaitKind.CHECK,
            subject=request.gate.name,
            cursor=cursor,
            again_after=again_after,
        )

    async def _progress(self, request: GateRequest, pod: str) -> str:
        if not pod:
            return ""
        namespace = request.tenant.steps_namespace
        return gates.progress(await self._ports.steps.log_tail(namespace, pod, asking_jobs.CONTAINER, lines=1))

    # Procedures

    async def _by_procedure(self, request: GateRequest) -> Done[GateReport] | NotYet:
        procedure = _usable(request)
        cursor, gate = Cursor.of(request.cursor), request.gate
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait_seconds
        while True:
            found, log = await self._measured(request, procedure, cursor, max(1.0, deadline - loop.time()))
            if isinstance(found, NotYet):
                return found
            cursor = Cursor(cursor.tally.plus(found))
            words = cursor.tally.words(gate)
            if (verdict := cursor.tally.verdict(gate)) is not None:
                return Done(value=GateReport(verdict=verdict, message=words), log=log)
            if loop.time() + gate.interval.seconds >= deadline:
                return self._not_yet(request, words, cursor.to_text(), again_after=gate.interval.seconds)
            await asyncio.sleep(gate.interval.seconds)

    async def _measured(
        self, request: GateRequest, procedure: PinnedProcedure, cursor: Cursor, seconds: float
    ) -> tuple[Measurement | NotYet, str]:
        """One measurement, with its log's digest; NotYet while its Job goes on, or when it has to be made anew."""
        job, traits = gates.measuring_job(request, procedure, cursor)
        try:
            outcome = await self._jobs.run(
                job, FailureType.GATE_FAILED, traits, limit_seconds=seconds, reads=gates.RESULTS
            )
        except (StepFailedError, StepTimedOutError) as error:
            if not error.retryable:
                failed = error.type == FailureType.GATE_FAILED
                text = gates.shortened(str(error))
                return Measurement(Verdict.FAIL if failed else Verdict.INCONCLUSIVE, text), error.log
            return self._once_more(request, cursor, error), ""
        except WorkerError as error:
            if not error.new_job:
                raise
            return self._once_more(request, cursor, error), ""
        if isinstance(outcome, Running):
            return self._not_yet(request, outcome.note or cursor.tally.words(request.gate), cursor.to_text()), ""
        ended, log = outcome
        return gates.measurement_of(ended.results, ended.message), log.digest

    def _once_more(self, request: GateRequest, cursor: Cursor, error: WorkerError) -> NotYet:
        again = replace(cursor, attempt=cursor.attempt + 1)
        reason = gates.shortened(f"attempt {cursor.attempt}: {error}")
        return self._not_yet(request, reason, again.to_text(), again_after=LOST_PAUSE_SECONDS)

    # Targets

    @activity.defn(name="patch_target.check_http")
    async def check_http(self, request: HttpCheckRequest) -> Done[Left] | NotYet:
        """Ask the target until it passes.

        Raises StepFailedError of the type TargetNotReady when the time is up, TargetGoneError, TargetRefusedError.
        """
        job, traits = gates.check_job(request, await self._address(request), self._ports.job_settings)
        outcome = await self._jobs.run(
            job, FailureType.TARGET_NOT_READY, traits, limit_seconds=self._wait_seconds, reads=gates.RESULTS
        )
        if isinstance(outcome, Running):
            return NotYet(reason=outcome.note)
        ended, log = outcome
        if ended.results.get("verdict") != Verdict.PASS:
            error = StepFailedError(gates.shortened(ended.message), FailureType.TARGET_NOT_READY)
            error.log = log.digest
            raise error
        return Done(value=Left(), log=log.digest, message=log.note)

    async def _address(self, request: HttpCheckRequest) -> str:
        """Where the target is asked: the node's internal address, or the host's."""
        target = request.target
        if not request.node:
            return target.address or target.name
        node = await self._ports.nodes.get(target.name)
        if node is None:
            raise TargetGoneError(f"the node {target.name} is no longer there")
        if refusal := nodes.refusal(node, request.node_selector):
            raise TargetRefusedError(refusal)
        if not node.addresses:
            raise StepFailedError(f"the node {target.name} has no address", FailureType.TARGET_NOT_READY)
        return node.addresses[0]


def _usable(request: GateRequest) -> PinnedProcedure:
    """The gate's Procedure. Raises StepFailedError for one that would be root somewhere."""
    procedure = request.procedure
    if procedure is None:
        raise StepFailedError(f"the gate {request.gate.name} names a Procedure that is not pinned")
    if procedure.spec.security_profile == SecurityProfile.HOST:
        raise StepFailedError(f"the Procedure {procedure.name} has the securityProfile Host: it is not for gates")
    return procedure
