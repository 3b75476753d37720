"""Tests that mostly wait are carried out at the same time; each tells only its own outcome."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.harness.campaign import Lab

Body = Callable[..., Awaitable[None]]
_BODY = "carried_out_at_once"


def interruption(body: Body) -> Callable[..., Any]:
    """A test that has a shard to itself (`chosen`), or makes one (`lab`). The rest of its arguments are parameters."""
    parameters = [name for name in inspect.signature(body).parameters if name not in ("chosen", "lab")]

    async def outcome(at_once: Mapping[str, asyncio.Task[None]], request: pytest.FixtureRequest, **_: Any) -> None:
        await at_once[request.node.nodeid]

    known = list(inspect.signature(outcome).parameters.values())[:2]
    mine = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in parameters]
    outcome.__signature__ = inspect.Signature([*known, *mine])  # type: ignore[attr-defined]
    outcome.__name__, outcome.__module__ = body.__name__, body.__module__
    outcome.__doc__ = body.__doc__
    setattr(outcome, _BODY, body)
    return outcome


@asynccontextmanager
async def begun(lab: Lab, items: Iterable[pytest.Item]) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """Begin all of these tests that are interruptions; each gets a shard as soon as one is free."""
    free: asyncio.Queue[Any] = asyncio.Queue()
    for shard in lab.shards:
        free.put_nowait(shard)

    async def carried_out(body: Body, parameters: Mapping[str, Any]) -> None:
        if "chosen" not in inspect.signature(body).parameters:
            await body(lab=lab, **parameters)
            return
        shard = await free.get()
        try:
            await body(chosen=shard, **parameters)
        finally:
            free.put_nowait(shard)

    tasks = {}
    for item in items:
        if isinstance(item, pytest.Function) and (body := getattr(item.function, _BODY, None)):
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            tasks[item.nodeid] = asyncio.create_task(carried_out(body, parameters))
    try:
        yield tasks
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
