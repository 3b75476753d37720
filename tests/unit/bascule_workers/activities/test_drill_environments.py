"""A drill's environment bears that its worker dies before and after every call, twice."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from bascule_api.dr_drill_specs import Manifests
from bascule_api.image_builds import GitSource
from bascule_workers.activities import drill_environments as module
from bascule_workers.activities.drill_environments import DrillEnvironmentActivities, DrillEnvironmentPorts
from bascule_workers.errors import (
    DrillNamespaceTakenError,
    EnvironmentFailedError,
    JobLostError,
    ManifestsRefusedError,
    SourceNotFoundError,
)
from bascule_workers.messages import Done, NotYet
from bascule_workers.plans.drill_plans import FileLimits
from bascule_workers.plans.drill_spaces import SpaceSettings
from bascule_workers.plans.outcomes import Running, Succeeded
from tests.support.drill_environments import ADrill
from tests.support.drill_manifests import Json, config_map, deployment, files, job, service
from tests.support.fake_drills import FakeDrillSpaces
from tests.support.fake_world import World

pytestmark = pytest.mark.usefixtures("quick")
DRILL = ADrill("acme", "acme-dev", "3f1c5a8e-0000-4000-8000-000000000001")
COMMIT = "c" * 40


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_SECONDS", "LONG_LOOK_SECONDS", "GONE_SECONDS", "GONE_POLL_SECONDS", "LONG_POLL_SECONDS"):
        monkeypatch.setattr(module, name, 0.01)


class DiedError(Exception):
    """The worker is gone at this line."""


@dataclass
class Mortal:
    """A port whose calls are lines at which a worker dies, once before and once after the effect."""

    port: Any
    calls: list[str]
    deaths: set[tuple[int, str]] = field(default_factory=set)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.port, name)

        async def called(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            number = len(self.calls)
            self._perhaps(number, "before")
            answer = await method(*arguments, **named)
            self._perhaps(number, "after")
            return answer

        return called

    def _perhaps(self, number: int, when: str) -> None:
        if (number, when) in self.deaths:
            raise DiedError


@dataclass
class FakeGitFiles:
    content: dict[str, bytes] = field(default_factory=lambda: files(config_map()))

    async def resolve(self, url: str, revision: str, credentials: Mapping[str, str]) -> str:
        if revision != "main":
            raise SourceNotFoundError(f"there is no branch or tag {revision}")
        return COMMIT

    async def files(
        self, url: str, commit: str, path: str, credentials: Mapping[str, str], limits: FileLimits
    ) -> dict[str, bytes]:
        return self.content


@dataclass
class Ground:
    """A world in memory with the tenant's manifests in it."""

    world: World = field(default_factory=World)
    spaces: FakeDrillSpaces = field(default_factory=FakeDrillSpaces)
    git: FakeGitFiles = field(default_factory=FakeGitFiles)
    calls: list[str] = field(default_factory=list)

    def manifests(self, *documents: Json) -> None:
        data = {name: content.decode() for name, content in files(*documents).items()}
        metadata = {"name": "environment", "namespace": "acme-dev"}
        self.world.objects.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    def activities(self, deaths: set[tuple[int, str]] | None = None) -> DrillEnvironmentActivities:
        ports = self.world.ports()
        return DrillEnvironmentActivities(
            DrillEnvironmentPorts(
                spaces=Mortal(self.spaces, self.calls, deaths or set()),  # type: ignore[arg-type]
                objects=Mortal(ports.objects, self.calls, deaths or set()),  # type: ignore[arg-type]
                git=self.git,
                settings=SpaceSettings("bascule-system"),
                steps=ports.steps,
                tenants=ports.tenants,
                logs=ports.logs,
                job_settings=ports.job_settings,
            )
        )


@pytest.fixture
def ground() -> Ground:
    made = Ground()
    made.manifests(config_map(), service())
    return made


