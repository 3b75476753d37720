"""What builds make outside of a registry: on record with the run, and given to the undo with what deletes it."""

from __future__ import annotations

from typing import Any

import pytest

from bascule_api.conditions import CompensationState, Phase
from bascule_api.image_builds import (
    BuildArtifact,
    Elsewhere,
    ImageBuildResult,
    ImageBuildStatus,
    ImageBuildUndoInput,
    ImageStatus,
)
from bascule_api.procedures import Procedure
from bascule_api.runs import CompensationStatus
from bascule_operator.decisions import effects, elsewhere, life
from bascule_operator.decisions.grounds import tenant_facts
from bascule_operator.decisions.moves import Project, StartUndo
from bascule_operator.decisions.views import RunView
from tests.support.subjects import (
    ABSENT,
    ABuild,
    a_closed,
    a_closed_undo,
    an_open,
    build,
    digest,
    observed,
    procedure,
    progress,
    tenant,
)

DELETES = procedure("delete-images", "ImageBuild/undo", parameters=[{"name": "artifacts", "type": "array"}])
PACKER = procedure("buildah", "ImageBuild/build", undo="delete-images")
PLAIN = procedure("buildah", "ImageBuild/build")
KNOWN = {"buildah": PACKER, "delete-images": DELETES}
AMI = BuildArtifact(builder="mitchellh.amazonebs", id="eu-west-1:ami-1")
MADE = {"run": 1, "procedure": "delete-images", "artifacts": [AMI.to_wire()]}
FAILED = build().finished(Phase.FAILED)
IMAGE = {"digest": digest("a"), "artifacts": [AMI.to_wire()]}


def recorded(made: ABuild, view: RunView | None, procedures: dict[str, Procedure]) -> list[Elsewhere]:
    decision = life.decide(observed(made, view))
    assert isinstance(decision, Project), decision
    assert isinstance(decision.status, ImageBuildStatus)
    record = effects.recorded(made.subject, decision.status, view or RunView(), procedures).effects
    assert record is not None
    return record.elsewhere


def success(*artifacts: BuildArtifact) -> RunView:
    result = ImageBuildResult(
        phase=Phase.SUCCEEDED, progress_number=9,
        compensation=CompensationStatus(state=CompensationState.NOTHING_TO_DO),
        image=ImageStatus(digest=digest("a"), artifacts=list(artifacts)),
    )  # fmt: skip
    return a_closed(result=result)


@pytest.mark.parametrize(
    ("known", "named"),
    [pytest.param(KNOWN, "delete-images", id="one that names it"), pytest.param({"buildah": PLAIN}, "", id="none")],
)
def test_the_intent_of_a_run_names_what_deletes(known: dict[str, Procedure], named: str) -> None:
    decision = life.decide(observed(build()))
    assert isinstance(decision, Project)
    assert isinstance(decision.status, ImageBuildStatus)
    record = effects.recorded(build().subject, decision.status, RunView(), known).effects
    assert record is not None
    assert record.undo_procedure == named


RECORDS = [
    pytest.param("delete-images", (AMI,), [Elsewhere(run=1, procedure="delete-images", artifacts=[AMI])], id="told"),
    pytest.param("delete-images", (), [Elsewhere(run=1, procedure="delete-images")], id="not told: by the run's name"),
    pytest.param("", (AMI,), [Elsewhere(run=1, artifacts=[AMI])], id="told, and nothing deletes it"),
    pytest.param("", (), [], id="nothing at all"),
]


@pytest.mark.parametrize(("undo", "artifacts", "expected"), RECORDS)
def test_a_success_is_put_in(undo: str, artifacts: tuple[BuildArtifact, ...], expected: list[Elsewhere]) -> None:
    assert recorded(build().running().standing(undoProcedure=undo), success(*artifacts), KNOWN) == expected


