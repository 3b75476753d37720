"""The cluster, with the user's own rights and nothing else: the kubeconfig that kubectl would take."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError, ReadTimeoutError

from bascule_api import names
from bascule_api.base import Kind
from bascule_cli import terminal
from bascule_cli.errors import CliError, ExitCode, ForbiddenError, NotFoundError
from bascule_cli.rights import Right

Json = dict[str, Any]

FIELD_MANAGER = "bascule-cli"
MERGE_PATCH = "application/merge-patch+json"
_JSON = "application/json"
_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 30
_WATCH_SECONDS = 240
_WARNING = re.compile(r'^299 \S+ "(.*?)"(?: "[^"]*")?$')
_ADMISSION = "denied request: "
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Where:
    """Which cluster and namespace a command is about, as its options say."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None


class Cluster:
    """Requests to one API server. `namespace` is the one of the option, else of the context, else `default`."""

    def __init__(self, api: client.ApiClient, where: Where, namespace: str) -> None:
        self._api = api
        self.where = where
        self.namespace = namespace

    @classmethod
    def connect(cls, where: Where) -> Cluster:
        """A connection; nothing is sent yet. Raises CliError when there is no usable kubeconfig."""
        # A failed attempt is repeated quietly: the error at the end says it all.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        configuration = client.Configuration()
        default = "default"
        try:
            if _in_pod(where):
                config.load_incluster_config(client_configuration=configuration)
                default = (_SERVICE_ACCOUNT / "namespace").read_text().strip()
            else:
                config.load_kube_config(where.kubeconfig, where.context, client_configuration=configuration)
                default = _namespace_of_context(where)
        except (ConfigException, OSError, yaml.YAMLError) as error:
            raise CliError(
                ExitCode.UNREACHABLE, f"no cluster to talk to: {error}", "set KUBECONFIG, --kubeconfig or --context"
            ) from None
        return cls(client.ApiClient(configuration), where, where.namespace or default)

    def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """One object. Raises NotFoundError, ForbiddenError."""
        return self.request("GET", path(kind, namespace, name), Right("get", kind.plural, namespace, name))

    def list(self, kind: Kind, namespace: str, query: Mapping[str, str] | None = None) -> Json:
        """Objects of a kind; without a namespace, of all namespaces. Raises NotFoundError when it is not installed."""
        return self.request("GET", path(kind, namespace), Right("list", kind.plural, namespace), query=query)

    def patch(self, kind: Kind, namespace: str, name: str, body: Json) -> Json:
        """Merge a patch into an object."""
        right = Right("patch", kind.plural, namespace, name)
        query = {"fieldManager": FIELD_MANAGER}
        return self.request(
            "PATCH", path(kind, namespace, name), right, query=query, body=body, content_type=MERGE_PATCH
        )

    def delete(self, kind: Kind, namespace: str, name: str, right: Right, options: Json) -> None:
        """Delete an object. What is gone already stays gone."""
        self.request("DELETE", path(kind, namespace, name), right, body=options)

    def watch(
        self, kind: Kind, namespace: str, version: str, seconds: int = _WATCH_SECONDS, name: str = ""
    ) -> Iterator[Json]:
        """Changes of a kind's objects after a resourceVersion, as `watch_at`."""
        return self.watch_at(path(kind, namespace), Right("watch", kind.plural, namespace), version, seconds, name)

    def watch_at(self, where: str, right: Right, version: str, seconds: int, name: str = "") -> Iterator[Json]:
        """Changes after a resourceVersion, until the server or the time ends the watch; of one object, if named.

        Raises CliError when it breaks off; a `version` too old ends it with an event of type ERROR.
        """
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, seconds)),
        }
        if name:
            query["fieldSelector"] = f"metadata.name={name}"
        for line in self.lines(where, right, query, seconds + _ANSWER_SECONDS):
            yield json.loads(line)

    def request(
        self,
        method: str,
        where: str,
        right: Right,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = _JSON,
    ) -> Json:
        """One request and its answer as JSON. `right` is what it needs, for the message when it is refused."""
        response = self._send(method, where, query, body, content_type, (_CONNECT_SECONDS, _ANSWER_SECONDS))
        try:
            content = response.read()
        except HTTPError as error:
            raise self._unreachable(error) from None
        for warning in warnings_in(response.response.headers.getlist("Warning")):
            terminal.note(f"warning: {warning}")
        if response.status >= 300:
            self._refused(response.status, content, right)
        parsed: Json = json.loads(content)
        return parsed

    def lines(self, where: str, right: Right, query: Mapping[str, str], seconds: float | None) -> Iterator[bytes]:
        """The lines of an answer as they come, as of watches and logs. `seconds` of silence end it."""
        response = self._send("GET", where, query, None, _JSON, (_CONNECT_SECONDS, seconds))
        with closing(response.response) as stream:
            if response.status >= 300:
                self._refused(response.status, stream.read(), right)
            try:
                rest = b""
                for chunk in stream.stream(65_536, decode_content=True):
                    *whole, rest = (rest + chunk).split(b"\n")
                    yield from whole
                if rest:
                    yield rest
            except ReadTimeoutError:
                return
            except HTTPError as error:
                raise self._unreachable(error) from None

    def _send(
        self,
        method: str,
        where: str,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        seconds: tuple[float, float | None],
    ) -> Any:
        headers = {"Accept": _JSON, "Content-Type": content_type}
        serialized = self._api.param_serialize(
            method, where, query_params=list((query or {}).items()), header_params=headers, body=body,
            auth_settings=["BearerToken"],
        )  # fmt: skip
        try:
            return self._api.call_api(*serialized, _request_timeout=seconds)
        except (HTTPError, ApiException, OSError) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> CliError:
        reason = getattr(error, "reason", None) or error
        server = self._api.configuration.host
        return CliError(ExitCode.UNREACHABLE, f"{server} does not answer: {reason}")

    def _refused(self, status: int, content: bytes, right: Right) -> NoReturn:
        """Raise what an answer that is no success means."""
        try:
            told = json.loads(content)
            message = str(told.get("message") or "")
        except (ValueError, AttributeError):
            told, message = {}, content.decode(errors="replace").strip()
        match status:
            case 401:
                raise ForbiddenError("the cluster does not know you: log in again, or choose another --context")
            case 403 if _ADMISSION in message:
                raise ForbiddenError(message.partition(_ADMISSION)[2])
            case 403:
                raise ForbiddenError(right.missing(_user_in(message)), right.hint)
            case 404 if not told.get("details", {}).get("name"):
                raise NotFoundError(
                    f"this cluster has no {right.resource}: is Bascule installed here?",
                    "--context chooses another cluster",
                )
            case 404:
                raise NotFoundError(f"{message} in the namespace {right.namespace}" if right.namespace else message)
            case 409 | 422 | 400:
                raise CliError(ExitCode.FAILED, message or f"the API server refused it ({status})")
        raise CliError(ExitCode.UNREACHABLE, f"the API server answered {status}: {message[:500]}")


