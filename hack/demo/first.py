"""The first story: four ImageBuilds, and the proof of what became of them."""

from __future__ import annotations

import json
import time
from typing import Any

from rich.console import Console
from rich.live import Live

from hack import installation
from hack.cluster.handle import Cluster
from hack.demo import proofs, story, table
from hack.demo.stage import Stage
from hack.installation import TenantHandle

PATIENCE = 600
TERMINAL = ("Succeeded", "Failed", "Cancelled", "Rejected")


def _builds(cluster: Cluster, tenant: TenantHandle) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(
        cluster.kubectl("get", "imagebuilds", "-n", tenant.namespace, "-o", "json")
    )["items"]
    return listed


def _named(builds: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return next((build for build in builds if build["metadata"]["name"] == name), None)


def _soaking(build: dict[str, Any] | None) -> bool:
    """Whether the endless test runs: the image is built and its candidate pushed."""
    steps = (build or {}).get("status", {}).get("steps", [])
    return any(step["name"].startswith("test") and step["state"] == "Running" for step in steps)


class Watcher:
    """Shows what changes: a table that redraws itself in a terminal, a line per change elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._lines: dict[str, str] = {}

    def __enter__(self) -> Watcher:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, builds: list[dict[str, Any]], gone: list[str]) -> None:
        if self._live:
            self._live.update(table.draw(builds, gone))
            return
        for build in builds:
            name, line = build["metadata"]["name"], table.as_line(build)
            if self._lines.get(name) != line:
                self._lines[name] = line
                self._console.print(f"  {line}", soft_wrap=True, highlight=False)


def follow(cluster: Cluster, tenant: TenantHandle, console: Console) -> tuple[list[dict[str, Any]], str]:
    """Watch until all is over, deleting `abandoned` in mid-flight. Returns the builds and the deleted one's uid."""
    deleted, gone = "", False
    with Watcher(console) as watcher:
        for _ in range(PATIENCE):
            builds = _builds(cluster, tenant)
            abandoned = _named(builds, "abandoned")
            gone = bool(deleted) and abandoned is None
            watcher.show(builds, ["abandoned"] if gone else [])
            if not deleted and abandoned and _soaking(abandoned):
                deleted = abandoned["metadata"]["uid"]
                cluster.kubectl("delete", "imagebuild", "abandoned", "-n", tenant.namespace, "--wait=false")
            if gone and all(build.get("status", {}).get("phase") in TERMINAL for build in builds):
                return builds, deleted
            time.sleep(1)
    raise SystemExit(f"the builds did not end within {PATIENCE} s; look with `make demo KEEP=1` and kubectl describe")


def prove(cluster: Cluster, tenant: TenantHandle, builds: list[dict[str, Any]], deleted: str) -> list[proofs.Proof]:
    hello, broken = _named(builds, "hello"), _named(builds, "broken")
    if hello is None or hello["status"].get("phase") != "Succeeded":
        raise SystemExit("the build `hello` did not succeed: " + json.dumps(hello and hello["status"], indent=2))
    if broken is None or broken["status"].get("phase") != "Failed":
        raise SystemExit("the build `broken` did not fail: " + json.dumps(broken and broken["status"], indent=2))
    packed = _named(builds, "packed")
    if packed is None or packed["status"].get("phase") != "Succeeded":
        raise SystemExit("the build `packed` did not succeed: " + json.dumps(packed and packed["status"], indent=2))
    abandoned = f"{cluster.registry}/acme/abandoned"
    return [
        *proofs.published_and_signed(cluster, tenant, hello),
        *proofs.attested(cluster, hello, story.PACKAGE),
        proofs.file_published(cluster, packed, "greeting.txt"),
        proofs.candidates_gone(cluster, broken["spec"]["publish"]["repository"], "the test of `broken` failed"),
        proofs.nothing_published(cluster, broken["spec"]["publish"]["repository"]),
        proofs.candidates_gone(cluster, abandoned, "`abandoned` was deleted half-way"),
        proofs.no_leftovers(cluster, tenant, deleted),
    ]


def play(stage: Stage) -> list[proofs.Proof]:
    """Tell the story. Returns what was proven."""
    cluster, tenant, console = stage.cluster, stage.tenant, stage.console
    stage.say(
        "four ImageBuilds: hello and packed (by Packer) get published, broken fails, abandoned is deleted half-way"
    )
    installation.apply(cluster, *story.image_builds(cluster, tenant))
    builds, deleted = follow(cluster, tenant, console)
    stage.say("all over; now the proof, with other people's tools")
    found = prove(cluster, tenant, builds, deleted)
    console.print()
    console.print(cluster.kubectl("get", "imagebuilds", "-n", tenant.namespace), highlight=False, soft_wrap=True)
    stage.show(*found)
    return found


def next_steps(stage: Stage) -> list[str]:
    """What may be tried with the cluster that was kept."""
    space = stage.tenant.namespace
    return [
        f"bascule get -n {space}",
        f"bascule explain broken -n {space}",
        f"bascule rerun hello -n {space} --wait",
        f"kubectl describe imagebuild broken -n {space}",
        f"kubectl delete imagebuild hello -n {space}",
    ]
