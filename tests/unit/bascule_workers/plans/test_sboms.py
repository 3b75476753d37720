"""The bill of materials that is attached."""

from __future__ import annotations

from typing import Any

import pytest

from bascule_workers.plans import sboms

DIGEST = "sha256:" + "a" * 64
DOCUMENT: dict[str, Any] = {
    "spdxVersion": "SPDX-2.3",
    "documentNamespace": "https://example.com/by-chance-1",
    "creationInfo": {"creators": ["Tool: syft"], "created": "2030-01-01T00:00:00Z"},
    "packages": [{"SPDXID": "P2", "name": "zlib"}, {"SPDXID": "P1", "name": "bash"}],
    "files": [{"SPDXID": "F1"}],
    "relationships": [
        {"spdxElementId": "P2", "relatedSpdxElement": "F1", "relationshipType": "CONTAINS"},
        {"spdxElementId": "DOC", "relatedSpdxElement": "P1", "relationshipType": "DESCRIBES"},
    ],
}


def test_it_holds_packages_only_and_nothing_by_chance() -> None:
    assert sboms.attached(DOCUMENT, DIGEST, 0) == {
        "spdxVersion": "SPDX-2.3",
        "documentNamespace": f"https://bascule.dev/spdx/sha256-{'a' * 64}",
        "creationInfo": {"creators": ["Tool: syft"], "created": "1970-01-01T00:00:00Z"},
        "packages": [{"SPDXID": "P1", "name": "bash"}, {"SPDXID": "P2", "name": "zlib"}],
        "relationships": [{"spdxElementId": "DOC", "relatedSpdxElement": "P1", "relationshipType": "DESCRIBES"}],
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({}, "", id="right"),
        pytest.param({"spdxVersion": "SPDX-2.2"}, "SPDX-2.2, not SPDX-2.3", id="another version"),
        pytest.param({"documentNamespace": "x"}, "not that of sha256:aaa", id="another image's"),
        pytest.param({"packages": []}, "names no packages", id="no packages"),
        pytest.param({"packages": [{"SPDXID": "P1"}]}, "names no packages", id="a package without a name"),
        pytest.param({"packages": "all"}, "names no packages", id="nonsense"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], said: str) -> None:
    found = sboms.wrong(sboms.attached(DOCUMENT, DIGEST, 0) | change, DIGEST)

    assert said in found
    assert bool(found) == bool(said)