def test_it_is_bounded_in_runs_and_in_bytes() -> None:
    large = [BuildArtifact(builder="b", id=f"{index}-{'x' * 900}") for index in range(3)]
    record = build().running().standing(undoProcedure="delete-images").subject.status
    assert isinstance(record, ImageBuildStatus)
    assert record.effects is not None
    told = record.effects
    for number in range(1, 7):
        result = ImageBuildResult(
            phase=Phase.SUCCEEDED, progress_number=1, compensation=CompensationStatus(state="NothingToDo"),
            image=ImageStatus(digest=digest("a"), artifacts=large),
        )  # fmt: skip
        told = elsewhere.with_success(told, number, result)
    assert [(item.run, len(item.artifacts)) for item in told.elsewhere] == [(6, 3), (5, 0), (4, 0), (3, 0)]


def test_an_undo_of_everything_takes_it_off_the_record_and_the_intent_of_another_run_does_not() -> None:
    gone = build().compensating("Always").deleting().finished().standing(elsewhere=[MADE])
    assert recorded(gone.undoing(scope="All"), a_closed_undo(), KNOWN) == []
    again = build().finished().standing(elsewhere=[MADE]).edited()
    assert recorded(again, None, KNOWN) == [Elsewhere.model_validate(MADE)]


@pytest.mark.parametrize(
    ("scope", "state", "left"),
    [
        pytest.param("Run", CompensationState.SUCCEEDED, [], id="once it is undone"),
        pytest.param("Run", CompensationState.FAILED, [AMI], id="not where undoing failed"),
        pytest.param("Releases", CompensationState.SUCCEEDED, [AMI], id="nor after releases only"),
    ],
)
def test_the_image_tells_of_no_artifacts_any_more(scope: str, state: CompensationState, left: list[Any]) -> None:
    made = FAILED.standing(undoProcedure="delete-images").saying(image=IMAGE).undoing(scope=scope)
    decision = life.decide(observed(made, a_closed_undo(state)))
    assert isinstance(decision, Project)
    assert isinstance(decision.status, ImageBuildStatus)
    image = effects.recorded(made.subject, decision.status, a_closed_undo(state), KNOWN).image
    assert image is not None
    assert image.artifacts == left


def broken(*reported: BuildArtifact) -> RunView:
    """A build that failed, told what it had made, and could not take it back."""
    result = ImageBuildResult(
        phase=Phase.FAILED, progress_number=9, reported=list(reported),
        compensation=CompensationStatus(state=CompensationState.FAILED),
    )  # fmt: skip
    return a_closed(result=result)


@pytest.mark.parametrize(
    ("made", "view", "left"),
    [
        pytest.param(build().running().standing(), broken(AMI), [AMI], id="of its result"),
        pytest.param(build().running().standing(reported=[AMI.to_wire()]), broken(), [], id="... also that it is gone"),
        pytest.param(
            build().running().standing(),
            an_open(progress=progress(4, facts={"reported": [AMI.to_wire()]})),
            [AMI],
            id="of its progress, in case it never tells a result",
        ),
        pytest.param(
            build().running().standing(), an_open(progress=progress(4, facts={"reported": 7})), [], id="not of nonsense"
        ),
        pytest.param(
            build().running().standing(reported=[AMI.to_wire()]),
            a_closed(result=None),
            [AMI],
            id="lost: what was known stays known",
        ),
        pytest.param(
            FAILED.standing(reported=[AMI.to_wire()]).undoing(scope="Run"), a_closed_undo(), [], id="not once undone"
        ),
        pytest.param(
            FAILED.standing(reported=[AMI.to_wire()]).undoing(scope="Run"),
            a_closed_undo(CompensationState.FAILED),
            [AMI],
            id="where undoing failed, it is asked for again",
        ),
        pytest.param(
            FAILED.standing(reported=[AMI.to_wire()]).edited(), None, [], id="the intent of another run begins anew"
        ),
    ],
)
def test_what_a_failed_build_reported_is_on_record(
    made: ABuild, view: RunView | None, left: list[BuildArtifact]
) -> None:
    decision = life.decide(observed(made, view))
    assert isinstance(decision, Project), decision
    assert isinstance(decision.status, ImageBuildStatus)
    record = effects.recorded(made.subject, decision.status, view or RunView(), KNOWN).effects
    assert record is not None
    assert record.reported == left


