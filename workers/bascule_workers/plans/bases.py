"""The images that a build reports to have pulled."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bascule_workers.messages import BaseImage

RESULT = "baseImages"
"""The result of a build's Procedure that tells: words `NAME[:TAG]@DIGEST`."""
MOST = 64
_WORD = re.compile(r"(?P<reference>[a-z0-9][A-Za-z0-9._/:-]{0,400})@(?P<digest>sha256:[a-f0-9]{64})")


def reported(results: Mapping[str, str]) -> list[BaseImage]:
    """What a build says that it pulled, by name; words that are no reference are passed over."""
    found = (_WORD.fullmatch(word) for word in results.get(RESULT, "").split())
    bases = {match[0]: BaseImage(reference=match["reference"], digest=match["digest"]) for match in found if match}
    return [bases[name] for name in sorted(bases)][:MOST]
