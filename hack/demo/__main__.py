"""`make demo`: a story on a real cluster, and proof of what came of it. STORY=life, campaign or drill: another one."""

from __future__ import annotations

import argparse
import os
import sys
import time

from rich.console import Console

from hack import installation
from hack.cluster import handle
from hack.cluster.engines import OWN, check_engine
from hack.cluster.shell import ClusterError
from hack.demo import campaign, drill, first, life
from hack.demo.stage import Stage, say

STORIES = {"first": first, "life": life, "campaign": campaign, "drill": drill}


def run(console: Console, name: str, keep: bool, title: str) -> int:
    begun, story = time.monotonic(), STORIES[title]
    say(
        console,
        begun,
        "a cluster of its own: API server, two nodes, registry, Temporal (the first time builds its parts)",
    )
    cluster = handle.up(name)
    try:
        say(console, begun, "the chart: operator and workers, each under its own Role")
        installation.install(cluster, extra_images=drill.images(cluster) if story is drill else None)
        say(console, begun, "a tenant: acme, with the namespace acme-dev, its own Temporal namespace and signing key")
        tenant = installation.make_tenant(cluster, "acme", node_selector=campaign.POOL if story is campaign else None)
        stage = Stage(console, cluster, tenant, begun)
        found = story.play(stage)
        _close(stage, story.next_steps(stage), keep, title)
    finally:
        if not keep:
            say(console, begun, "removing everything that was made")
            handle.down(name)
    say(console, begun, "done" if all(proof.held for proof in found) else "NOT all of it held: see the ✗ above")
    return 0 if all(proof.held for proof in found) else 1


def _close(stage: Stage, commands: list[str], kept: bool, title: str) -> None:
    cluster, console = stage.cluster, stage.console
    console.print(f"\nTemporal's UI: {cluster.temporal_ui}/namespaces/{stage.tenant.name}/workflows")
    if kept:
        lines = [
            f"export KUBECONFIG={cluster.kubeconfig} PATH={installation.ROOT}/.venv/bin:$PATH",
            *commands,
            "make down            # removes everything that was made",
        ]
        console.print("\nTry next:\n  " + "\n  ".join(lines), highlight=False, soft_wrap=True, markup=False)
    else:
        story = "" if title == "first" else f" STORY={title}"
        console.print(f"\nTry next: `make demo{story} KEEP=1` leaves it all running, for kubectl and the UI.")
        if title == "first":
            console.print("`make demo STORY=life` shows an approval, a suspend, and deletions that undo.")
            console.print("`make demo STORY=campaign` patches nodes: a canary, a failing node, halt and rollback.")
            console.print(
                "`make demo STORY=drill` rehearses a recovery: a backup, a drill, its figures and its report."
            )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.demo", description=__doc__)
    parser.add_argument("--story", choices=sorted(STORIES), default="first", help="which story (default: first)")
    parser.add_argument("--keep", action="store_true", help="leave everything running")
    name = os.environ.get("NAME") or "bascule"
    parser.add_argument("--name", default=name, help="name of the cluster (default: $NAME, or bascule)")
    options = parser.parse_args()
    try:
        check_engine(os.environ.get("CLUSTER") or OWN)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return run(Console(), options.name, options.keep, options.story)


if __name__ == "__main__":
    sys.exit(main())
