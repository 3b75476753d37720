"""The Kubernetes API server, as JSON. The official client brings configuration and credentials; its models stay out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client, config

from bascule_workers import metrics
from bascule_workers.errors import ApiUnavailableError

JsonObject = dict[str, Any]

_JSON = "application/json"
_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=90)
"""A watch is ended by the server after a minute at most: a connection that says nothing for longer is dead."""


class ApiError(Exception):
    """The API server answers with an error."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.reason = reason
        """The server's word for it, such as AlreadyExists; empty where it gives none."""


class ApiServer:
    """Requests by path. Raises ApiError for what the server refuses, ApiUnavailableError when it doesn't answer."""

    def __init__(self, api_client: client.ApiClient) -> None:
        self._client = api_client

    @classmethod
    async def connect(cls, kubeconfig: str = "") -> ApiServer:
        """Connect with a kubeconfig, or with the pod's service account where none is given."""
        configuration = client.Configuration()
        if kubeconfig:
            await config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
        else:
            config.load_incluster_config(client_configuration=configuration)
        return cls(client.ApiClient(configuration))

    async def close(self) -> None:
        await self._client.close()
        # TLS connections say goodbye in the background; aiohttp's documentation asks for this moment.
        await asyncio.sleep(0.25)

    async def get(self, path: str, **parameters: Any) -> JsonObject:
        return await self._json("GET", path, parameters=parameters)

    async def metadata(self, path: str, **parameters: Any) -> list[JsonObject]:
        """The metadata of what a path lists: the contents are not sent."""
        return (await self.metadata_page(path, **parameters))[0]

    async def metadata_page(self, path: str, **parameters: Any) -> tuple[list[JsonObject], str]:
        """The same of one page, with what `continue` has to be for the next; empty: there is none."""
        answer = json.loads(await self._request("GET", path, parameters=parameters, accept=_METADATA))
        # A list of metadata without items says null, unlike one of whole objects.
        return [item["metadata"] for item in answer["items"] or []], str(answer["metadata"].get("continue") or "")

    async def find(self, path: str) -> JsonObject | None:
        """The object, or None when there is none."""
        try:
            return await self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def create(self, path: str, body: Mapping[str, Any]) -> JsonObject:
        """Raises ApiError with status 409 only when it exists already."""
        try:
            return await self._json("POST", path, body)
        except ApiError as error:
            if error.status == 409 and error.reason != "AlreadyExists":
                # A quota that changes at that moment is a conflict as well, and nothing was made.
                raise ApiUnavailableError(f"the API server answers {error}") from error
            raise

    async def replace(self, path: str, body: Mapping[str, Any]) -> JsonObject:
        return await self._json("PUT", path, body)

    async def merge(self, path: str, body: Mapping[str, Any]) -> JsonObject:
        """Change what the body has; null takes a field away. With a resourceVersion in it: only as it was read."""
        answer: JsonObject = json.loads(await self._request("PATCH", path, body, content_type=_MERGE))
        return answer

    async def apply(self, path: str, body: Mapping[str, Any], *, manager: str) -> JsonObject:
        """Server-side apply, forced. Fields that the kind does not have are refused: ApiError 400."""
        parameters = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict"}
        answer: JsonObject = json.loads(await self._request("PATCH", path, body, parameters, content_type=_APPLY))
        return answer

    async def answer(self, path: str, body: Mapping[str, Any]) -> tuple[int, JsonObject]:
        """Post something, for those to whom a refusal is an answer too: its status and what it says."""
        response = await self._open("POST", path, body, {}, _TIMEOUT)
        try:
            return response.status, json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ApiUnavailableError(f"the API server does not answer: {_said(error)}") from error
        finally:
            response.release()

    async def delete(self, path: str, *, propagation: str = "Background", uid: str = "") -> None:
        """Delete an object; one that is gone already is fine. With a uid: that one only, else ApiError 409."""
        options: JsonObject = {"propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._json("DELETE", path, options)
        except ApiError as error:
            if error.status != 404:
                raise

    async def text(self, path: str, **parameters: Any) -> str:
        return (await self._request("GET", path, parameters=parameters)).decode(errors="replace")

    async def watch(self, path: str, **parameters: Any) -> AsyncIterator[tuple[str, JsonObject]]:
        """Events as (type, object) until the server ends the watch. Raises ApiError with status 410 when too old."""
        response = await self._open("GET", path, None, parameters | {"watch": "true"}, _WATCH_TIMEOUT)
        try:
            await _raise_for(response)
            async for line in response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), event["object"].get("message", ""))
                yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiUnavailableError(f"the API server does not answer: {_said(error)}") from error
        finally:
            response.close()

    async def _json(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, parameters: Mapping[str, Any] | None = None
    ) -> JsonObject:
        answer: JsonObject = json.loads(await self._request(method, path, body, parameters))
        return answer

    async def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        accept: str = _JSON,
        content_type: str = _JSON,
    ) -> bytes:
        response = await self._open(method, path, body, parameters or {}, _TIMEOUT, accept, content_type)
        try:
            await _raise_for(response)
            return await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiUnavailableError(f"the API server does not answer: {_said(error)}") from error
        finally:
            response.release()

    async def _open(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        parameters: Mapping[str, Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own
        accept: str = _JSON,
        content_type: str = _JSON,
    ) -> aiohttp.ClientResponse:
        verb, resource = named(method, path, watching="watch" in parameters)
        headers = {"Accept": accept, "Content-Type": content_type}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        query = f"?{urlencode(parameters)}" if parameters else ""
        url = f"{self._client.configuration.host}{path}{query}"
        try:
            answer = await self._client.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=timeout
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            metrics.API_REQUESTS.labels(verb, resource, "unreachable").inc()
            raise ApiUnavailableError(f"the API server does not answer: {_said(error)}") from error
        response: aiohttp.ClientResponse = answer.response
        metrics.API_REQUESTS.labels(verb, resource, str(response.status)).inc()
        return response


def named(method: str, path: str, *, watching: bool) -> tuple[str, str]:
    """What a request is called in the metrics: its verb, and its resource with the subresource."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        parts = parts[2:]
    verb = method.lower()
    if method == "GET":
        verb = "watch" if watching else "get" if len(parts) > 1 else "list"
    return verb, "/".join([*parts[:1], *parts[2:3]])


async def _raise_for(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    text = await response.text()
    try:
        status = json.loads(text)
        message, reason = str(status.get("message") or text), str(status.get("reason") or "")
    except (ValueError, AttributeError):
        message, reason = text, ""
    if response.status >= 500 or response.status in (401, 403, 408, 429):
        # A role or token that is not there yet is mended without a change to the run.
        raise ApiUnavailableError(f"the API server answers {response.status}: {message[:512]}", response.status)
    raise ApiError(response.status, message[:2048], reason)


def _said(error: BaseException) -> str:
    return "timeout" if isinstance(error, (TimeoutError, asyncio.TimeoutError)) else str(error) or type(error).__name__
