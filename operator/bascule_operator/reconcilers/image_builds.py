"""ImageBuilds: what they add to the reconciler of everything that runs."""

from __future__ import annotations

from bascule_api.image_builds import (
    REVISION_FIELDS,
    ImageBuildInput,
    ImageBuildResult,
    ImageBuildSpec,
    ImageBuildStatus,
)
from bascule_api.progress import RunIdentity
from bascule_api.runs import RunStatus
from bascule_operator.decisions import effects, elsewhere, image_builds
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.tags import Published, latest
from bascule_operator.decisions.views import Grounds, RunView
from bascule_operator.reconcilers.kinds import RunKind
from bascule_operator.reconcilers.world import World
from bascule_operator.store import Key, Store


def workflow_input(subject: Subject, run: RunIdentity, grounds: Grounds) -> ImageBuildInput:
    """The input of the run's workflow."""
    if not isinstance(subject.spec, ImageBuildSpec):
        raise TypeError("an ImageBuild has an ImageBuildSpec")
    return image_builds.workflow_input(subject.spec, run, grounds)


def complete(world: World, key: Key, subject: Subject, new: RunStatus, view: RunView) -> RunStatus:
    """The status with what concerns the image."""
    old = subject.status
    if not isinstance(old, ImageBuildStatus) or not isinstance(new, ImageBuildStatus):
        raise TypeError("an ImageBuild has an ImageBuildStatus")
    told = image_builds.complete(old, new, view, _rivals(world.store, key, new), world.clock())
    return effects.recorded(subject, told, view, world.store.procedures)


def _rivals(store: Store, key: Key, status: ImageBuildStatus) -> list[Published]:
    """What other ImageBuilds of the same tenant published under the same tags."""
    published, run = status.published, status.run
    if published is None or run is None:
        return []
    shared = store.sharing_tags([(published.repository, tag.name) for tag in published.tags], key)
    entries = (store.get(other) for other in shared)
    return latest(
        entry.published for entry in entries if entry and entry.published is not None and entry.tenant == run.tenant
    )


KIND = RunKind(
    kind=image_builds.KIND,
    spec=ImageBuildSpec,
    status=ImageBuildStatus,
    result=ImageBuildResult,
    fields=REVISION_FIELDS,
    wants=image_builds.wants,
    workflow_input=workflow_input,
    undo_input=effects.undo_input,
    undo_wants=elsewhere.wanted,
    complete=complete,
)
