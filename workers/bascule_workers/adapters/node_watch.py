"""One list and watch of the cluster's nodes, shared by everybody in the process who waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.changes import Changes
from bascule_workers.adapters.reflector import Reflector
from bascule_workers.errors import ApiUnavailableError
from bascule_workers.plans.nodes import Node, node_of

LINGER_SECONDS = 60.0
"""How long nodes are watched after the last one has stopped waiting."""
SYNC_SECONDS = 30.0
"""How long the first list may take."""


class NodesView:
    """The nodes, as far as campaigns look at them: a few kilobytes of each."""

    def __init__(self, api: ApiServer) -> None:
        self.changes = Changes()
        """By the node's name."""
        # All nodes, and not those of some labels: a node that loses a label has to be seen as one that lost it.
        self._nodes = Reflector(api, "/api/v1/nodes", self._changed, read=node_of)
        self._task = asyncio.create_task(self._nodes.run())
        self.users = 0

    def stop(self) -> asyncio.Task[None]:
        """Stop watching. Returns the task that is ending."""
        self._task.cancel()
        return self._task

    async def synced(self) -> None:
        """Raises ApiUnavailableError when there is no list in time."""
        try:
            async with asyncio.timeout(SYNC_SECONDS):
                await self._nodes.synced.wait()
        except TimeoutError:
            raise ApiUnavailableError("the API server does not list the nodes") from None

    def node(self, name: str) -> Node | None:
        return self._nodes.items.get(name)

    def learn(self, node: Node) -> None:
        """Take over what the API server answered to a write, if the watch has not shown it yet: so that the next look
        needs no request of its own.
        """
        known = self._nodes.items.get(node.name)
        if known is not None and known.uid == node.uid and int(known.version) < int(node.version):
            self._nodes.items[node.name] = node
            self._changed(node)

    def _changed(self, node: Node) -> None:
        self.changes.wake(node.name)


class NodeWatch:
    """The view of all nodes; there is one while somebody uses it, and a little longer."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._view: NodesView | None = None

    @asynccontextmanager
    async def view(self) -> AsyncIterator[NodesView]:
        """The current view. Raises ApiUnavailableError when the API server does not list the nodes."""
        view = self._view = self._view or NodesView(self._api)
        view.users += 1
        try:
            await view.synced()
            yield view
        finally:
            view.users -= 1
            if view.users == 0:
                asyncio.get_running_loop().call_later(LINGER_SECONDS, self._drop, view)

    async def close(self) -> None:
        """Stop watching, and wait until the connection is given back."""
        view, self._view = self._view, None
        if view is not None:
            await asyncio.gather(view.stop(), return_exceptions=True)

    def _drop(self, view: NodesView) -> None:
        if view.users == 0 and self._view is view:
            self._view = None
            view.stop()
