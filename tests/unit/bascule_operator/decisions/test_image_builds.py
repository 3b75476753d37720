"""Published tags, who moved them, and what the status says of the image."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from bascule_api.conditions import ConditionType, Phase
from bascule_api.image_builds import (
    ImageBuildResult,
    ImageBuildStatus,
    ImageStatus,
    PublishedStatus,
    PublishedTag,
    SourceStatus,
)
from bascule_api.runs import CompensationStatus
from bascule_operator.decisions.conditions import find
from bascule_operator.decisions.image_builds import complete
from bascule_operator.decisions.tags import MovedTag, Published
from bascule_operator.decisions.undoing import finished
from bascule_operator.decisions.views import RunView
from tests.support.subjects import NOW, a_closed, build

REPOSITORY = "registry.example.com/acme/web"
OURS, THEIRS, BEFORE = ("sha256:" + letter * 64 for letter in "abc")


def published(digest: str = OURS, previous: str | None = None, **changes: Any) -> PublishedStatus:
    tag = PublishedTag.model_validate({"name": "v1", "digest": digest, "previousDigest": previous} | changes)
    return PublishedStatus(repository=REPOSITORY, tags=[tag])


def result(phase: Phase = Phase.SUCCEEDED, **changes: Any) -> RunView:
    told = ImageBuildResult(
        phase=phase,
        progress_number=9,
        compensation=CompensationStatus.model_validate({"state": "NothingToDo"}),
        source=SourceStatus(revision="c0ffee"),
        image=ImageStatus(digest=OURS, reference=f"{REPOSITORY}@{OURS}", signature=BEFORE),
        published=published(),
    )
    return a_closed(result=told.model_copy(update=changes))


def end(view: RunView, *others: Published, **status: Any) -> ImageBuildStatus:
    subject = build().running().saying(**status).subject
    old, new = subject.status, finished(subject, view, NOW)
    assert isinstance(old, ImageBuildStatus)
    assert isinstance(new, ImageBuildStatus)
    return complete(old, new, view, others, NOW)


def message(status: ImageBuildStatus, kind: ConditionType) -> tuple[str, str] | None:
    found = find(status.conditions, kind)
    return (found.status, found.message) if found else None


def rival(digest: str = THEIRS, previous: str | None = None, at: datetime = NOW) -> Published:
    return Published("acme-dev/other", at, REPOSITORY, (MovedTag("v1", digest, previous),))


def test_a_success_says_what_was_published_and_that_it_was_verified() -> None:
    told = end(result())
    assert message(told, ConditionType.READY) == ("True", f"published {REPOSITORY}@{OURS} as v1")
    assert message(told, ConditionType.PUBLISHED) == ("True", f"v1 of {REPOSITORY} points at {OURS}")
    assert find(told.conditions, ConditionType.VERIFIED) is not None
    assert told.source == SourceStatus(revision="c0ffee")


def test_a_tag_taken_over_is_said_with_where_it_was() -> None:
    told = end(result(published=published(previous=BEFORE)))
    assert message(told, ConditionType.READY) == (
        "True",
        f"published {REPOSITORY}@{OURS} as v1; moved v1 from {BEFORE}",
    )


def test_a_tag_that_another_build_moved_on_is_not_ours_any_more() -> None:
    told = end(result(), rival(previous=OURS))
    assert message(told, ConditionType.PUBLISHED) == ("False", f"v1 was moved to {THEIRS} by acme-dev/other")
    assert told.published is not None
    assert told.published.tags[0].superseded_by == "acme-dev/other"
    ready = find(told.conditions, ConditionType.READY)
    assert ready is not None
    assert ready.status == "True"


def test_of_two_builds_the_later_to_finish_has_the_tag() -> None:
    assert message(end(result(), rival(at=NOW)), ConditionType.PUBLISHED) is not None
    later = end(result(), rival(at=NOW + timedelta(minutes=1)))
    earlier = end(result(published=published(previous=THEIRS)), rival(at=NOW + timedelta(minutes=1)))
    assert message(later, ConditionType.PUBLISHED) == ("False", f"v1 was moved to {THEIRS} by acme-dev/other")
    assert message(earlier, ConditionType.PUBLISHED) == ("True", f"v1 of {REPOSITORY} points at {OURS}")


def test_the_same_content_published_twice_moves_nothing() -> None:
    told = end(result(), rival(digest=OURS, at=NOW + timedelta(minutes=1)))
    assert message(told, ConditionType.PUBLISHED) == ("True", f"v1 of {REPOSITORY} points at {OURS}")


def test_what_a_failed_run_published_was_taken_back_and_what_was_before_counts() -> None:
    before = published(digest=BEFORE).to_wire()
    told = end(result(Phase.FAILED), published=before)
    assert told.published == published(digest=BEFORE)


def test_what_the_last_run_found_is_gone_with_the_next_intent() -> None:
    subject = build().finished().saying(image={"digest": OURS}, source={"revision": "c0ffee"}).subject
    old = subject.status
    assert isinstance(old, ImageBuildStatus)
    assert old.run is not None
    new = old.model_copy(update={"run": old.run.model_copy(update={"number": 2, "outcome": None})})
    told = complete(old, new, RunView(), (), NOW)
    assert (told.image, told.source) == (None, None)
