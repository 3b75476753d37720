"""What the builders of every kind share: a resource's body under construction."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from bascule_api import names, revisions
from bascule_api.runs import RunSpec

Json = dict[str, Any]
Change = Callable[[Json], Any]


def a_body(uid: str, spec: Json) -> Json:
    """A resource named web as the API server first shows it, once its finalizer is on."""
    metadata = {
        "name": "web", "namespace": "acme-dev", "uid": uid, "generation": 1, "resourceVersion": "1",
        "finalizers": [names.FINALIZER],
    }  # fmt: skip
    return {"metadata": metadata, "spec": spec}


@dataclass(frozen=True)
class AResource:
    """Every method returns another one."""

    body: Json

    def saying(self, **changes: Any) -> Self:
        """Other fields of the status."""
        return replace(self, body=self.body | {"status": self.body.get("status", {}) | changes})

    def with_spec(self, **changes: Any) -> Self:
        return replace(self, body=self.body | {"spec": self.body["spec"] | changes})

    def with_metadata(self, **changes: Any) -> Self:
        return replace(self, body=self.body | {"metadata": self.body["metadata"] | changes})

    def deleting(self) -> Self:
        return self.with_metadata(deletionTimestamp="2026-11-22T11:59:00Z")


@dataclass(frozen=True)
class Golden:
    """Specs with the revisions that a release gave them."""

    cases: list[Json]
    kind: type[RunSpec]
    fields: Sequence[str]

    @classmethod
    def read(cls, file: Path, kind: type[RunSpec], fields: Sequence[str]) -> Golden:
        return cls(json.loads(file.read_text()), kind, fields)

    def revision(self, spec: Json) -> str:
        return revisions.revision(self.kind.model_validate(spec), self.fields)

    def spec(self, change: Change | None = None) -> Json:
        """The richest of the specs, changed."""
        result: Json = copy.deepcopy(self.cases[-1]["spec"])
        if change:
            change(result)
        return result
