"""What is special about ImageBuilds: the Procedures they name, the run's input, and the image in the status."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from bascule_api.conditions import ConditionStatus, ConditionType, Phase, Reason
from bascule_api.failures import FailureType
from bascule_api.image_builds import (
    ImageBuildInput,
    ImageBuildResult,
    ImageBuildSpec,
    ImageBuildStatus,
    ImageStatus,
    PublishedStatus,
    PublishedTag,
    SourceStatus,
)
from bascule_api.procedures import Use
from bascule_api.progress import RunIdentity
from bascule_operator.decisions.conditions import Says, conditions
from bascule_operator.decisions.grounds import Wants, tenant_facts
from bascule_operator.decisions.records import in_history, is_another, is_over
from bascule_operator.decisions.tags import MovedTag, Published
from bascule_operator.decisions.views import Grounds, RunView

KIND = "ImageBuild"


def wants(spec: ImageBuildSpec) -> list[Wants]:
    """The Procedures that the spec names."""
    build = Wants("spec.build", Use.IMAGE_BUILD_BUILD, spec.build.procedure, spec.build.parameters)
    tests = [
        Wants(f"spec.tests[{index}]", Use.IMAGE_BUILD_TEST, test.procedure, test.parameters)
        for index, test in enumerate(spec.tests)
    ]
    return [build, *tests]


def workflow_input(spec: ImageBuildSpec, run: RunIdentity, grounds: Grounds) -> ImageBuildInput:
    """The input of the run's workflow."""
    return ImageBuildInput(
        run=run,
        tenant=tenant_facts(grounds.tenant.metadata.name, grounds.tenant),
        timeout_seconds=spec.timeout.seconds,
        compensation=spec.compensation,
        suspended=False,
        spec=spec,
        procedures=grounds.procedures,
    )


def complete(
    old: ImageBuildStatus, new: ImageBuildStatus, view: RunView, others: Iterable[Published], now: datetime
) -> ImageBuildStatus:
    """The status with what concerns the image: what is known of it, what was published, and what it says of that."""
    told = _known(old, new, view)
    rivals = tuple(others)
    if told.published is not None:
        told = told.model_copy(update={"published": _superseded(told, rivals)})
    said = [*_published(told, rivals), *_verified(told)]
    replaces = (ConditionType.PUBLISHED,) + ((ConditionType.VERIFIED,) if is_over(told) else ())
    generation = max(0, told.observed_generation)
    merged = conditions(told.conditions, said, replaces=replaces, generation=generation, now=now)
    return _with_words(told.model_copy(update={"conditions": merged}))


def _known(old: ImageBuildStatus, new: ImageBuildStatus, view: RunView) -> ImageBuildStatus:
    """Facts that the run told: of its progress while it goes on, of its result when it is over."""
    another = is_another(old, new)
    if isinstance(view.result, ImageBuildResult) and old.run is not None and in_history(new, old.run.number):
        new = _told(new, view.result.source, view.result.image, view.result.published, view.result.phase)
    elif view.progress is not None and not is_over(new):
        new = _of_progress(new, view.progress.facts)
    # What the last run found belongs to it; what it published is still there.
    return new.model_copy(update={"source": None, "image": None}) if another else new


def _told(
    status: ImageBuildStatus,
    source: SourceStatus | None,
    image: ImageStatus | None,
    published: PublishedStatus | None,
    phase: Phase,
) -> ImageBuildStatus:
    # What a run that did not succeed had published was taken back; what an earlier one published counts again.
    kept = published if phase is Phase.SUCCEEDED and published is not None else status.published
    return status.model_copy(
        update={"source": source or status.source, "image": image or status.image, "published": kept}
    )


def _of_progress(status: ImageBuildStatus, facts: dict[str, Any]) -> ImageBuildStatus:
    try:
        source = SourceStatus.model_validate(facts["source"]) if facts.get("source") else status.source
        image = ImageStatus.model_validate(facts["image"]) if facts.get("image") else status.image
    except ValidationError:
        return status
    return status.model_copy(update={"source": source, "image": image})


