"""The closed record that undoing works from: written with an intent, carried on, bounded, and given to the undo."""

from __future__ import annotations

from typing import Any

import pytest

from bascule_api.conditions import CompensationState, Phase
from bascule_api.image_builds import ImageBuildResult, ImageBuildStatus, Publication, PublishedStatus, PublishedTag
from bascule_api.runs import CompensationStatus, RunStatus
from bascule_operator.decisions import effects, life
from bascule_operator.decisions.grounds import tenant_facts
from bascule_operator.decisions.moves import Project, StartUndo
from bascule_operator.decisions.views import RunView
from bascule_operator.decisions.wire import STATUS_LIMIT, wire
from tests.support.subjects import (
    ABSENT,
    REPOSITORY,
    ABuild,
    a_closed,
    a_closed_undo,
    build,
    digest,
    observed,
    procedure,
    publication,
    tenant,
)

PROCEDURES = {"buildah": procedure("buildah", "ImageBuild/build")}


def stands(*bodies: dict[str, Any]) -> list[Publication]:
    return [Publication.model_validate(body) for body in bodies]


def success(new: str = "a", previous: str = "", *, kept: bool = False) -> RunView:
    tag = PublishedTag(name="v1", digest=digest(new), previous_digest=digest(previous) if previous else None)
    result = ImageBuildResult(
        phase=Phase.SUCCEEDED, progress_number=9,
        compensation=CompensationStatus(state=CompensationState.NOTHING_TO_DO),
        published=PublishedStatus(repository=REPOSITORY, tags=[tag]), kept=kept,
    )  # fmt: skip
    return a_closed(result=result)


def recorded(made: ABuild, view: RunView | None = None) -> ImageBuildStatus:
    """The status that the next decision writes, with its record."""
    decision = life.decide(observed(made, view))
    assert isinstance(decision, Project), decision
    status: RunStatus = decision.status
    assert isinstance(status, ImageBuildStatus)
    return effects.recorded(made.subject, status, view or RunView(), PROCEDURES)


def test_it_is_written_with_the_intent_of_a_run() -> None:
    private = build().with_spec(
        publish={"repository": REPOSITORY, "tags": ["v1", "latest"], "secretRef": {"name": "registry"}}
    )
    record = recorded(private).effects
    assert record is not None
    assert (record.repository, record.candidates) == (REPOSITORY, f"{REPOSITORY}-candidates")
    assert (record.tags, record.secret, record.standing) == (["v1", "latest"], "registry", [])


def test_it_follows_the_spec_until_the_run_is_started() -> None:
    record = recorded(build().intended().edited(), ABSENT).effects
    assert record is not None
    assert record.repository == "registry.example.com/acme/other"


def test_it_does_not_follow_the_spec_once_the_run_is_started() -> None:
    record = recorded(build().running().standing().edited(), a_closed(Phase.CANCELLED)).effects
    assert record is not None
    # That write ends the run and intends the next, whose record it is; what stands is carried on.
    assert record.repository == "registry.example.com/acme/other"
    record = recorded(build().running().standing().scheduled().edited(), a_closed(Phase.CANCELLED)).effects
    assert record is not None
    assert record.repository == REPOSITORY


def test_a_success_is_put_in() -> None:
    running = build().running().standing(standing=[], secret="registry")
    record = recorded(running, success(previous="0", kept=True)).effects
    assert record is not None
    assert record.standing == stands(publication(1, "a", "0", secret="registry", kept=True))


def test_a_run_that_did_not_succeed_leaves_what_stood() -> None:
    record = recorded(build().running(2).standing(publication(1)), a_closed(Phase.FAILED)).effects
    assert record is not None
    assert record.standing == stands(publication(1))


def test_the_same_end_told_twice_counts_once() -> None:
    before = stands(publication(2, "b", "0"), publication(1, "a", tags=[]))
    assert effects.put_in(before, before[0].model_copy(update={"tags": []})) == before


STANDING = [
    pytest.param([], publication(1, "a", "0"), [publication(1, "a", "0")], id="the first"),
    pytest.param(
        [publication(1, "a", "0")],
        publication(2, "b", "a"),
        [publication(2, "b", "0"), publication(1, "a", tags=[])],
        id="a second goes back to what was before the first",
    ),
    pytest.param(
        [publication(1, "a")],
        publication(2, "b", "a"),
        [publication(2, "b"), publication(1, "a", tags=[])],
        id="... also where nothing was before",
    ),
    pytest.param(
        [publication(1, "a", "0")],
        publication(2, "b", "c"),
        [publication(2, "b", "c"), publication(1, "a", tags=[])],
        id="a tag that somebody else moved in between goes back to theirs",
    ),
    pytest.param(
        [publication(1, "a", "0")],
        publication(2, "b", "0", repository="registry.example.com/acme/other"),
        [publication(2, "b", "0", repository="registry.example.com/acme/other"), publication(1, "a", "0")],
        id="another repository leaves the first as it is",
    ),
    pytest.param(
        [publication(1, "a", "0")],
        publication(2, "a", "a"),
        [publication(2, "a", "0")],
        id="the same digest again is one publication",
    ),
]


