"""Counterweights come in reverse order; releases whatever the outcome, undos after a failure only."""

from __future__ import annotations

from bascule_workers.activities.runs import RunActivities
from bascule_workers.messages import StepRequest, StopJobsRequest
from bascule_workers.plans import image_builds
from bascule_workers.workflows.saga import Saga
from tests.support.runs import image_build

BUILD = image_build()
REQUEST = StepRequest(**image_builds.common(BUILD, "build"))


def saga() -> Saga:
    made = Saga()
    made.release("credentials", RunActivities.release, REQUEST)
    made.release("candidate", RunActivities.release, REQUEST)
    made.undo("tags", RunActivities.release, REQUEST)
    return made


def names(of: Saga, *, succeeded: bool) -> list[str]:
    return [entry.name for entry in of.due(succeeded=succeeded)]


def test_after_a_failure_everything_is_taken_back_last_first() -> None:
    assert names(saga(), succeeded=False) == ["tags", "candidate", "credentials"]


def test_after_a_success_only_releases_run() -> None:
    assert names(saga(), succeeded=True) == ["candidate", "credentials"]


def test_registering_again_replaces_the_request_and_keeps_the_place() -> None:
    again = saga()
    again.release("candidate", RunActivities.release, REQUEST.model_copy(update={"step": "other"}))
    assert names(again, succeeded=False) == ["tags", "candidate", "credentials"]
    assert [entry.request.step for entry in again.due(succeeded=False)] == ["build", "other", "build"]


def test_amending_changes_the_request_and_only_of_what_is_registered() -> None:
    made = Saga()
    made.undo("jobs", RunActivities.stop_jobs, StopJobsRequest(**image_builds.common(BUILD, "build")))
    made.amend("jobs", finished_too=True)
    made.amend("unknown", finished_too=True)
    [entry] = made.due(succeeded=False)
    assert isinstance(entry.request, StopJobsRequest)
    assert entry.request.finished_too
