"""Restores by Procedures and by Velero, with Jobs that end as a test says: repeated, lost, lying."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from bascule_api.failures import FailureType
from bascule_api.procedures import ResultDeclaration, Retry
from bascule_workers.activities.drill_restores import DrillPorts, DrillRestoreActivities
from bascule_workers.dr_drills import RemoveVeleroRequest, Restored, RestoreRequest, VeleroRequest
from bascule_workers.errors import JobLostError, SecretMissingError, StepFailedError, StepTimedOutError
from bascule_workers.messages import Done, NotYet
from bascule_workers.plans import credentials, drill_jobs
from bascule_workers.plans.outcomes import Failed, Lost, Outcome, Running, Succeeded, TimedOut
from bascule_workers.plans.velero import Backup
from tests.support.fake_registry import Troubles
from tests.support.fake_velero import FakeVelero
from tests.support.fake_world import FakeLogs, FakeObjects, FakeTenants
from tests.unit.bascule_workers.activities.test_gates import Jobs
from tests.unit.bascule_workers.plans.test_drill_jobs import NAMESPACE, RUN, SETTINGS, TENANT, pinned, request

KEY = "backup.secret-key"
GOOD = Succeeded(
    {"recoveryPoint": "2025-11-22T13:05:41Z", "backup": "sha256:1"}, "42 tables", "pod", started=10, finished=17
)


@dataclass
class World:
    """What the activities work on; `of` says which Jobs come."""

    outcomes: list[Outcome] = field(default_factory=list)
    objects: FakeObjects = field(default_factory=lambda: FakeObjects(Troubles()))
    velero: FakeVelero = field(default_factory=FakeVelero)
    now: float = 1_000.0
    lent: list[bool] = field(default_factory=list)
    """Whether the copy of the keys was there whenever a Job was looked at."""

    def __post_init__(self) -> None:
        name = credentials.credentials_name(RUN)
        data = {KEY: base64.b64encode(b"open-sesame").decode()}
        self.objects.add(
            {"kind": "Secret", "metadata": {"name": name, "namespace": TENANT.steps_namespace}, "data": data}
        )
        self.jobs = Jobs(self.outcomes, lines="wrong password open-sesame for hunter2-db\n")
        world = self

        class Watched(Jobs):
            async def run(self, job: Mapping[str, Any], *, known_note: str, limit_seconds: float) -> Outcome:
                world.lent.append(world.copy is not None)
                return await super().run(job, known_note=known_note, limit_seconds=limit_seconds)

            async def log_tail(self, namespace: str, pod: str, container: str, lines: int = 40) -> str:
                return self.lines if namespace == NAMESPACE else ""

        self.jobs = Watched(self.outcomes, lines=self.jobs.lines)

    @property
    def copy(self) -> Mapping[str, Any] | None:
        return self.objects.content.get(("Secret", NAMESPACE, drill_jobs.backup_secret_name(request())))

    def activities(self) -> DrillRestoreActivities:
        ports = DrillPorts(self.jobs, self.objects, FakeTenants(), FakeLogs(), SETTINGS, self.velero)
        return DrillRestoreActivities(ports, wait_seconds=0.01, now=lambda: self.now)

    async def restore(self, **more: Any) -> Done[Restored] | NotYet:
        return await self.activities().restore(request(**more))


async def test_a_restore_tells_its_recovery_point_and_when_it_was_by_the_jobs_own_record() -> None:
    found = await World([GOOD]).restore()
    assert isinstance(found, Done)
    assert found.value == Restored(
        recovery_point=1_763_816_741, started=10, finished=17, backup="sha256:1", message="42 tables"
    )


@pytest.mark.parametrize(
    ("said", "why"),
    [
        pytest.param({}, "", id="none"),
        pytest.param({"recoveryPoint": "soon"}, "is no RFC 3339 time: soon", id="no time"),
    ],
)
async def test_what_is_no_time_is_no_recovery_point(said: dict[str, str], why: str) -> None:
    found = await World([Succeeded(said, "42 tables", "pod")]).restore()
    assert isinstance(found, Done)
    assert found.value.recovery_point == 0
    assert why in found.value.message


async def test_a_recovery_point_that_nobody_heard_is_not_none_and_the_restore_is_carried_out_again() -> None:
    world = World([Succeeded(started=10, finished=17), GOOD])
    given = {"procedure": pinned(results=[ResultDeclaration(name="recoveryPoint")]), "secret": True}
    with pytest.raises(JobLostError, match="asked for recoveryPoint"):
        await world.restore(**given)
    assert world.copy is None
    found = await world.restore(**given, job_attempt=2)
    assert isinstance(found, Done)
    assert found.value.recovery_point == 1_763_816_741


async def test_a_restore_that_declares_no_results_needs_no_pod_in_the_end() -> None:
    found = await World([Succeeded(started=10, finished=17)]).restore()
    assert isinstance(found, Done)
    assert (found.value.recovery_point, found.value.finished) == (0, 17)


async def test_the_keys_are_in_the_drills_namespace_only_while_the_job_runs() -> None:
    world = World([Running(), GOOD])
    assert isinstance(await world.restore(secret=True), NotYet)
    assert world.copy is not None
    assert isinstance(await world.restore(secret=True), Done)
    assert world.copy is None
    assert world.lent == [True, True]


async def test_keys_that_a_worker_left_behind_go_with_the_next_look() -> None:
    world = World([GOOD])
    own = credentials.RunCredentials({KEY: "open-sesame"})
    world.objects.add(drill_jobs.backup_secret(request(), own))
    assert isinstance(await world.restore(secret=True), Done)
    assert world.copy is None


FAILED = Failed("it failed", 10, "pod", "step")


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        pytest.param(FAILED, StepFailedError, id="it failed"),
        pytest.param(TimedOut("pod", "step"), StepTimedOutError, id="it took too long"),
        pytest.param(Lost("evicted"), JobLostError, id="its pod was lost"),
    ],
)
async def test_the_keys_go_whatever_ends_the_job(outcome: Outcome, error: type[Exception]) -> None:
    world = World([outcome])
    with pytest.raises(error):
        await world.restore(secret=True)
    assert world.copy is None


async def test_the_keys_go_when_the_run_ends_in_the_middle_of_a_restore() -> None:
    world = World([GOOD])
    begun = asyncio.Event()

    async def forever(*_: Any, **__: Any) -> Outcome:
        begun.set()
        await asyncio.Event().wait()
        return GOOD

    world.jobs.run = forever  # type: ignore[method-assign]
    restoring = asyncio.create_task(world.restore(secret=True))
    await begun.wait()
    assert world.copy is not None
    restoring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await restoring
    assert world.copy is None


async def test_no_keys_are_lent_where_none_are_asked_for() -> None:
    world = World([GOOD])
    await world.restore()
    assert world.lent == [False]


async def test_keys_that_are_gone_end_the_restore() -> None:
    world = World([GOOD])
    world.objects.content.clear()
    with pytest.raises(SecretMissingError, match="is gone"):
        await world.restore(secret=True)


@pytest.mark.parametrize(
    ("failed", "kind"),
    [
        pytest.param(FAILED, FailureType.RESTORE_FAILED, id="by its exit code"),
        pytest.param(
            Failed("none", 10, "pod", "step", kind=FailureType.BACKUP_NOT_FOUND),
            FailureType.BACKUP_NOT_FOUND,
            id="as the container says",
        ),
        pytest.param(
            Failed("none", 10, "pod", "step", results={"failure": "BackupNotFound"}),
            FailureType.BACKUP_NOT_FOUND,
            id="or its result",
        ),
        pytest.param(
            Failed("none", 10, "pod", "step", results={"failure": "PolicyDenied"}),
            FailureType.RESTORE_FAILED,
            id="but not whatever it likes",
        ),
        pytest.param(Failed("ErrImagePull", None, "pod"), FailureType.STEP_FAILED, id="it could not even start"),
    ],
)
async def test_a_failure_is_told_for_what_it_is(failed: Failed, kind: FailureType) -> None:
    with pytest.raises(StepFailedError) as raised:
        await World([failed]).restore()
    assert raised.value.type == kind


async def test_neither_keys_nor_the_environments_passwords_are_in_what_is_told() -> None:
    world = World([FAILED])
    secret = {"password": base64.b64encode(b"hunter2-db").decode()}
    world.objects.add({"kind": "Secret", "metadata": {"name": "db", "namespace": NAMESPACE}, "data": secret})
    with pytest.raises(StepFailedError, match=r"wrong password \[redacted\] for \[redacted\]"):
        await world.restore(secret=True, environment_secret="db")


async def test_an_environment_secret_that_is_not_there_is_named_before_a_pod_waits_for_it() -> None:
    world = World([GOOD])
    with pytest.raises(SecretMissingError, match="the environmentSecret db is not in the drill's namespace"):
        await world.restore(environment_secret="db")
    assert not world.jobs.seen


async def test_a_live_namespace_is_refused_before_anything_is_made() -> None:
    world = World([GOOD])
    with pytest.raises(StepFailedError, match="is not the namespace of this drill"):
        await world.restore(namespace="acme-dev", secret=True)
    assert not world.jobs.seen
    assert not world.objects.of_run("acme-dev")


async def test_a_lost_restore_is_final_when_its_attempts_are_used_up() -> None:
    world = World([Lost("evicted")])
    with pytest.raises(StepFailedError, match="lost its pod 1 times"):
        await world.restore(procedure=pinned(retry=Retry(attempts=1)))


# Velero


def velero_request(**more: Any) -> VeleroRequest:
    fields = {
        "run": RUN,
        "tenant": TENANT,
        "step": "restore",
        "namespace": NAMESPACE,
        "velero": {"backup": "nightly", "includedNamespaces": ["acme-dev"]},
        "tenant_namespaces": ["acme-dev"],
        "since": 1_000,
        "timeout_seconds": 600,
    }
    return VeleroRequest.model_validate(fields | more)


def with_backup(**more: Any) -> World:
    world = World()
    fields = {"name": "nightly", "namespaces": ("acme-dev",), "phase": "Completed", "started": 700}
    world.velero.put(Backup(**(fields | more)), schedule="every-night")
    return world


async def test_velero_restores_a_backup_and_its_recovery_point_is_when_that_began() -> None:
    found = await with_backup().activities().restore_by_velero(velero_request())
    assert isinstance(found, Done)
    assert (found.value.recovery_point, found.value.backup) == (700, "nightly")
    assert (found.value.started, found.value.finished) == (1_000, 1_005)


async def test_velero_restores_the_newest_backup_of_a_schedule() -> None:
    world = with_backup()
    world.velero.put(Backup("later", ("acme-dev",), "Completed", 800), schedule="every-night")
    wanted = {"schedule": "every-night", "includedNamespaces": ["acme-dev"]}
    found = await world.activities().restore_by_velero(velero_request(velero=wanted))
    assert isinstance(found, Done)
    assert found.value.backup == "later"


async def test_a_backup_that_comes_meanwhile_changes_nothing_of_a_restore_that_goes_on() -> None:
    world = with_backup()
    world.velero.outcome = ""
    wanted = {"schedule": "every-night", "includedNamespaces": ["acme-dev"]}
    first = await world.activities().restore_by_velero(velero_request(velero=wanted))
    assert isinstance(first, NotYet)
    world.velero.put(Backup("later", ("acme-dev",), "Completed", 800), schedule="every-night")
    world.velero.outcome = "Completed"
    found = await world.activities().restore_by_velero(velero_request(velero=wanted, note=first.reason))
    assert isinstance(found, Done)
    assert found.value.backup == "nightly"


@pytest.mark.parametrize(
    ("backup", "kind"),
    [
        pytest.param({"name": "other"}, FailureType.BACKUP_NOT_FOUND, id="there is none"),
        pytest.param({"phase": "InProgress"}, FailureType.BACKUP_NOT_FOUND, id="it is not complete"),
        pytest.param({"namespaces": ("acme-dev", "rival")}, FailureType.BACKUP_FORBIDDEN, id="it holds another's"),
    ],
)
async def test_a_backup_that_may_not_be_restored_ends_it(backup: dict[str, Any], kind: FailureType) -> None:
    world = with_backup(**backup)
    with pytest.raises(StepFailedError) as raised:
        await world.activities().restore_by_velero(velero_request())
    assert raised.value.type == kind
    assert not world.velero.restores


async def test_a_restore_that_velero_failed_is_failed() -> None:
    world = with_backup()
    world.velero.outcome = "PartiallyFailed"
    with pytest.raises(StepFailedError, match="PartiallyFailed"):
        await world.activities().restore_by_velero(velero_request())


async def test_a_velero_that_does_nothing_is_given_up_when_its_time_is_up() -> None:
    world = with_backup()
    world.velero.outcome = ""
    found = await world.activities().restore_by_velero(velero_request())
    assert isinstance(found, NotYet)
    assert "does its server run?" in found.reason
    world.now = 1_600.0
    with pytest.raises(StepFailedError, match="took longer than 600 s"):
        await world.activities().restore_by_velero(velero_request(note=found.reason))


async def test_a_restore_that_somebody_deleted_is_not_made_anew() -> None:
    with pytest.raises(StepFailedError, match="is gone"):
        await with_backup().activities().restore_by_velero(velero_request(note="Velero's Restore is InProgress"))


async def test_restores_are_removed_and_waited_for() -> None:
    world = with_backup()
    await world.activities().restore_by_velero(velero_request())
    fields = {"run": RUN, "tenant": TENANT, "step": "teardown", "namespace": NAMESPACE}
    removal = RemoveVeleroRequest.model_validate(fields)
    first = await world.activities().remove_velero(removal)
    assert isinstance(first, NotYet)
    assert isinstance(await world.activities().remove_velero(removal), Done)
    assert not world.velero.restores


def test_a_restores_request_says_where_it_runs() -> None:
    assert isinstance(request(), RestoreRequest)
    assert request().job_namespace == NAMESPACE
