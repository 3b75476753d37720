"""Whose login a step uses at a registry: the run's own copy; after the run's end the tenant's Secret comes first."""

from __future__ import annotations

from bascule_api import names
from bascule_workers.activities.common import registry_credentials
from bascule_workers.errors import ApiUnavailableError, SecretMissingError, SecretNotUsableError
from bascule_workers.messages import SecretUse, StepRequest
from bascule_workers.plans import credentials
from bascule_workers.plans.credentials import RunCredentials
from bascule_workers.ports.registry import Repository
from bascule_workers.ports.secrets import Labelled, Objects


async def usable(objects: Objects, namespace: str, use: SecretUse) -> dict[str, str]:
    """What may be copied out of a tenant's Secret. Raises SecretMissingError, SecretNotUsableError."""
    secret = await objects.secret(namespace, use.name)
    if secret is None:
        raise SecretMissingError(f"{use.field} names the Secret {namespace}/{use.name}, which does not exist")
    return credentials.checked(use, namespace, secret)


async def logged_in(
    objects: Objects, request: StepRequest, name: str, *, login: bool, secret: SecretUse | None = None
) -> Repository:
    """The repository of that name with the login for it. `secret` is for what comes after the run's end.

    Raises SecretMissingError, SecretNotUsableError, ApiUnavailableError.
    """
    if secret is not None:
        own = await _current(objects, request, secret)
    else:
        own = await registry_credentials(objects, request, wanted=login)
    return Repository(name, own.login(name.partition("/")[0]))


async def _current(objects: Objects, request: StepRequest, use: SecretUse) -> RunCredentials:
    """The tenant's Secret as it is now, else what the run held, else what one of the resource's runs kept."""
    try:
        return RunCredentials(await usable(objects, request.run.namespace, use))
    except (SecretMissingError, SecretNotUsableError, ApiUnavailableError) as error:
        # A namespace that is deleted, or went to another tenant, has its Secrets no more: undoing goes on.
        held = await _held(objects, request, use)
        if held is None:
            remedy = "and no copy of it is left: mend the Secret, and this is tried again"
            raise type(error)(f"{error}; {remedy}") from None
        return held


async def _held(objects: Objects, request: StepRequest, use: SecretUse) -> RunCredentials | None:
    namespace = request.tenant.steps_namespace
    for name in (credentials.credentials_name(request.run), *await _kept(objects, request, use.name)):
        secret = await objects.secret(namespace, name)
        if secret is not None and (held := credentials.decoded_secret(secret)).serves(use.hosts):
            return held
    return None


async def _kept(objects: Objects, request: StepRequest, secret: str) -> list[str]:
    """Copies of a Secret that runs of the resource kept, the latest first."""
    found = await objects.labelled(request.tenant.steps_namespace, names.LABEL_KEPT_FOR, request.run.uid)
    ours = [item for item in found if item.annotations.get(names.ANNOTATION_SECRET) == secret]
    return [item.name for item in sorted(ours, key=number, reverse=True)]


def number(item: Labelled) -> int:
    """Number of the run that made it."""
    last = item.labels.get(names.LABEL_RUN, "").rpartition(".")[2]
    return int(last) if last.isdigit() else 0
