"""Which Secrets a run may use, and the copies that it works with until its end."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bascule_api import names
from bascule_api.progress import RunIdentity, TenantFacts
from bascule_workers.errors import SecretNotUsableError
from bascule_workers.messages import SecretUse

DOCKER_CONFIG = ".dockerconfigjson"
GIT_KEYS = ("username", "password", "ssh-privatekey", "known_hosts")
SSH_KEYS = ("ssh-privatekey", "known_hosts")
HTTP_KEY = "authorization"
SIGNING_KEYS = ("cosign.key", "cosign.password")
REGISTRY_KEY = "registry.config.json"
_NOT_SECRET = (REGISTRY_KEY, "git.known_hosts", "ssh.known_hosts")


@dataclass(frozen=True)
class Login:
    """A name and password for one registry."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class RunCredentials:
    """The content of a run's own Secret."""

    values: Mapping[str, str] = field(repr=False, default_factory=dict)

    @property
    def docker_config(self) -> str:
        """The registries' logins as Docker's config.json; empty when there is none."""
        return self.values.get(REGISTRY_KEY, "")

    def git(self) -> dict[str, str]:
        return {key: self.values[f"git.{key}"] for key in GIT_KEYS if f"git.{key}" in self.values}

    def login(self, host: str) -> Login | None:
        """The login for a registry, or None."""
        return login_for(self.docker_config, host) if self.docker_config else None

    def serves(self, hosts: Sequence[str]) -> bool:
        """Whether there is a login for each of the hosts."""
        return all(self.login(host) is not None for host in hosts)

    def secrets(self) -> list[str]:
        """Every value that must never be shown."""
        values = [value for key, value in self.values.items() if key not in _NOT_SECRET]
        for entry in _auths(self.docker_config).values():
            values += [entry.get("auth", ""), entry.get("password", ""), *_decoded(entry.get("auth", ""))[1:]]
        return [value for value in values if value]


def credentials_name(run: RunIdentity) -> str:
    return names.object_name(run.uid, run.number, "credentials")


def pull_secret_name(run: RunIdentity) -> str:
    """The Secret that kubelets pull the candidate with; its type must be Docker's."""
    return names.object_name(run.uid, run.number, "pull")


def source_name(run: RunIdentity, part: str = "") -> str:
    """The run's copy of a ConfigMap; of a run with several, `part` says which."""
    return names.object_name(run.uid, run.number, "source", *([part] if part else []))


def kept_name(run: RunIdentity) -> str:
    """The Secret that outlives its run, as long as something may have to be undone with it."""
    return names.object_name(run.uid, run.number, "kept")


def checked(use: SecretUse, namespace: str, secret: Mapping[str, Any]) -> dict[str, str]:
    """The values that the run copies out of a tenant's Secret.

    Raises SecretNotUsableError naming the command that mends it: a Secret is used only for what it is labelled for,
    and sent only to the host that it is annotated with.
    """
    metadata = secret.get("metadata") or {}
    where = f"{use.field} names the Secret {namespace}/{use.name}"
    if (metadata.get("labels") or {}).get(names.LABEL_USE) != use.use:
        raise SecretNotUsableError(
            f"{where}, which is not labelled for this use: "
            f"kubectl label -n {namespace} secret {use.name} {names.LABEL_USE}={use.use}"
        )
    allowed = {host.strip() for host in (metadata.get("annotations") or {}).get(names.ANNOTATION_HOST, "").split(",")}
    if missing := [host for host in use.hosts if host not in allowed]:
        raise SecretNotUsableError(
            f"{where}, which may not be sent to {', '.join(missing)}: "
            f"kubectl annotate -n {namespace} secret {use.name} --overwrite "
            f"{names.ANNOTATION_HOST}={','.join(sorted({*use.hosts, *allowed} - {''}))}"
        )
    values = _plain(where, secret.get("data") or {})
    match use.use:
        case "git":
            return _git(where, values)
        case "signing":
            return _signing(where, values)
        case "registry":
            return {REGISTRY_KEY: _docker_config(where, values, use.hosts)}
        case "ssh":
            return {f"ssh.{key}": value for key, value in _demanded(where, values, SSH_KEYS).items()}
        case "backup":
            return {f"backup.{key}": value for key, value in values.items()}
        case "http":
            # One for each place of the spec that names one: two gates may be at two servers.
            return {http_key(use.field): _demanded(where, values, (HTTP_KEY,))[HTTP_KEY]}


def http_key(field: str) -> str:
    """The key in the run's Secret of the header that a field of the spec names, as `gates[0].http`."""
    return f"http.{hashlib.sha256(field.encode()).hexdigest()[:16]}"


def run_secrets(run: RunIdentity, tenant: TenantFacts, values: Mapping[str, str]) -> list[dict[str, Any]]:
    """The Secrets of a run, for the steps namespace. Immutable: what a run uses never changes under it."""
    opaque = {key: _encoded(value.encode()) for key, value in sorted(values.items())}
    objects = [_owned("Secret", credentials_name(run), run, tenant) | {"type": "Opaque", "data": opaque}]
    if config := values.get(REGISTRY_KEY):
        pull = _owned("Secret", pull_secret_name(run), run, tenant)
        objects.append(
            pull | {"type": "kubernetes.io/dockerconfigjson", "data": {DOCKER_CONFIG: _encoded(config.encode())}}
        )
    return objects