def path(kind: Kind, namespace: str = "", name: str = "") -> str:
    """Where objects of a kind are; without a namespace, those of all."""
    inside = f"/namespaces/{namespace}" if namespace and kind.namespaced else ""
    return f"/apis/{names.API_VERSION}{inside}/{kind.plural}{'/' + name if name else ''}"


def warnings_in(headers: Iterable[str]) -> list[str]:
    """What the API server and admission policies warn of: `299 - "text"`, as kubectl prints it too."""
    return [found.group(1).replace('\\"', '"') for header in headers if (found := _WARNING.search(header))]


def _in_pod(where: Where) -> bool:
    """Whether to use the pod's service account: as kubectl does, where nothing else is said or found."""
    chosen = where.kubeconfig or where.context or os.environ.get("KUBECONFIG") or Path("~/.kube/config").expanduser()
    there = isinstance(chosen, str) or chosen.exists()
    return not there and "KUBERNETES_SERVICE_HOST" in os.environ


def _namespace_of_context(where: Where) -> str:
    contexts, current = config.list_kube_config_contexts(where.kubeconfig)
    wanted = where.context or (current or {}).get("name")
    chosen: Json = next((context for context in contexts if context["name"] == wanted), {})
    return str(chosen.get("context", {}).get("namespace") or "default")


def _user_in(message: str) -> str:
    """Who the API server says was refused: `… is forbidden: User "alice" cannot list …`."""
    _, found, rest = message.partition('User "')
    return rest.partition('" cannot')[0] if found else ""
