"""Which template is built with which variables, and what Packer's complaints about it mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bascule_workers.in_step.contract import ExitCode, StepError

DEFAULTS = ("template.pkr.hcl", "template.pkr.json", "template.json")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*=.*", re.DOTALL)
_MISSING = re.compile(
    r"Unknown (?:builder|source|provisioner|post-processor)(?: type)? [\"']?(?P<name>[\w-]+)",
    re.IGNORECASE,
)


def choose(sources: Path, wanted: str) -> str:
    """The template's path within the sources. Raises StepError: there is none, or a link leads out of the sources."""
    root = sources.resolve()
    for name in (wanted,) if wanted else DEFAULTS:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise StepError(ExitCode.INVALID, f"parameter template: {name} leads out of the sources")
        if path.is_file() or (wanted and path.is_dir() and any(path.glob("*.pkr.*"))):
            # Packer tells HCL from JSON by the name, and reads words that begin with a dash as options.
            return f"./{name}"
    if wanted:
        raise StepError(ExitCode.INVALID, f"parameter template: the sources have no template {wanted}")
    raise StepError(ExitCode.INVALID, f"the sources have none of {', '.join(DEFAULTS)}; set the parameter template")


def check_variables(variables: Sequence[str]) -> None:
    """Raises StepError naming the item that is no KEY=VALUE; values may be secret and are never repeated."""
    for number, variable in enumerate(variables):
        if not _VARIABLE.fullmatch(variable):
            raise StepError(ExitCode.INVALID, f"parameter variables[{number}] must be KEY=VALUE")


def remedy(error: str) -> str:
    """What to do about Packer's complaint, where that is known; empty otherwise."""
    if found := _MISSING.search(error):
        return (
            f" — this image's Packer has no plugin {found['name']!r}: use one of those that it lists, "
            "or ask the platform for an image that has it (procedures.images.packer)"
        )
    if "required_plugins" in error:
        return " — plugins are not fetched here: leave the block required_plugins out, and use those of the image"
    return ""