def kept_copy(
    run: RunIdentity, tenant: TenantFacts, secret: str, own: RunCredentials, earlier: Sequence[RunCredentials]
) -> dict[str, Any]:
    """What outlives a run: the registries' logins and nothing else, with those that earlier copies of the same Secret
    held for other hosts.
    """
    auths: dict[str, Any] = {}
    for held in (*earlier, own):
        auths |= _auths(held.docker_config)
    copy = _owned("Secret", kept_name(run), run, tenant)
    copy["metadata"]["labels"][names.LABEL_KEPT_FOR] = run.uid
    copy["metadata"]["annotations"][names.ANNOTATION_SECRET] = secret
    config = json.dumps({"auths": auths}, sort_keys=True)
    return copy | {"type": "Opaque", "data": {REGISTRY_KEY: _encoded(config.encode())}}


def run_config_map(
    run: RunIdentity, tenant: TenantFacts, original: Mapping[str, Any], part: str = ""
) -> dict[str, Any]:
    """The run's copy of a source ConfigMap; of a run with several, `part` says which."""
    content = {key: original[key] for key in ("data", "binaryData") if original.get(key)}
    return _owned("ConfigMap", source_name(run, part), run, tenant) | content


def config_map_digest(config_map: Mapping[str, Any]) -> str:
    """The digest of a ConfigMap's content: equal for equal files."""
    files = {key: value.encode() for key, value in (config_map.get("data") or {}).items()}
    files |= {key: base64.b64decode(value) for key, value in (config_map.get("binaryData") or {}).items()}
    digest = hashlib.sha256()
    for key in sorted(files):
        digest.update(f"{len(key)}:{key}{len(files[key])}:".encode() + files[key])
    return f"sha256:{digest.hexdigest()}"


def decoded_secret(secret: Mapping[str, Any]) -> RunCredentials:
    """What is in a run's own Secret."""
    # Those of a drill's manifests may be no text.
    return RunCredentials(
        {key: base64.b64decode(value).decode(errors="replace") for key, value in (secret.get("data") or {}).items()}
    )


def login_for(config: str, host: str) -> Login | None:
    """The login for a host in Docker's config.json, or None."""
    for key, entry in _auths(config).items():
        if _host_of(key) == host:
            name, password = _decoded(entry.get("auth", "")) if entry.get("auth") else ("", "")
            name, password = entry.get("username") or name, entry.get("password") or password
            return Login(name, password) if name else None
    return None


def _git(where: str, values: Mapping[str, str]) -> dict[str, str]:
    if not ("password" in values or "ssh-privatekey" in values):
        raise SecretNotUsableError(f"{where}, which has neither the key password nor ssh-privatekey")
    if "ssh-privatekey" in values and "known_hosts" not in values:
        raise SecretNotUsableError(f"{where}, which has no key known_hosts: without it the server cannot be trusted")
    return {f"git.{key}": values[key] for key in GIT_KEYS if key in values}


def _signing(where: str, values: Mapping[str, str]) -> dict[str, str]:
    return _demanded(where, values, SIGNING_KEYS)


def _demanded(where: str, values: Mapping[str, str], keys: Sequence[str]) -> dict[str, str]:
    if missing := [key for key in keys if key not in values]:
        raise SecretNotUsableError(f"{where}, which has no key {' and no key '.join(missing)}")
    return {key: values[key] for key in keys}


def _docker_config(where: str, values: Mapping[str, str], hosts: Sequence[str]) -> str:
    """The part of a dockerconfigjson that is for these hosts; the rest never leaves the tenant's namespace."""
    config = values.get(DOCKER_CONFIG)
    if config is None:
        raise SecretNotUsableError(f"{where}, which must be of the type kubernetes.io/dockerconfigjson")
    logins = {host: login_for(config, host) for host in hosts}
    if missing := [host for host, login in logins.items() if login is None]:
        raise SecretNotUsableError(f"{where}, which has no login for {', '.join(missing)}")
    auths = {
        host: {"auth": _encoded(f"{login.username}:{login.password}".encode())}
        for host, login in logins.items()
        if login
    }
    return json.dumps({"auths": auths}, sort_keys=True)


def _auths(config: str) -> dict[str, dict[str, str]]:
    try:
        auths = json.loads(config).get("auths", {}) if config else {}
    except (ValueError, AttributeError):
        return {}
    return {str(key): entry for key, entry in auths.items() if isinstance(entry, dict)}


def _host_of(key: str) -> str:
    """The host in a key of `auths`, which may be a URL."""
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _decoded(auth: str) -> tuple[str, str]:
    try:
        name, _, password = base64.b64decode(auth).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, password


def _plain(where: str, data: Mapping[str, str]) -> dict[str, str]:
    try:
        return {key: base64.b64decode(value).decode() for key, value in data.items()}
    except UnicodeDecodeError as error:
        raise SecretNotUsableError(f"{where}, which holds a value that is no text") from error


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _owned(kind: str, name: str, run: RunIdentity, tenant: TenantFacts) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "immutable": True,
        "metadata": {
            "name": name,
            "namespace": tenant.steps_namespace,
            "labels": {
                names.LABEL_TENANT: tenant.name,
                names.LABEL_RUN: names.run_label(run.uid, run.number),
                names.LABEL_KIND: run.kind,
            },
            "annotations": {names.ANNOTATION_RESOURCE: f"{run.namespace}/{run.name}"},
        },
    }