async def until_done(activity: Any, request: Any) -> Any:
    """As the workflow asks: again after a death, with what the last NotYet said."""
    for _ in range(50):
        try:
            answer = await activity(request)
        except DiedError:
            continue
        if isinstance(answer, Done):
            return answer.value
        request = request.model_copy(update={"note": answer.reason, "cursor": answer.cursor})
    raise AssertionError("never done")


async def lived(ground: Ground, deaths: set[tuple[int, str]]) -> tuple[Any, ...]:
    """All parts of an environment's life, and what they said."""
    activities = ground.activities(deaths)
    plan = await until_done(activities.plan, DRILL.plan())
    made = await until_done(activities.provision, DRILL.provision())
    applied = await until_done(activities.apply, DRILL.apply(int(time.time())))
    torn = await until_done(activities.teardown, DRILL.teardown())
    return plan, made, applied, torn.searched, torn.items


async def test_it_comes_to_the_same_wherever_the_worker_dies(ground: Ground) -> None:
    whole = await lived(ground, set())
    lines = len(ground.calls)
    assert lines > 10
    for number in range(1, lines + 1):
        for when in ("before", "after"):
            other = Ground()
            other.manifests(config_map(), service())
            # The second death is where the repetition comes to.
            said = await lived(other, {(number, when), (number + 1, when)})
            # Who dies between the deletion and telling of it has counted before, and says so.
            assert said == whole, f"died {when} call {number}, {ground.calls[number - 1]}"
            assert other.spaces.spaces == {}


async def test_what_was_planned_is_kept_when_the_tenant_changes_it(ground: Ground) -> None:
    activities = ground.activities()
    plan = await until_done(activities.plan, DRILL.plan())
    ground.manifests(deployment())
    assert await until_done(activities.plan, DRILL.plan()) == plan


async def test_a_commit_is_planned_by_its_id(ground: Ground) -> None:
    source = Manifests(git=GitSource(url="https://git.example.com/acme/dr", revision="main", path="env"))
    request = DRILL.plan().model_copy(update={"manifests": source})
    plan = await until_done(ground.activities().plan, request)
    assert (plan.revision, plan.before) == (COMMIT, 1)


async def test_without_manifests_there_is_nothing_to_apply(ground: Ground) -> None:
    request = DRILL.plan().model_copy(update={"manifests": None})
    plan = await until_done(ground.activities().plan, request)
    assert (plan.before, plan.after) == (0, 0)
    await until_done(ground.activities().provision, DRILL.provision())
    assert (await until_done(ground.activities().apply, DRILL.apply(int(time.time())))).objects == 0


async def test_a_config_map_that_is_not_there_and_manifests_that_reach_out_are_refused(ground: Ground) -> None:
    with pytest.raises(SourceNotFoundError, match="acme-dev/other"):
        await ground.activities().plan(DRILL.plan("other"))
    ground.manifests(service(type="NodePort"))
    with pytest.raises(ManifestsRefusedError, match=r"spec\.type"):
        await ground.activities().plan(DRILL.plan())
    assert ground.spaces.spaces == {}


async def prepared(ground: Ground, *documents: Json) -> DrillEnvironmentActivities:
    ground.manifests(*documents)
    activities = ground.activities()
    await until_done(activities.plan, DRILL.plan())
    await until_done(activities.provision, DRILL.provision())
    return activities


async def test_what_is_not_ready_is_told_and_applied_once(ground: Ground) -> None:
    activities = await prepared(ground, job())
    waiting = await activities.apply(DRILL.apply(int(time.time())))
    assert isinstance(waiting, NotYet)
    assert waiting.reason == "Job/load: not complete yet"
    ground.calls.clear()
    request = DRILL.apply(int(time.time())).model_copy(update={"cursor": waiting.cursor})
    await activities.apply(request)
    assert "apply" not in ground.calls


async def test_what_is_not_ready_in_time_or_failed_ends_it(ground: Ground) -> None:
    activities = await prepared(ground, job())
    with pytest.raises(EnvironmentFailedError, match="not ready within 60 s: Job/load"):
        await activities.apply(DRILL.apply(int(time.time()) - 61, seconds=60))
    failed = {"conditions": [{"type": "Failed", "status": "True", "message": "no luck"}]}
    ground.spaces.status(DRILL.space, "Job", "load", failed)
    with pytest.raises(EnvironmentFailedError, match="Job/load: no luck"):
        await activities.apply(DRILL.apply(int(time.time())))


