"""Where stories are told: a cluster with a tenant, and how the teller speaks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.console import Console

from hack.cluster.handle import Cluster
from hack.demo.proofs import Proof
from hack.installation import TenantHandle


@dataclass(frozen=True)
class Stage:
    """A console, a cluster with Bascule, and a tenant in it."""

    console: Console
    cluster: Cluster
    tenant: TenantHandle
    begun: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        say(self.console, self.begun, text)

    def act(self, number: int, text: str) -> None:
        """The next part of the story begins."""
        self.console.print()
        self.console.rule(f"{number}  {text}", align="left", style="dim")

    def show(self, *proofs: Proof) -> None:
        """What was checked, with the command that anybody may repeat."""
        for proof in proofs:
            style, mark = ("green", "✓") if proof.held else ("red", "✗")
            self.console.print(f"[{style}]{mark}[/] {proof.claim}", highlight=False, soft_wrap=True)
            for line in (f"$ {proof.command}", proof.seen):
                self.console.print(f"    {line}", style="dim", highlight=False, soft_wrap=True, markup=False)


def say(console: Console, begun: float, text: str) -> None:
    console.print(f"» [{time.monotonic() - begun:5.1f} s] {text}", highlight=False, soft_wrap=True, markup=False)