@pytest.mark.parametrize(("before", "new", "expected"), STANDING)
def test_what_stands(before: list[dict[str, Any]], new: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    [made] = stands(new)
    assert effects.put_in(stands(*before), made) == stands(*expected)


def test_it_is_bounded_and_forgets_what_was_overtaken_first() -> None:
    standing: list[Publication] = []
    for run, letter in enumerate("abcdef", start=1):
        [made] = stands(publication(run, letter, repository=f"r.example.com/{'x' if run < 3 else letter}"))
        standing = effects.put_in(standing, made)
    assert [known.run for known in standing] == [6, 5, 4, 3]
    assert all(known.tags for known in standing)


def test_a_status_with_a_full_record_stays_under_its_limit() -> None:
    moved = {"digest": digest("a"), "previousDigest": digest("b")}
    tags = [{"name": f"{'t' * 100}-{index}"} | moved for index in range(16)]
    full = [publication(run, "abcd"[run], repository=f"r.example.com/{run}", tags=tags) for run in range(4)]
    full = [item | {"run": item["run"] + 1} for item in full]
    steps = [{"name": f"test-{index}", "state": "Failed", "message": "x" * 4096} for index in range(64)]
    status = build().finished().standing(*full).saying(steps=steps).subject.status
    assert len(str(wire(status)).encode()) <= STATUS_LIMIT


def test_an_undo_of_everything_leaves_nothing_standing() -> None:
    published = {"repository": REPOSITORY, "tags": [{"name": "v1", "digest": digest("a")}]}
    gone = build().compensating("Always").deleting().finished().standing().undoing(scope="All")
    status = recorded(gone.saying(published=published), a_closed_undo())
    assert status.effects is not None
    assert (status.effects.standing, status.published, status.stands) == ([], None, False)


def test_an_undo_of_one_run_leaves_the_others_standing() -> None:
    record = recorded(build().finished(Phase.FAILED).standing().undoing(), a_closed_undo()).effects
    assert record is not None
    assert record.standing == stands(publication())


def test_an_undo_that_failed_leaves_all_of_it_on_record() -> None:
    gone = build().compensating("Always").deleting().finished().standing().undoing(scope="All")
    record = recorded(gone, a_closed_undo(CompensationState.FAILED)).effects
    assert record is not None
    assert record.standing == stands(publication())


def test_a_last_release_takes_the_kept_logins_off_the_record_and_the_resource_goes() -> None:
    gone = build().deleting().finished().standing(publication(kept=True)).undoing(scope="Releases")
    status = recorded(gone, a_closed_undo())
    assert status.effects is not None
    assert status.effects.standing == stands(publication())
    after = life.decide(observed(gone.subject.with_status(status)))
    assert type(after).__name__ == "ReleaseFinalizer"


def start_of(made: ABuild) -> StartUndo:
    decision = life.decide(observed(made, ABSENT))
    assert isinstance(decision, StartUndo)
    return decision


SCOPES = [
    pytest.param(build().finished(Phase.FAILED).standing().undoing(scope="Run"), True, 0, id="of a run: its own"),
    pytest.param(build().finished().standing().undoing(scope="Releases"), False, 0, id="releases only"),
    pytest.param(build().deleting().finished().standing().undoing(scope="All"), True, 1, id="all that stands"),
]


@pytest.mark.parametrize(("made", "undo", "standing"), SCOPES)
def test_the_undo_is_told_what_to_take_back(made: ABuild, undo: bool, standing: int) -> None:
    message = effects.undo_input(made.subject, start_of(made), tenant_facts("acme", tenant()), PROCEDURES)
    assert (message.undo, len(message.effects.standing)) == (undo, standing)
    assert message.final is made.subject.deleting


def test_the_undo_goes_on_under_a_tenant_that_is_gone() -> None:
    made = build().finished(Phase.FAILED).standing().undoing()
    message = effects.undo_input(made.subject, start_of(made), tenant_facts("acme", None), PROCEDURES)
    assert (message.tenant.steps_namespace, message.tenant.service_account) == ("bascule-steps-acme", "bascule-step")


def test_the_spec_tells_what_was_not_recorded() -> None:
    made = build().finished(Phase.FAILED).undoing()
    message = effects.undo_input(made.subject, start_of(made), tenant_facts("acme", tenant()), PROCEDURES)
    assert message.effects.repository == REPOSITORY
    assert message.attempt == 1


def test_what_was_published_before_there_were_records_is_known_from_that() -> None:
    published = {"repository": REPOSITORY, "tags": [{"name": "v1", "digest": digest("a")}]}
    gone = build().compensating("Always").deleting().finished().saying(published=published)
    record = recorded(gone).effects
    assert record is not None
    assert record.standing == stands(publication(1, "a"))
