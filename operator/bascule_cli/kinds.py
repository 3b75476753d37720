"""The kinds whose runs the verbs are about, and how people name them."""

from __future__ import annotations

from bascule_api import names, tenants
from bascule_api.base import Kind
from bascule_api.kinds import RUN_KINDS

__all__ = ["CONDITION_KINDS", "RUN_KINDS", "named", "short"]

CONDITION_KINDS: tuple[Kind, ...] = (tenants.KIND,)
"""Kinds without runs, whose conditions can be explained."""


def named(word: str, kinds: tuple[Kind, ...] = RUN_KINDS) -> Kind | None:
    """The kind that a word names: `ib`, `imagebuild`, `ImageBuilds`, `imagebuilds.bascule.dev`."""
    plain = word.lower().removesuffix(f".{names.GROUP}").removesuffix(f".{names.VERSION}")
    for kind in kinds:
        if plain in (kind.kind.lower(), kind.plural, *kind.short_names):
            return kind
    return None


def short(kind: Kind) -> str:
    """How commands that we print name the kind: its first short name, else its name in lower case."""
    return next(iter(kind.short_names), kind.kind.lower())
