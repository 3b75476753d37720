"""A watch on the real API server bears whatever objects there are."""

from __future__ import annotations

import asyncio

from bascule_workers.adapters.api_server import ApiServer


async def test_an_object_of_half_a_mebibyte_is_no_end_of_a_watch(api: ApiServer, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    text = "x" * 500_000
    for name in ("large", "after"):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}}
        await api.create(path, body)
    found: dict[str, str] = {}
    async with asyncio.timeout(60):
        async for _, item in api.watch(path, resourceVersion="0", timeoutSeconds=60):
            found[item["metadata"]["name"]] = (item.get("data") or {}).get("text", "")
            if {"large", "after"} <= found.keys():
                break
    assert found["large"] == text
