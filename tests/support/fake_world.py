"""Fakes of the workers' ports, in memory; tests can make them fail, lie and wait."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from bascule_api import names
from bascule_workers.activities.image_builds import Builder, ImageBuildPorts
from bascule_workers.errors import (
    LeaseTakenError,
    PolicyDeniedError,
    RegistryRefusedError,
    SourceNotFoundError,
    VerificationFailedError,
)
from bascule_workers.plans.jobs import JobSettings
from bascule_workers.plans.outcomes import Lost, Outcome, Succeeded
from bascule_workers.ports.audit import Moment, Occurrence
from bascule_workers.ports.policy import Question
from bascule_workers.ports.registry import Manifest, Repository
from bascule_workers.ports.secrets import Labelled
from bascule_workers.ports.signer import Attestation, PredicateType, SigningKey
from bascule_workers.ports.steps import Stopped


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


@dataclass
class FakeSboms:
    """Every image holds the package `hello`."""

    troubles: Troubles
    document: Mapping[str, Any] = field(
        default_factory=lambda: {
            "spdxVersion": "SPDX-2.3",
            "packages": [{"SPDXID": "SPDXRef-hello", "name": "hello"}],
        }
    )

    async def describe(self, repository: Repository, digest: str) -> Mapping[str, Any]:
        async with self.troubles.around("describe"):
            return self.document


@dataclass
class FakePlatformKey:
    pair: tuple[str, str] | None = ("platform", "platform"[::-1])

    def private(self) -> SigningKey | None:
        return SigningKey(self.pair[0], "canary-secret") if self.pair else None

    def public(self) -> str | None:
        return self.pair[1] if self.pair else None


@dataclass
class FakeSteps:
    """Runs no containers: the build pushes into the fake registry, tests succeed, unless a script says otherwise."""

    registry: FakeRegistry
    troubles: Troubles
    script: dict[str, list[Outcome]] = field(default_factory=lambda: defaultdict(list))
    """Outcomes by step, one per look."""
    logs: dict[str, str] = field(default_factory=dict)
    annotated: bool = True
    pushes: bool = True
    reports: dict[str, str] = field(default_factory=dict)
    """What a build reports besides its digest."""
    every: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """All Jobs that there ever were."""
    looks: list[str] = field(default_factory=list)
    """Steps in the order in which they were looked at, and `stop`."""
    jobs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    finished: dict[str, Outcome] = field(default_factory=dict)
    stopped: list[bool] = field(default_factory=list)

    async def run(self, job: Mapping[str, Any], *, known_note: str, limit_seconds: float) -> Outcome:
        name, labels = job["metadata"]["name"], job["metadata"]["labels"]
        step = labels[names.LABEL_STEP]
        self.jobs.setdefault(name, job)
        self.every.setdefault(name, job)
        self.looks.append(step)
        async with self.troubles.around(step):
            if name in self.finished:
                return self.finished[name]
            outcome = self.script[step].pop(0) if self.script[step] else self._succeeded(step, job)
            if isinstance(outcome, Succeeded | Lost):
                self.finished[name] = outcome
            return outcome

    def _succeeded(self, step: str, job: Mapping[str, Any]) -> Outcome:
        if step != "build":
            return Succeeded(pod="pod")
        env = {e["name"]: e["value"] for e in job["spec"]["template"]["spec"]["containers"][0]["env"]}
        repository, _, tag = env["BASCULE_CANDIDATE"].rpartition(":")
        annotations = {names.IMAGE_RUN_ANNOTATION: env["BASCULE_RUN"]} if self.annotated else {}
        digest = self.registry.push(repository, tag, annotations) if self.pushes else digest_of("nothing")
        return Succeeded({"digest": digest} | self.reports, pod="pod")

    async def log_tail(self, namespace: str, pod: str, container: str, lines: int = 40) -> str:
        return "".join(self.logs.get(container, "").splitlines(keepends=True)[-lines:])

    async def log(self, namespace: str, pod: str, container: str, *, limit_bytes: int) -> str:
        return self.logs.get(container, "")[:limit_bytes]

    async def stop(self, namespace: str, run: str, *, finished_too: bool, limit_seconds: float) -> Stopped:
        async with self.troubles.around("stop"):
            self.stopped.append(finished_too)
            self.looks.append("stop")
            kept = {
                name: job
                for name, job in self.jobs.items()
                if job["metadata"]["labels"][names.LABEL_RUN] != run or (name in self.finished and not finished_too)
            }
            found, self.jobs = len(self.jobs) - len(kept), kept
            return Stopped(found, [])


@dataclass
class FakeObjects:
    """Secrets and ConfigMaps by kind, namespace and name."""

    troubles: Troubles
    content: dict[tuple[str, str, str], Mapping[str, Any]] = field(default_factory=dict)

    def add(self, item: Mapping[str, Any]) -> None:
        self.content[(item["kind"], item["metadata"]["namespace"], item["metadata"]["name"])] = item

    def of_run(self, namespace: str) -> list[tuple[str, str, str]]:
        return [key for key in self.content if key[1] == namespace]

    async def secret(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        async with self.troubles.around("secret"):
            return self.content.get(("Secret", namespace, name))

    async def config_map(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        async with self.troubles.around("config_map"):
            return self.content.get(("ConfigMap", namespace, name))

    async def labelled(self, namespace: str, label: str, value: str) -> list[Labelled]:
        async with self.troubles.around("labelled"):
            found = [
                (key, item["metadata"].get("labels") or {}, item["metadata"].get("annotations") or {})
                for key, item in self.content.items()
                if key[1] == namespace
            ]
            return [
                Labelled("Secret" if key[0] == "Secret" else "ConfigMap", key[2], labels, annotations)
                for key, labels, annotations in found
                if labels.get(label) == value
            ]

    async def create(self, objects: Sequence[Mapping[str, Any]]) -> None:
        async with self.troubles.around("create"):
            for item in objects:
                self.content.setdefault((item["kind"], item["metadata"]["namespace"], item["metadata"]["name"]), item)

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        async with self.troubles.around("delete_object"):
            self.content.pop((kind, namespace, name), None)


@dataclass
class FakeGit:
    commits: dict[str, str] = field(default_factory=dict)

    async def resolve(self, url: str, revision: str, credentials: Mapping[str, str]) -> str:
        if revision not in self.commits:
            raise SourceNotFoundError(f"there is no branch or tag {revision}")
        return self.commits[revision]


@dataclass
class FakeTenants:
    keys: dict[str, str] = field(default_factory=dict)
    repositories: dict[str, Repository] = field(default_factory=dict)
    caches: dict[str, str] = field(default_factory=dict)

    async def keeps_artifacts_for(self, tenant: str) -> int:
        return 90 * 86_400

    async def build_cache(self, tenant: str) -> str | None:
        return self.caches.get(tenant)

    async def artifacts(self, tenant: str) -> Repository | None:
        return self.repositories.get(tenant)

    async def public_key(self, tenant: str) -> str | None:
        return self.keys.get(tenant)


@dataclass
class FakeLogs:
    """Logs by their digest: repository, unpacked text and annotations."""

    troubles: Troubles = field(default_factory=Troubles)
    kept: dict[str, tuple[str, str, dict[str, str]]] = field(default_factory=dict)
    days: list[str] = field(default_factory=list)
    expired: list[tuple[str, date]] = field(default_factory=list)
    """What was to be deleted: where, and from before which day."""

    async def keep(self, repository: Repository, tag: str, log: bytes, annotations: Mapping[str, str]) -> str:
        async with self.troubles.around("keep"):
            text = gzip.decompress(log).decode()
            digest = digest_of(f"{text}{tag}")
            self.kept[digest] = (repository.name, text, dict(annotations))
            self.days.append(tag[:8])
            return digest

    async def expire(self, repository: Repository, before: date, most: int) -> int:
        async with self.troubles.around("expire"):
            self.expired.append((repository.name, before))
            return 0


@dataclass
class FakeHeld:
    records: dict[str, dict[str, str]]

    def check(self) -> None:
        pass

    def record(self, run: str) -> Mapping[str, str]:
        return self.records.get(run, {})

    async def keep(self, run: str, record: Mapping[str, str]) -> None:
        self.records[run] = dict(record)
        if not record:
            del self.records[run]


@dataclass
class FakeLeases:
    records: dict[str, dict[str, dict[str, str]]] = field(default_factory=lambda: defaultdict(dict))
    taken: int = 0
    """How many more times somebody else holds it."""
    locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[FakeHeld]:
        if self.taken:
            self.taken -= 1
            raise LeaseTakenError("somebody else")
        async with self.locks[name]:
            yield FakeHeld(self.records[name])


@dataclass
class FakePolicy:
    denied: set[str] = field(default_factory=set)
    asked: list[Question] = field(default_factory=list)

    async def authorize(self, question: Question) -> None:
        self.asked.append(question)
        if question.action in self.denied:
            raise PolicyDeniedError(f"{question.action} is denied")


@dataclass
class FakeAudit:
    occurrences: list[Occurrence] = field(default_factory=list)
    recorded: asyncio.Event = field(default_factory=asyncio.Event)

    def record(self, occurrence: Occurrence) -> None:
        self.occurrences.append(occurrence)
        self.recorded.set()

    async def happened(self, moment: Moment) -> None:
        """Wait until something like this was recorded."""
        while not any(occurrence.moment == moment for occurrence in self.occurrences):
            self.recorded.clear()
            await self.recorded.wait()


class World:
    """All of it, with a tenant `acme` that owns `acme-dev`, has a signing key, and a source."""

    steps_namespace = "bascule-steps-acme"

    def __init__(self) -> None:
        self.troubles = Troubles()
        self.registry = FakeRegistry(self.troubles)
        self.steps = FakeSteps(self.registry, self.troubles)
        self.objects = FakeObjects(self.troubles)
        self.signer = FakeSigner(self.registry)
        self.attester = FakeAttester(self.registry)
        self.sboms = FakeSboms(self.troubles)
        self.platform_key = FakePlatformKey()
        self.git = FakeGit({"main": "c" * 40})
        self.tenants = FakeTenants({"acme": "private"[::-1]})
        self.leases = FakeLeases()
        self.logs = FakeLogs(self.troubles)
        self.policy = FakePolicy()
        self.audit = FakeAudit()
        self.objects.add(
            secret("signing-key", "signing", {"cosign.key": "private", "cosign.password": "canary-secret"})
        )
        self.objects.add(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "src", "namespace": "acme-dev"},
                "data": {"Containerfile": "FROM scratch\n"},
            }
        )

    def ports(self) -> ImageBuildPorts:
        return ImageBuildPorts(
            objects=self.objects,
            steps=self.steps,
            git=self.git,
            registry=self.registry,
            signer=self.signer,
            verifier=FakeVerifier(self.registry),
            sboms=self.sboms,
            attester=self.attester,
            platform_key=self.platform_key,
            builder=Builder("https://builder.example.com/", "0.1.0"),
            tenants=self.tenants,
            logs=self.logs,
            leases=self.leases,
            job_settings=JobSettings("registry.example.com/bascule/worker@sha256:0", "bascule-ca"),
        )


def secret(
    name: str, use: str, values: Mapping[str, str], host: str = "", namespace: str = "acme-dev"
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {names.LABEL_USE: use} if use else {},
            "annotations": {names.ANNOTATION_HOST: host} if host else {},
        },
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }
