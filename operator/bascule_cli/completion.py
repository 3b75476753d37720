"""Completion by shells, and by kubectl's own completion for its plugins."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import suppress
from enum import StrEnum
from typing import Annotated

import typer

_VARIABLE = "_BASCULE_COMPLETE"
_NO_FILES = ":4"
"""What kubectl wants last: no names of files among the answers."""


class Shell(StrEnum):
    """Shells with completion."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def register(app: typer.Typer) -> None:
    @app.command()
    def completion(shell: Annotated[Shell, typer.Argument(help="The shell.")]) -> None:
        """Print the script that completes verbs, options, and names of resources from the cluster.

        `kubectl bascule` needs none: kubectl asks `kubectl_complete-bascule`, which is installed with this command.

        **Examples:** `source <(bascule completion bash)` · `bascule completion fish | source`
        """
        _run(app, f"source_{shell}")


def for_kubectl(app: typer.Typer) -> None:
    """Answer `kubectl_complete-bascule WORD… INCOMPLETE` as kubectl expects: a line each, then what to do with them."""
    words = ["bascule", *sys.argv[1:]]
    os.environ |= {"COMP_WORDS": shlex.join(words), "COMP_CWORD": str(len(words) - 1)}
    with suppress(SystemExit):
        _run(app, "complete_bash")
    print(_NO_FILES)


def _run(app: typer.Typer, instruction: str) -> None:
    """Have typer answer: its scripts ask by this variable."""
    os.environ[_VARIABLE] = instruction
    app(prog_name="bascule")
