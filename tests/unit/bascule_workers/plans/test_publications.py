"""What a publication is taken back to."""

from __future__ import annotations

import pytest

from bascule_api.image_builds import Publication, PublishedTag
from bascule_workers.plans import publications as plans
from bascule_workers.plans.publications import TAKEN_BACK

OURS, BEFORE, ANOTHER = "sha256:ours", "sha256:before", "sha256:another"


@pytest.mark.parametrize(
    ("current", "recorded", "previous"),
    [
        pytest.param({"v1": ""}, {}, {"v1": ""}, id="a new tag"),
        pytest.param({"v1": BEFORE}, {}, {"v1": BEFORE}, id="a tag that moves"),
        pytest.param({"v1": OURS}, {"v1": BEFORE}, {"v1": BEFORE}, id="an attempt before moved it, and recorded"),
        pytest.param(
            {"v1": OURS, "v2": BEFORE}, {"v1": "", "v2": BEFORE}, {"v1": "", "v2": BEFORE}, id="one of two moved"
        ),
        pytest.param({"v1": ANOTHER}, {"v1": BEFORE}, {"v1": ANOTHER}, id="somebody published in between"),
    ],
)
def test_what_a_tag_pointed_at_before(
    current: dict[str, str], recorded: dict[str, str], previous: dict[str, str]
) -> None:
    assert plans.previous_digests(current, recorded, OURS) == previous


def test_where_tags_were_before_is_what_a_standing_publication_says_and_else_the_runs_own_record() -> None:
    digest = f"sha256:{'0' * 64}"
    tags = [PublishedTag(name="v1", digest=digest), PublishedTag(name="v2", digest=digest, previous_digest=digest)]
    standing = [Publication(run=2, repository="registry.example.com/a", digest=digest, tags=tags)]

    found = plans.before("u/3", {"v1": BEFORE, "old": "", TAKEN_BACK: "true"}, "u", standing)

    assert found == {"u/3": {"v1": BEFORE, "old": ""}, "u/2": {"v1": "", "v2": digest}}
    assert plans.before("u/2", {"v1": BEFORE, "old": ""}, "u", standing) == {"u/2": {"v1": "", "v2": digest, "old": ""}}