async def test_a_copy_that_is_gone_ends_it(ground: Ground) -> None:
    with pytest.raises(EnvironmentFailedError, match="copy of the manifests is gone"):
        await ground.activities().apply(DRILL.apply(0))


async def test_a_namespace_of_somebody_else_is_left_as_it_is(ground: Ground) -> None:
    ground.spaces.foreign(DRILL.space, team="other")
    with pytest.raises(DrillNamespaceTakenError):
        await ground.activities().provision(DRILL.provision())
    assert (await until_done(ground.activities().teardown, DRILL.teardown())).found == 0
    assert DRILL.space in ground.spaces.spaces


async def test_a_namespace_that_is_held_is_told_until_somebody_lets_it_go(ground: Ground) -> None:
    activities = await prepared(ground, config_map())
    await until_done(activities.apply, DRILL.apply(int(time.time())))
    ground.spaces.hold(DRILL.space, "ConfigMap", "settings", "example.com/hold")
    counted = await activities.teardown(DRILL.teardown())
    assert isinstance(counted, NotYet)
    request = DRILL.teardown().model_copy(update={"cursor": counted.cursor})
    held = await activities.teardown(request)
    assert isinstance(held, NotYet)
    assert "ConfigMap/settings: example.com/hold" in held.reason
    ground.spaces.let_go(DRILL.space)
    torn = await until_done(activities.teardown, request.model_copy(update={"cursor": held.cursor}))
    assert {item.kind: (item.before, item.after) for item in torn.searched}["ConfigMap"] == (1, 0)


async def test_a_namespace_that_goes_is_looked_at_often_at_first(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    activities = await prepared(ground, config_map())
    await until_done(activities.apply, DRILL.apply(int(time.time())))
    ground.spaces.hold(DRILL.space, "ConfigMap", "settings", "example.com/hold")
    pauses = {"GONE_SECONDS": 0.3, "GONE_POLL_SECONDS": 0.0, "LONG_POLL_SECONDS": 0.4}
    for name, seconds in pauses.items():
        monkeypatch.setattr(module, name, seconds)
    counted = await activities.teardown(DRILL.teardown())
    assert isinstance(counted, NotYet)
    assert counted.again_after == 0, "nothing but a count: the deletion follows at once"
    request, looks = DRILL.teardown(), []
    for _ in range(2):
        request = request.model_copy(update={"cursor": counted.cursor})
        ground.calls.clear()
        counted = await activities.teardown(request)
        assert isinstance(counted, NotYet)
        looks.append(ground.calls.count("delete"))
    assert looks[0] > 3
    assert looks[1] == 2


# Isolation


def script(ground: Ground, *outcomes: Any) -> None:
    ground.world.steps.script["isolate"] = list(outcomes)


def saw(reached: str) -> Succeeded:
    return Succeeded({"reached": reached}, "m", "pod", finished=12)


async def test_isolation_is_what_both_canaries_say(ground: Ground) -> None:
    script(ground, saw("true"), saw("false"))
    report = await until_done(ground.activities().isolated, DRILL.isolated())
    assert (report.enforced, report.at) == (True, 12)
    script(other := Ground(), saw("true"), saw("true"))
    assert not (await until_done(other.activities().isolated, DRILL.isolated())).enforced


async def test_canaries_that_go_on_are_waited_for(ground: Ground) -> None:
    script(ground, Running("no node takes the pod"), saw("false"))
    waiting = await ground.activities().isolated(DRILL.isolated())
    assert isinstance(waiting, NotYet)
    assert waiting.reason == "no node takes the pod"


async def test_a_canary_that_said_nothing_is_asked_anew(ground: Ground) -> None:
    script(ground, Succeeded(), saw("false"))
    with pytest.raises(JobLostError):
        await ground.activities().isolated(DRILL.isolated())
