"""Fakes of the workers' ports, in memory; tests can make them fail, lie and wait."""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from bascule_api import names
from bascule_workers.activities.image_builds import Builder, ImageBuildPorts
from bascule_workers.activities.patch_targets import PatchTargetPorts
from bascule_workers.errors import (
    LeaseTakenError,
    PolicyDeniedError,
    SourceNotFoundError,
)
from bascule_workers.plans.jobs import JobSettings
from bascule_workers.plans.outcomes import Lost, Outcome, Succeeded
from bascule_workers.ports.audit import Moment, Occurrence
from bascule_workers.ports.logs import LOG
from bascule_workers.ports.policy import Question
from bascule_workers.ports.registry import Repository
from bascule_workers.ports.secrets import Labelled
from bascule_workers.ports.signer import SigningKey
from bascule_workers.ports.steps import Stopped
from tests.support.fake_nodes import FakeNodes, FakeTargetLeases
from tests.support.fake_registry import FakeAttester, FakeRegistry, FakeSigner, FakeVerifier, Troubles, digest_of


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
    stopped_in: list[str] = field(default_factory=list)
    """Namespaces whose Jobs were to be stopped, one per call."""

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

    async def stop(
        self, namespace: str, run: str, *, finished_too: bool, limit_seconds: float, target: str = ""
    ) -> Stopped:
        async with self.troubles.around("stop"):
            self.stopped.append(finished_too)
            self.stopped_in.append(namespace)
            self.looks.append("stop")
            kept = {
                name: job
                for name, job in self.jobs.items()
                if job["metadata"]["labels"][names.LABEL_RUN] != run
                or target not in ("", job["metadata"]["labels"].get(names.LABEL_TARGET))
                or (name in self.finished and not finished_too)
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

    async def keep(
        self, repository: Repository, tag: str, log: bytes, annotations: Mapping[str, str], media_type: str = LOG
    ) -> str:
        async with self.troubles.around("keep"):
            text = (gzip.decompress(log) if media_type.endswith("+gzip") else log).decode()
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


JOB_SETTINGS = JobSettings("registry.example.com/bascule/worker@sha256:0", "bascule-ca")


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
        self.nodes = FakeNodes(self.troubles)
        self.target_leases = FakeTargetLeases(self.troubles)
        self.logs = FakeLogs(self.troubles)
        self.policy = FakePolicy()
        self.audit = FakeAudit()
        self.drills: list[object] = []
        """Holders of the activities of drills."""
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
            job_settings=JOB_SETTINGS,
        )

    def target_ports(self) -> PatchTargetPorts:
        return PatchTargetPorts(
            nodes=self.nodes,
            leases=self.target_leases,
            steps=self.steps,
            objects=self.objects,
            tenants=self.tenants,
            logs=self.logs,
            job_settings=JOB_SETTINGS,
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
