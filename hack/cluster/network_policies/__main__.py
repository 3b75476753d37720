"""Enforces network policies on one node: `python -m hack.cluster.network_policies`, a process beside its machine.

It runs on the host, where there is Python, and ends with the machine that it guards. What the node's CNI plugin
(bascule-bridge) writes into the machine's /run/bascule/pods tells it of every pod's address before the pod runs; the
plugin waits until the pod's rules are in force.
"""

import argparse
import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from hack.cluster.addresses import CONTROL
from hack.cluster.network_policies.selectors import ContainerPort, JsonObject, Pod
from hack.cluster.network_policies.standing import Namespace, Sandbox, Standing, known_pod
from hack.cluster.network_policies.watching import Api, login

_SANDBOXES = "run/bascule/pods"
# Changes come in crowds: they are waited for a moment, and longer where working them out takes longer.
_CROWD_SECONDS = 0.01
_RETRY_SECONDS = 1.0
# CoreDNS is no pod here, but policies name it as the one that it is in other clusters.
_DNS_PORTS = (ContainerPort("dns", "UDP", 53), ContainerPort("dns-tcp", "TCP", 53))
_DNS = Pod("kube-system", "coredns", {"k8s-app": "kube-dns"}, (CONTROL,), _DNS_PORTS, only_port=53)


class Mailbox:
    """Where the node's CNI plugin tells of pods: a file per sandbox, a doorbell, and a file for each answer."""

    def __init__(self, root: Path) -> None:
        self._asked, self._answered = root / _SANDBOXES / "asked", root / _SANDBOXES / "answered"
        self._bell = root / _SANDBOXES / "bell"

    def open(self) -> int:
        """Make what is missing of it and return the doorbell's descriptor."""
        for folder in (self._asked, self._answered):
            folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.mkfifo(self._bell, 0o600)
        # For writing too: else it would stand at its end whenever no plugin has it open.
        return os.open(self._bell, os.O_RDWR | os.O_NONBLOCK)

    def sandboxes(self) -> list[Sandbox]:
        """Return the sandboxes that there are, the oldest first."""
        found = []
        for file in self._asked.iterdir():
            with suppress(FileNotFoundError):
                if not file.name.startswith("."):
                    uid, address = file.read_text().split()
                    found.append((file.stat().st_mtime_ns, Sandbox(file.name, uid, address)))
        return [sandbox for _, sandbox in sorted(found, key=lambda each: each[0])]

    def answer(self, guarded: set[str]) -> None:
        """Let the plugin know which sandboxes' rules are in force; answers that nobody needs go."""
        there = {file.name for file in self._answered.iterdir()}
        for new in guarded - there:
            (self._answered / new).touch()
        for old in there - guarded:
            (self._answered / old).unlink(missing_ok=True)


class Store:
    """One kind's objects in a node's standing, by uid."""

    def __init__(
        self,
        found: dict[str, Any],
        parse: Callable[[JsonObject], object],
        changed: asyncio.Event,
        drop: Callable[[str], object] | None = None,
    ) -> None:
        self._found, self._parse, self._changed = found, parse, changed
        self._drop = drop or (lambda uid: found.pop(uid, None))
        self.listed = asyncio.Event()

    def replaced(self, items: Sequence[JsonObject]) -> None:
        """Take what a list says."""
        for gone in set(self._found) - {item["metadata"]["uid"] for item in items}:
            self._drop(gone)
        for item in items:
            self._put(item)
        self.listed.set()
        self._changed.set()

    def changed(self, item: JsonObject) -> None:
        """Take an object that is new or another."""
        self._put(item)
        self._changed.set()

    def deleted(self, item: JsonObject) -> None:
        """Take an object that is no more."""
        self._drop(item["metadata"]["uid"])
        self._changed.set()

    def _put(self, item: JsonObject) -> None:
        if (parsed := self._parse(item)) is not None:
            self._found[item["metadata"]["uid"]] = parsed


class Enforcer:
    """Keeps one node's packet filter what the API server's objects and the node's sandboxes make of it."""

    def __init__(self, node: str, machine: int) -> None:
        self._standing = Standing(node, servers=(_DNS,))
        self._machine = machine
        self._mailbox = Mailbox(Path(f"/proc/{machine}/root"))
        self._changed = asyncio.Event()
        self._applied = ""

    async def run(self, api: Api) -> None:
        """Enforce for ever."""
        asyncio.get_running_loop().add_reader(bell := self._mailbox.open(), self._rung, bell)
        stores = {
            "/api/v1/pods": Store(self._standing.pods, known_pod, self._changed, self._standing.forget),
            "/api/v1/namespaces": Store(self._standing.namespaces, Namespace.of, self._changed),
            "/apis/networking.k8s.io/v1/networkpolicies": Store(self._standing.policies, dict, self._changed),
        }
        async with asyncio.TaskGroup() as tasks:
            for path, store in stores.items():
                tasks.create_task(api.follow(path, store))
            # Rules made of half of it would let through what a policy that was not heard of yet forbids.
            for store in stores.values():
                await store.listed.wait()
            tasks.create_task(self._enforce())

    def _rung(self, bell: int) -> None:
        with suppress(BlockingIOError):
            os.read(bell, 65536)
        self._changed.set()

    async def _enforce(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            began = time.monotonic()
            self._standing.see(self._mailbox.sandboxes())
            rules, guarded = self._standing.rules(), self._standing.guarded()
            if rules != self._applied and not await self._apply(rules):
                self._changed.set()
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._mailbox.answer(guarded)
            await asyncio.sleep(max(_CROWD_SECONDS, 2 * (time.monotonic() - began)))

    async def _apply(self, rules: str) -> bool:
        """Put rules in force, all or none of them."""
        enter = ["nsenter", f"--target={self._machine}", "--mount", "--net", "--"]
        nft = await asyncio.create_subprocess_exec(*enter, "nft", "--file", "-", stdin=PIPE, stdout=PIPE, stderr=STDOUT)
        said, _ = await nft.communicate(rules.encode())
        if nft.returncode != 0:
            print(
                f"nft ended with {nft.returncode}: {said.decode(errors='replace')[:2000]}", file=sys.stderr, flush=True
            )
            return False
        self._applied = rules
        return True


async def _serve(kubeconfig: Path, node: str, machine: int) -> None:
    """Enforce until the machine ends."""
    try:
        alive = os.pidfd_open(machine)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(alive, ended.set)
    server, context = login(kubeconfig)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        enforcing = asyncio.create_task(Enforcer(node, machine).run(Api(server, session)))
        ending = asyncio.create_task(ended.wait())
        await asyncio.wait({enforcing, ending}, return_when=asyncio.FIRST_COMPLETED)
        if enforcing.done():
            enforcing.result()
        enforcing.cancel()
        await asyncio.wait({enforcing})


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m hack.cluster.network_policies", description=__doc__)
    parser.add_argument("--kubeconfig", required=True, type=Path, help="one of this tool's, which are JSON")
    parser.add_argument("--node", required=True, help="the node's name")
    parser.add_argument("--machine", required=True, type=Path, help="the file with the machine's process id")
    arguments = parser.parse_args(argv)
    asyncio.run(_serve(arguments.kubeconfig, arguments.node, int(arguments.machine.read_text())))


if __name__ == "__main__":
    main()
