"""What ImageBuilds leave standing: the closed record that undoing works from, and the input of their undo workflow."""

from __future__ import annotations

from collections.abc import Mapping

from bascule_api.conditions import ConditionType, Phase
from bascule_api.image_builds import (
    ImageBuildEffects,
    ImageBuildResult,
    ImageBuildSpec,
    ImageBuildStatus,
    ImageBuildUndoInput,
    Publication,
    PublishedStatus,
)
from bascule_api.procedures import Procedure
from bascule_api.progress import TenantFacts
from bascule_api.runs import CompensationScope
from bascule_operator.decisions import elsewhere
from bascule_operator.decisions.moves import StartUndo
from bascule_operator.decisions.records import in_history, is_new_intent, is_over, is_undone, on_record
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import RunView

STANDING_LIMIT = 4
"""Publications that are remembered; what was overtaken goes first, then the oldest."""


def recorded(
    subject: Subject, new: ImageBuildStatus, view: RunView, procedures: Mapping[str, Procedure]
) -> ImageBuildStatus:
    """The status with the record: of the intent that is written now, and of what stands once a run is over."""
    old, spec = subject.status, subject.spec
    if not isinstance(old, ImageBuildStatus) or new.run is None:
        return new
    effects, settled = new.effects, new.compensation is not None and new.compensation.state.settled
    if isinstance(view.result, ImageBuildResult) and _succeeded(old, new, view.result):
        effects = _with_success(effects or _of_published(new), old, view.result)
    if effects is not None and old.run is not None and old.run.outcome is None:
        effects = elsewhere.with_report(effects, view)
    if settled and new.compensation is not None and is_undone(old, new):
        scope = new.compensation.scope
        effects = _without(effects, scope, final=subject.deleting)
        new = elsewhere.deleted(new, scope)
        if scope is CompensationScope.ALL:
            told = [item for item in new.conditions if item.type != ConditionType.PUBLISHED]
            new = new.model_copy(update={"published": None, "conditions": told})
    if isinstance(spec, ImageBuildSpec) and (is_new_intent(old, new) or (effects is None and not is_over(new))):
        effects = _intended(spec, effects, elsewhere.undo_named(spec, procedures))
    return new.model_copy(update={"effects": effects or _of_published(new)})


def _succeeded(old: ImageBuildStatus, new: ImageBuildStatus, result: ImageBuildResult) -> bool:
    """Whether this write tells the success of the run that was the last one before it."""
    number = old.run.number if old.run else 0
    return result.phase is Phase.SUCCEEDED and in_history(new, number)


def _without(
    effects: ImageBuildEffects | None, scope: CompensationScope | None, *, final: bool
) -> ImageBuildEffects | None:
    """The record after an undo that left nothing of its scope."""
    if effects is None:
        return None
    if scope is not CompensationScope.RELEASES:
        effects = effects.model_copy(update={"reported": []})
    if scope is CompensationScope.ALL:
        return effects.model_copy(update={"standing": [], "elsewhere": []})
    if not final:
        return effects
    return effects.model_copy(
        update={"standing": [publication.model_copy(update={"kept": False}) for publication in effects.standing]}
    )


def _intended(spec: ImageBuildSpec, effects: ImageBuildEffects | None, undo: str) -> ImageBuildEffects:
    publish = spec.publish
    return ImageBuildEffects(
        repository=publish.repository,
        candidates=publish.candidates,
        tags=publish.tags,
        secret=publish.secret_ref.name if publish.secret_ref else "",
        standing=effects.standing if effects else [],
        undo_procedure=undo,
        elsewhere=effects.elsewhere if effects else [],
    )


def _of_published(status: ImageBuildStatus) -> ImageBuildEffects | None:
    """The record of a run that was started before there were records."""
    published, run = status.published, status.run
    if published is None or run is None or not published.repository or not published.tags:
        return None
    number = next((past.number for past in status.history if past.phase is Phase.SUCCEEDED), run.number)
    return ImageBuildEffects(
        repository=published.repository,
        candidates=f"{published.repository}-candidates",
        tags=[tag.name for tag in published.tags],
        standing=[_publication(published, max(1, number), "", kept=False)],
    )


def _publication(published: PublishedStatus, number: int, secret: str, *, kept: bool) -> Publication:
    tags = [tag.model_copy(update={"superseded_by": ""}) for tag in published.tags]
    return Publication(
        run=number, repository=published.repository, digest=tags[0].digest, tags=tags, secret=secret, kept=kept
    )


def _with_success(
    effects: ImageBuildEffects | None, old: ImageBuildStatus, result: ImageBuildResult
) -> ImageBuildEffects | None:
    if effects is None or old.run is None:
        return effects
    effects = elsewhere.with_success(effects, old.run.number, result)
    if result.published is None or not result.published.tags:
        return effects
    publication = _publication(result.published, old.run.number, effects.secret, kept=result.kept)
    return effects.model_copy(update={"standing": put_in(effects.standing, publication)})


def put_in(standing: list[Publication], publication: Publication) -> list[Publication]:
    """What stands after another publication: its tags go back to where they were before the first of this resource's.

    A tag that somebody else moved in between goes back to where they had it.
    """
    if any(known.run == publication.run for known in standing):
        return standing
    before = {(known.repository, tag.name, tag.digest): tag.previous_digest for known in standing for tag in known.tags}
    tags = [
        tag.model_copy(
            update={
                "previous_digest": before.get(
                    (publication.repository, tag.name, tag.previous_digest or ""), tag.previous_digest
                )
            }
        )
        for tag in publication.tags
    ]
    moved = {(publication.repository, tag.name) for tag in tags}
    earlier = [
        known.model_copy(update={"tags": [tag for tag in known.tags if (known.repository, tag.name) not in moved]})
        for known in standing
        if (known.repository, known.digest) != (publication.repository, publication.digest)
    ]
    return _bounded([publication.model_copy(update={"tags": tags}), *earlier])


def _bounded(standing: list[Publication]) -> list[Publication]:
    kept = list(standing)
    while len(kept) > STANDING_LIMIT:
        overtaken = [publication for publication in kept[1:] if not publication.tags]
        kept.remove(overtaken[-1] if overtaken else kept[-1])
    return kept


def undo_input(
    subject: Subject, start: StartUndo, tenant: TenantFacts, procedures: Mapping[str, Procedure]
) -> ImageBuildUndoInput:
    """The input of the undo workflow. The record is complete, or the intent would not have come to a start."""
    status, spec, scope = subject.status, subject.spec, start.undo.scope
    if not isinstance(status, ImageBuildStatus):
        raise TypeError("an ImageBuild has an ImageBuildStatus")

    def intended(spec: ImageBuildSpec) -> ImageBuildEffects:
        return _intended(spec, None, elsewhere.undo_named(spec, procedures))

    effects = on_record(status.effects, spec, ImageBuildSpec, intended)
    standing = effects.standing if scope is CompensationScope.ALL else []
    made = elsewhere.to_delete(subject, effects, scope, procedures)
    pins, problems = elsewhere.pinned(made, procedures)
    return ImageBuildUndoInput(
        run=start.identity,
        tenant=tenant,
        attempt=start.undo.attempt,
        timeout_seconds=start.timeout_seconds,
        undo=scope is not CompensationScope.RELEASES,
        abandoned=start.abandoned,
        final=start.final,
        effects=effects.model_copy(update={"standing": standing, "elsewhere": made}),
        procedures=pins,
        unpinned=problems,
    )
