"""Fakes of a registry and of what is signed in it, in memory; tests can make them fail, lie and wait."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bascule_workers.errors import (
    RegistryRefusedError,
    VerificationFailedError,
)
from bascule_workers.ports.registry import Manifest, Repository
from bascule_workers.ports.signer import Attestation, PredicateType, SigningKey


@dataclass
class Hold:
    """A call that waits."""

    began: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)


class Troubles:
    """What goes wrong, by the name of a call: errors that it raises, one per call, before or after its effect."""

    def __init__(self) -> None:
        self.before: dict[str, list[BaseException]] = defaultdict(list)
        self.after: dict[str, list[BaseException]] = defaultdict(list)
        self.holds: dict[str, Hold] = {}
        self.holds_after: dict[str, Hold] = {}
        self.calls: Counter[str] = Counter()

    def hold(self, call: str) -> Hold:
        """Let the call wait until it is let go."""
        return self.holds.setdefault(call, Hold())

    def hold_after(self, call: str) -> Hold:
        """Let the call wait once it has had its effect."""
        return self.holds_after.setdefault(call, Hold())

    def release_holds(self) -> None:
        """Let later calls through; those that wait go on waiting."""
        self.holds.clear()
        self.holds_after.clear()

    @asynccontextmanager
    async def around(self, call: str) -> AsyncIterator[None]:
        self.calls[call] += 1
        if self.before[call]:
            raise self.before[call].pop(0)
        if call in self.holds:
            self.holds[call].began.set()
            await self.holds[call].let_go.wait()
        yield
        if call in self.holds_after:
            self.holds_after[call].began.set()
            await self.holds_after[call].let_go.wait()
        if self.after[call]:
            raise self.after[call].pop(0)


def digest_of(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass
class FakeRegistry:
    """Manifests by digest, tags, and signatures by the digest that they are for; one such per repository."""

    troubles: Troubles = field(default_factory=Troubles)
    manifests: dict[str, dict[str, Manifest]] = field(default_factory=lambda: defaultdict(dict))
    pointers: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    signatures: dict[str, dict[str, list[tuple[str, dict[str, str]]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    attestations: dict[str, dict[str, list[tuple[str, PredicateType, Mapping[str, Any]]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    config_type: str = "application/vnd.oci.image.config.v1+json"
    refusing: set[str] = field(default_factory=set)
    deletes_tags: bool = False
    deletes: bool = True

    def push(self, repository: str, tag: str, annotations: Mapping[str, str], content: str = "") -> str:
        digest = digest_of(f"{content}{json.dumps(dict(annotations), sort_keys=True)}")
        self.manifests[repository][digest] = Manifest(
            digest, "application/vnd.oci.image.manifest.v1+json", 42, annotations, self.config_type
        )
        self.pointers[repository][tag] = digest
        return digest

    def empty(self, repository: str) -> bool:
        attached = [*self.signatures[repository].values(), *self.attestations[repository].values()]
        return not (self.manifests[repository] or self.pointers[repository] or any(attached))

    async def check_push(self, repository: Repository) -> None:
        async with self.troubles.around("check_push"):
            if repository.name in self.refusing:
                raise RegistryRefusedError(f"the registry {repository.host} refuses writing: spec.publish.secretRef")

    async def manifest(self, repository: Repository, reference: str) -> Manifest | None:
        async with self.troubles.around("manifest"):
            digest = self.pointers[repository.name].get(reference, reference)
            return self.manifests[repository.name].get(digest)

    async def tags(self, repository: Repository) -> list[str]:
        async with self.troubles.around("tags"):
            return sorted(self.pointers[repository.name])

    async def copy(self, source: Repository, target: Repository, digest: str) -> None:
        async with self.troubles.around("copy"):
            self.manifests[target.name][digest] = self.manifests[source.name][digest]
            self.signatures[target.name][digest] = list(self.signatures[source.name][digest])
            self.attestations[target.name][digest] = list(self.attestations[source.name][digest])

    async def tag(self, repository: Repository, digest: str, tag: str) -> None:
        async with self.troubles.around("tag"):
            assert digest in self.manifests[repository.name]
            self.pointers[repository.name][tag] = digest

    async def delete_tag(self, repository: Repository, tag: str) -> bool:
        async with self.troubles.around("delete_tag"):
            if self.deletes_tags:
                self.pointers[repository.name].pop(tag, None)
            return self.deletes_tags

    async def delete(self, repository: Repository, digest: str) -> bool:
        async with self.troubles.around("delete"):
            if not self.deletes:
                return False
            self.manifests[repository.name].pop(digest, None)
            self.signatures[repository.name].pop(digest, None)
            self.attestations[repository.name].pop(digest, None)
            pointers = self.pointers[repository.name]
            for tag in [tag for tag, found in pointers.items() if found == digest]:
                del pointers[tag]
            return True


@dataclass
class FakeSigner:
    """Signs in the fake registry. A key's public half is its text reversed."""

    registry: FakeRegistry
    lies_about: str = ""
    """Another digest, which it signs instead."""

    async def sign(self, repository: Repository, digest: str, key: SigningKey, annotations: Mapping[str, str]) -> None:
        async with self.registry.troubles.around("sign"):
            signatures = self.registry.signatures[repository.name][self.lies_about or digest]
            signature = (key.pem[::-1], dict(annotations))
            if signature not in signatures:
                signatures.append(signature)


@dataclass
class FakeVerifier:
    registry: FakeRegistry

    async def verify(self, repository: Repository, digest: str, public_key: str, annotations: Mapping[str, str]) -> str:
        async with self.registry.troubles.around("verify"):
            if (public_key, dict(annotations)) not in self.registry.signatures[repository.name][digest]:
                raise VerificationFailedError(f"{repository.name}@{digest} is not signed by this key")
            return digest_of(f"signature of {digest}")

    async def attestations(
        self, repository: Repository, digest: str, public_key: str, kind: PredicateType
    ) -> list[Attestation]:
        async with self.registry.troubles.around(f"read-{kind.name.lower()}"):
            there = self.registry.attestations[repository.name][digest]
            found = [predicate for key, known, predicate in there if (key, known) == (public_key, kind)]
            return [Attestation(digest_of(json.dumps(predicate)), predicate) for predicate in found]


@dataclass
class FakeAttester:
    """Attaches in the fake registry, or something else instead."""

    registry: FakeRegistry
    instead: dict[PredicateType, Mapping[str, Any]] = field(default_factory=dict)

    async def attest(
        self, repository: Repository, digest: str, key: SigningKey, kind: PredicateType, predicate: Mapping[str, Any]
    ) -> None:
        async with self.registry.troubles.around(f"attest-{kind.name.lower()}"):
            statement = (key.pem[::-1], kind, self.instead.get(kind, predicate))
            self.registry.attestations[repository.name][digest].append(statement)