def asked(made: ABuild, procedures: dict[str, Procedure]) -> ImageBuildUndoInput:
    decision = life.decide(observed(made, ABSENT))
    assert isinstance(decision, StartUndo)
    return effects.undo_input(made.subject, decision, tenant_facts("acme", tenant()), procedures)


LATER: Any = {"run": 2, "procedure": "delete-images"}
UNDOS = [
    pytest.param(
        FAILED.standing(undoProcedure="delete-images").undoing(), [(1, 0)], id="a run that told nothing: by its name"
    ),
    pytest.param(
        FAILED.standing(undoProcedure="delete-images").saying(image=IMAGE).undoing(),
        [(1, 1)],
        id="... with what it told",
    ),
    pytest.param(
        FAILED.standing(undoProcedure="delete-images", reported=[AMI.to_wire()]).undoing(),
        [(1, 1)],
        id="... with what the build told that failed",
    ),
    pytest.param(
        build().finished(Phase.FAILED, number=2).standing(undoProcedure="delete-images", elsewhere=[MADE]).undoing(),
        [(2, 0)],
        id="while the resource lives on, what earlier runs made stays",
    ),
    pytest.param(
        build().deleting().finished().standing(undoProcedure="delete-images", elsewhere=[MADE]).undoing(scope="All"),
        [(1, 1)],
        id="of all: what finished runs made, each once",
    ),
    pytest.param(
        build()
        .deleting()
        .finished(Phase.FAILED, number=2)
        .standing(undoProcedure="delete-images", elsewhere=[MADE])
        .undoing(scope="All"),
        [(2, 0), (1, 1)],
        id="... and what the last run made that failed",
    ),
    pytest.param(
        build()
        .deleting()
        .finished()
        .standing(undoProcedure="delete-images", elsewhere=[MADE])
        .undoing(scope="Releases"),
        [],
        id="releases only: nothing",
    ),
    pytest.param(FAILED.undoing(), [(1, 0)], id="without a record: what the build's Procedure names now"),
]


@pytest.mark.parametrize(("made", "expected"), UNDOS)
def test_an_undo_is_given_what_to_delete_and_the_procedure_for_it(
    made: ABuild, expected: list[tuple[int, int]]
) -> None:
    message = asked(made, KNOWN)
    assert [(item.run, len(item.artifacts)) for item in message.effects.elsewhere] == expected
    assert list(message.procedures) == (["delete-images"] if expected else [])
    assert message.unpinned == {}


@pytest.mark.parametrize(
    ("procedures", "why"),
    [
        pytest.param({"buildah": PACKER}, "there is no Procedure delete-images", id="missing"),
        pytest.param(
            {"buildah": PACKER, "delete-images": procedure("delete-images", "ImageBuild/test")},
            "needs the use ImageBuild/undo",
            id="not for it",
        ),
    ],
)
def test_a_procedure_that_cannot_be_used_is_told_and_never_skipped(procedures: dict[str, Procedure], why: str) -> None:
    message = asked(FAILED.standing(undoProcedure="delete-images").undoing(), procedures)
    assert [item.procedure for item in message.effects.elsewhere] == ["delete-images"]
    assert message.procedures == {}
    assert why in message.unpinned["delete-images"]


def test_what_nothing_deletes_is_given_as_well() -> None:
    message = asked(FAILED.standing().saying(image=IMAGE).undoing(), {"buildah": PLAIN})
    assert message.effects.elsewhere == [Elsewhere(run=1, artifacts=[AMI])]
    # Whoever reads that adds a Procedure and asks again.
    again = asked(FAILED.standing().saying(image=IMAGE).undoing(2), KNOWN)
    assert [item.procedure for item in again.effects.elsewhere] == ["delete-images"]


def test_what_another_spec_names_does_not_delete_what_the_run_made() -> None:
    message = asked(FAILED.standing().saying(image=IMAGE).edited().undoing(), KNOWN)
    assert message.effects.elsewhere == [Elsewhere(run=1, artifacts=[AMI])]
