"""What Verified says of an image: what was verified, with whose key, and what there is not."""

from __future__ import annotations

import pytest

from bascule_api.image_builds import ImageStatus
from bascule_operator.decisions import image_builds

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("known", "said"),
    [
        pytest.param(
            {"sbom": DIGEST, "provenance": DIGEST}, ", SBOM and provenance with the platform's", id="all of it"
        ),
        pytest.param(
            {"provenance": DIGEST},
            ", provenance with the platform's; there is no SBOM, as the steps say",
            id="an artifact that is no image",
        ),
        pytest.param({}, "; there is no SBOM and no provenance, as the steps say", id="a platform without a key"),
    ],
)
def test_what_was_attested_is_told(known: dict[str, str], said: str) -> None:
    assert image_builds._attested(ImageStatus(digest=DIGEST, **known)) == said
