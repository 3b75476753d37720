"""Resources as the verbs see them, and finding them by what people type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bascule_api.base import DNS_SUBDOMAIN, Kind, ObjectMeta
from bascule_api.conditions import Condition, ConditionStatus, ConditionType
from bascule_api.runs import RunStatus
from bascule_cli import kinds
from bascule_cli.cluster import Cluster, Json
from bascule_cli.errors import CliError, ExitCode, ForbiddenError, NotFoundError


@dataclass(frozen=True)
class Item:
    """One resource: what all kinds share, parsed; and the object itself."""

    kind: Kind
    body: Json
    meta: ObjectMeta
    status: RunStatus
    unreadable: str = ""
    """Why the status could not be read: it comes from a newer version than this command."""

    @classmethod
    def of(cls, kind: Kind, body: Json) -> Item:
        meta = ObjectMeta.model_validate(body["metadata"])
        try:
            return cls(kind, body, meta, RunStatus.model_validate(body.get("status") or {}))
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors()[:3])
            return cls(kind, body, meta, RunStatus(), f"this command is too old for the status ({fields}): update it")

    @property
    def name(self) -> str:
        return self.meta.name

    @property
    def namespace(self) -> str:
        return self.meta.namespace or ""

    @property
    def reference(self) -> str:
        """`ib/web`, as commands take it."""
        return f"{kinds.short(self.kind)}/{self.meta.name}"

    @property
    def spec(self) -> Json:
        found: Json = self.body.get("spec") or {}
        return found

    @property
    def suspended(self) -> bool:
        return self.spec.get("suspend") is True

    @property
    def deleting(self) -> bool:
        return self.meta.deletion_timestamp is not None

    @property
    def unfinished(self) -> bool:
        """Whether a run is going on."""
        return self.status.run is not None and self.status.run.outcome is None

    @property
    def seen(self) -> bool:
        """Whether the operator has looked at the resource as it is now."""
        return self.status.observed_generation >= self.meta.generation

    def condition(self, kind: ConditionType) -> Condition | None:
        return next((found for found in self.status.conditions if found.type == kind), None)

    def holds(self, kind: ConditionType, status: ConditionStatus = ConditionStatus.TRUE) -> bool:
        found = self.condition(kind)
        return found is not None and found.status is status


@dataclass(frozen=True)
class Reference:
    """What a person typed: a name, of one kind or of any."""

    name: str
    kind: Kind | None = None

    @classmethod
    def parse(cls, text: str, known: tuple[Kind, ...] = kinds.RUN_KINDS) -> Reference:
        """`web` or `ib/web`. Raises CliError for an unknown kind."""
        word, slash, name = text.rpartition("/")
        if re.fullmatch(DNS_SUBDOMAIN, name) is None:
            raise CliError(ExitCode.USAGE, f"{text!r} is no name of a resource: a-z, 0-9, - and .")
        kind = kinds.named(word, known)
        if slash and kind is None:
            offered = ", ".join(f"{kinds.short(kind)} ({kind.kind})" for kind in known)
            raise CliError(ExitCode.USAGE, f"there is no kind {word!r} with runs; kinds are: {offered}")
        return cls(name, kind)


def find(cluster: Cluster, text: str, known: tuple[Kind, ...] = kinds.RUN_KINDS) -> Item:
    """The one resource that is meant. Raises NotFoundError, ForbiddenError, and CliError when several could be."""
    reference = Reference.parse(text, known)
    if reference.kind is not None:
        return Item.of(reference.kind, cluster.get(reference.kind, cluster.namespace, reference.name))
    found: list[Item] = []
    refused: CliError | None = None
    for kind in (kind for kind in known if kind.namespaced):
        try:
            found.append(Item.of(kind, cluster.get(kind, cluster.namespace, reference.name)))
        except (NotFoundError, ForbiddenError) as error:
            # The first refusal tells: the kinds are in the order in which people use them most.
            forbidden = isinstance(error, ForbiddenError) and not isinstance(refused, ForbiddenError)
            refused = error if refused is None or forbidden else refused
    if len(found) > 1:
        choices = " or ".join(item.reference for item in found)
        raise CliError(ExitCode.USAGE, f"several resources are called {reference.name}: say {choices}")
    if found:
        return found[0]
    raise refused or NotFoundError(f"there is no resource {reference.name} in the namespace {cluster.namespace}")


def cleaned(body: Json) -> Json:
    """The object for people and scripts: as kubectl, without the field managers' book-keeping."""
    metadata: dict[str, Any] = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return body | {"metadata": metadata}
