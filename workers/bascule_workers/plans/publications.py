"""What a publication is taken back to: whose image a tag points at, and where the tag was before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bascule_api import names
from bascule_api.image_builds import Publication, PublishedTag

TAKEN_BACK = "/taken-back"
"""In a run's record, which is by tag otherwise: it publishes nothing any more. No tag begins with a slash."""


def previous_digests(current: Mapping[str, str], recorded: Mapping[str, str], ours: str) -> dict[str, str]:
    """What each tag pointed at before this run, by tag; empty for one that is new.

    `current` is where the tags point now. Where one points at our digest already, an earlier attempt moved it, and
    what it recorded before counts.
    """
    return {tag: recorded.get(tag, "") if digest == ours else digest for tag, digest in current.items()}


def published_tags(tags: list[str], digest: str, previous: Mapping[str, str]) -> list[PublishedTag]:
    return [PublishedTag(name=tag, digest=digest, previous_digest=previous.get(tag) or None) for tag in tags]


def before(
    run: str, recorded: Mapping[str, str], uid: str, standing: Sequence[Publication]
) -> dict[str, dict[str, str]]:
    """Where tags were before each run whose publications are taken back: by run (`<uid>/<number>`), then by tag.

    An empty digest means that the tag was new; a tag that is not there, that nobody knows. `recorded` is the record of
    `run` itself; where its publication stands, that one goes further back.
    """
    found = {run: {tag: digest for tag, digest in recorded.items() if tag != TAKEN_BACK}}
    for publication in standing:
        tags = {tag.name: tag.previous_digest or "" for tag in publication.tags}
        owner = names.run_of(uid, publication.run)
        found[owner] = found.get(owner, {}) | tags
    return found


def owner(annotations: Mapping[str, str]) -> str:
    """The run that an image belongs to, as `<uid>/<number>`, or nothing."""
    return annotations.get(names.IMAGE_RUN_ANNOTATION, "")
