"""What ImageBuilds leave outside of the registry: the record of it, and the Procedures that delete it for an undo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import TypeAdapter, ValidationError

from bascule_api.image_builds import (
    BuildArtifact,
    Elsewhere,
    ImageBuildEffects,
    ImageBuildResult,
    ImageBuildSpec,
    ImageBuildStatus,
)
from bascule_api.procedures import PinnedProcedure, Procedure
from bascule_api.runs import CompensationScope
from bascule_operator.decisions.grounds import pinned_undo
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import Problem, RunView

RUNS_LIMIT = 4
"""Finished runs whose artifacts are remembered; the oldest is forgotten first."""
BYTES_LIMIT = 4096
"""Of all artifacts in one record. What exceeds it is not listed, and looked for by the name of its run."""


def undo_named(spec: ImageBuildSpec, procedures: Mapping[str, Procedure]) -> str:
    """Name of the Procedure that deletes what the spec's build makes elsewhere; empty where there is none."""
    build = procedures.get(spec.build.procedure)
    return (build.spec.undo if build else None) or ""


def with_success(effects: ImageBuildEffects, number: int, result: ImageBuildResult) -> ImageBuildEffects:
    """The record with what a run that succeeded made elsewhere, or may have made without saying so."""
    artifacts = result.image.artifacts if result.image else []
    if not (effects.undo_procedure or artifacts) or any(known.run == number for known in effects.elsewhere):
        return effects
    made = Elsewhere(run=number, procedure=effects.undo_procedure, artifacts=artifacts)
    return effects.model_copy(update={"elsewhere": _bounded([made, *effects.elsewhere])})


_REPORTED = TypeAdapter(list[BuildArtifact])


def with_report(effects: ImageBuildEffects, view: RunView) -> ImageBuildEffects:
    """The record with what a build that failed said that it had made: its result knows, or the last progress does."""
    if isinstance(view.result, ImageBuildResult):
        return effects.model_copy(update={"reported": view.result.reported})
    told = view.progress.facts.get("reported") if view.progress else None
    try:
        return effects.model_copy(update={"reported": _REPORTED.validate_python(told)}) if told else effects
    except ValidationError:
        return effects


def deleted(status: ImageBuildStatus, scope: CompensationScope | None) -> ImageBuildStatus:
    """The status after an undo that left nothing of its scope: the image tells of no artifacts any more."""
    if status.image is None or scope is CompensationScope.RELEASES:
        return status
    return status.model_copy(update={"image": status.image.model_copy(update={"artifacts": []})})


def _bounded(made: list[Elsewhere]) -> list[Elsewhere]:
    kept, used = [], 0
    for item in made[:RUNS_LIMIT]:
        used += sum(len(f"{artifact.builder}{artifact.id}".encode()) for artifact in item.artifacts)
        kept.append(item if used <= BYTES_LIMIT else item.model_copy(update={"artifacts": []}))
    return kept


def to_delete(
    subject: Subject, effects: ImageBuildEffects, scope: CompensationScope | None, procedures: Mapping[str, Procedure]
) -> list[Elsewhere]:
    """What an undo workflow of this scope has to have deleted elsewhere, that of the last run first."""
    status, run = subject.status, subject.run
    if scope is CompensationScope.RELEASES or run is None or not isinstance(status, ImageBuildStatus):
        return []
    known = effects.elsewhere if scope is CompensationScope.ALL else []
    named = effects.undo_procedure or _named_since(subject, run.revision, procedures)
    if any(item.run == run.number for item in known):
        return [
            item.model_copy(update={"procedure": item.procedure or named}) if item.run == run.number else item
            for item in known
        ]
    artifacts = (status.image.artifacts if status.image else []) or effects.reported
    own = [Elsewhere(run=run.number, procedure=named, artifacts=artifacts)] if named or artifacts else []
    return [*own, *known]


def _named_since(subject: Subject, revision: str, procedures: Mapping[str, Procedure]) -> str:
    """What the build's Procedure names by now, where the last run was of the spec as it is.

    The record may be older than the field, and whoever is told that no Procedure is named may add one.
    """
    spec = subject.spec
    if not isinstance(spec, ImageBuildSpec) or subject.differs_from(revision):
        return ""
    return undo_named(spec, procedures)


def pinned(
    made: Iterable[Elsewhere], procedures: Mapping[str, Procedure]
) -> tuple[dict[str, PinnedProcedure], dict[str, str]]:
    """The Procedures that delete it, and why those that are missing cannot, both by name."""
    pins: dict[str, PinnedProcedure] = {}
    problems: dict[str, str] = {}
    for name in sorted({item.procedure for item in made if item.procedure}):
        found = pinned_undo(name, "status.effects", procedures)
        if isinstance(found, Problem):
            problems[name] = found.message
        else:
            pins[name] = found
    return pins, problems


def wanted(subject: Subject, scope: CompensationScope | None, procedures: Mapping[str, Procedure]) -> set[str]:
    """Names of the Procedures that an undo workflow of this scope rests on: read them before it starts."""
    status = subject.status
    if not isinstance(status, ImageBuildStatus) or status.effects is None:
        return set()
    return {item.procedure for item in to_delete(subject, status.effects, scope, procedures) if item.procedure}
