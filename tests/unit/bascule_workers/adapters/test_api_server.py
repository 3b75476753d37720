"""What the API server's refusals mean to the workers."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio import client

from bascule_workers.adapters.api_server import ApiError, ApiServer
from bascule_workers.errors import ApiUnavailableError

SECRETS = "/api/v1/namespaces/steps/secrets"
EXISTS = {"reason": "AlreadyExists", "message": 'secrets "copy" already exists'}
QUOTA = {
    "reason": "Conflict",
    "message": 'Operation cannot be fulfilled on resourcequotas "steps": the object has been modified; please apply '
    "your changes to the latest version and try again",
}


async def _refused(body: dict[str, str]) -> None:
    """Create something and be answered with 409."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "status": "Failure", "code": 409, **body}, status=409)

    application = web.Application()
    application.router.add_post(SECRETS, answer)
    async with TestServer(application) as server:
        configuration = client.Configuration()
        configuration.host = str(server.make_url("")).rstrip("/")
        api = ApiServer(client.ApiClient(configuration))
        try:
            await api.create(SECRETS, {"metadata": {"name": "copy"}})
        finally:
            await api.close()


async def test_what_is_there_already_is_told_as_such() -> None:
    with pytest.raises(ApiError, match="already exists") as found:
        await _refused(EXISTS)
    assert (found.value.status, found.value.reason) == (409, "AlreadyExists")


async def test_a_quota_that_changed_meanwhile_is_no_object_that_exists() -> None:
    with pytest.raises(ApiUnavailableError, match="resourcequotas"):
        await _refused(QUOTA)