def published_at(status: ImageBuildStatus) -> datetime | None:
    """When the last run that succeeded was over: what is published is its work."""
    return next((past.finished_at for past in status.history if past.phase is Phase.SUCCEEDED), None)


def _superseded(status: ImageBuildStatus, others: Iterable[Published]) -> PublishedStatus:
    """What was published, with the tags marked that another build moved later."""
    published = status.published
    assert published is not None  # noqa: S101 - the caller has one
    finished = published_at(status)
    rivals = [other for other in others if other.repository == published.repository]
    tags = []
    for tag in published.tags:
        later = [
            (other.finished_at, other.name)
            for other in rivals
            for theirs in other.tags
            if theirs.name == tag.name and theirs.digest != tag.digest and _later(other, theirs, tag, finished)
        ]
        tags.append(tag.model_copy(update={"superseded_by": max(later)[1] if later else tag.superseded_by}))
    return published.model_copy(update={"tags": tags})


def _later(other: Published, theirs: MovedTag, ours: PublishedTag, finished: datetime | None) -> bool:
    if theirs.previous_digest == ours.digest:
        return True
    return theirs.digest != ours.previous_digest and (finished is None or other.finished_at > finished)


def _published(status: ImageBuildStatus, others: Iterable[Published]) -> list[Says]:
    published = status.published
    if published is None or not published.tags:
        return []
    moved = [tag for tag in published.tags if tag.superseded_by]
    if moved:
        now_at = {(other.name, tag.name): f" to {tag.digest}" for other in others for tag in other.tags}
        told = "; ".join(
            f"{tag.name} was moved{now_at.get((tag.superseded_by, tag.name), '')} by {tag.superseded_by}"
            for tag in moved
        )
        return [Says(ConditionType.PUBLISHED, ConditionStatus.FALSE, Reason.TAG_MOVED, told)]
    names = ", ".join(tag.name for tag in published.tags)
    verb = "points" if len(published.tags) == 1 else "point"
    told = f"{names} of {published.repository} {verb} at {published.tags[0].digest}"
    return [Says(ConditionType.PUBLISHED, ConditionStatus.TRUE, Reason.TAGS_CURRENT, told)]


def _verified(status: ImageBuildStatus) -> list[Says]:
    if not is_over(status):
        return []
    if status.failure is not None and status.failure.type is FailureType.VERIFICATION_FAILED:
        return [Says(ConditionType.VERIFIED, ConditionStatus.FALSE, Reason.VERIFICATION_FAILED, status.failure.message)]
    if status.image is None or status.image.signature is None:
        return []
    told = f"the signature of {status.image.digest} was verified with the tenant's public key{_attested(status.image)}"
    return [Says(ConditionType.VERIFIED, ConditionStatus.TRUE, Reason.SIGNATURE_VERIFIED, told)]


def _attested(image: ImageStatus) -> str:
    """What else was verified, and what there is not."""
    known = {"SBOM": image.sbom, "provenance": image.provenance}
    there, absent = [name for name in known if known[name]], [name for name in known if not known[name]]
    verified = f", {' and '.join(there)} with the platform's" if there else ""
    return verified + (f"; there is no {' and no '.join(absent)}, as the steps say" if absent else "")


def _with_words(status: ImageBuildStatus) -> ImageBuildStatus:
    """Ready tells what was published, once a run succeeded."""
    if status.published is None or status.image is None:
        return status
    words = _words(status.published, status.image)
    told = [
        item.model_copy(update={"message": words})
        if item.type == ConditionType.READY and item.status is ConditionStatus.TRUE
        else item
        for item in status.conditions
    ]
    return status.model_copy(update={"conditions": told})


def _words(published: PublishedStatus, image: ImageStatus) -> str:
    reference = image.reference or f"{published.repository}@{image.digest}"
    names = ", ".join(tag.name for tag in published.tags)
    moved = [
        f"{tag.name} from {tag.previous_digest}"
        for tag in published.tags
        if tag.previous_digest and tag.previous_digest != tag.digest
    ]
    text = f"published {reference} as {names}"
    return f"{text}; moved {', '.join(moved)}" if moved else text
