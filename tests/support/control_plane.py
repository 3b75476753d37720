"""A real API server on a real etcd and a real Temporal, on loopback, without nodes: what reconcilers need.

Each part may be stopped and started again while tests run; their data survive.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bascule_codec import Keyring
from bascule_operator.connections.kube import Kube
from bascule_operator.permissions import RULES
from bascule_workers.permissions import RULES as WORKER_RULES
from hack.cluster.binaries import binaries, temporal
from hack.cluster.rootfs import machine_tree

ROOT = Path(__file__).resolve().parent.parent.parent
_PATIENCE = 60.0
_TOKEN = "administrator"
_OPERATOR_TOKEN = "operator"
_WORKER_TOKEN = "worker"

_QUICK_TEMPORAL = {
    "history.transferProcessorMaxPollRPS": "2000",
    "history.visibilityProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxPollRPS": "2000",
    "system.forceSearchAttributesCacheRefreshOnRead": "true",
    "frontend.namespaceRPS": "5000",
    "frontend.WorkflowPauseEnabled": "true",
    "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute": "2",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Part:
    """One server process."""

    argv: list[str]
    log: Path
    ready: str
    """Address to ask: an http(s) URL."""
    environment: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv, stdout=log, stderr=log, env=os.environ | dict(self.environment), start_new_session=True
            )
        deadline = time.monotonic() + _PATIENCE
        while not _answers(self.ready):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.argv[0]} did not come up: {self.log.read_text()[-2000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL: an API server lingers and serves watches after SIGTERM."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _answers(address: str) -> bool:
    try:
        request = urllib.request.Request(address, headers={"Authorization": f"Bearer {_TOKEN}"})  # noqa: S310
        unchecked = ssl._create_unverified_context()  # noqa: S323 - made a moment ago, signed by itself
        with urllib.request.urlopen(request, timeout=2, context=unchecked) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


@dataclass
class ControlPlane:
    """The running parts and how to reach them."""

    folder: Path
    etcd: Part
    apiserver: Part
    temporal: Part
    temporal_address: str
    kubeconfig: Path
    """The administrator's."""
    operator_kubeconfig: Path
    """The operator's: it may do what `bascule_operator.permissions` declares, and nothing else."""
    worker_kubeconfig: Path
    """The workers': the same from `bascule_workers.permissions`, in every namespace alike."""
    keyring: Keyring
    audit_log: Path

    @property
    def keys(self) -> Path:
        return self.folder / "payload-keys"

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:  # noqa: A002
        program = binaries() / "kubectl"
        done = subprocess.run(
            [str(program), "--kubeconfig", str(self.kubeconfig), *arguments],
            input=input, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    async def kube(self) -> Kube:
        """An administrator's connection."""
        return await Kube.connect(str(self.kubeconfig))

    async def operator_kube(self) -> Kube:
        return await Kube.connect(str(self.operator_kubeconfig))

    def operator_environment(self, **more: str) -> dict[str, str]:
        """Settings of an operator process."""
        return {
            "BASCULE_TEMPORAL_ADDRESS": self.temporal_address,
            "BASCULE_TEMPORAL_UI_URL": "https://temporal.example.com",
            "BASCULE_PAYLOAD_KEYS_DIR": str(self.keys),
            "BASCULE_KUBECONFIG": str(self.operator_kubeconfig),
            "BASCULE_HTTP_PORT": "0",
        } | more


@contextlib.contextmanager
def control_plane(folder: Path, *controllers: str) -> Iterator[ControlPlane]:
    """Everything up, with the CRDs of this checkout and these of Kubernetes' own controllers; gone at the end."""
    made = _planned(folder)
    parts = [made.etcd, made.temporal, made.apiserver]
    if controllers:
        parts.append(_controllers(made, controllers))
    try:
        for part in parts:
            part.start()
        made.kubectl(
            "apply", "--server-side", *(f"--filename={path}" for path in sorted((ROOT / "crds").glob("*.yaml")))
        )
        made.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        made.kubectl("apply", "--server-side", "--filename=-", input=yaml.safe_dump_all(_roles()))
        yield made
    finally:
        for part in reversed(parts):
            part.kill()


def _planned(folder: Path) -> ControlPlane:
    etcd, peer, api, grpc, http, metrics = (free_port() for _ in range(6))
    keyring = Keyring.generate("test")
    _write(folder, keyring, api)
    return ControlPlane(
        folder=folder,
        etcd=_etcd(folder, etcd, peer),
        apiserver=_apiserver(folder, etcd, api),
        temporal=_temporal(folder, grpc, http, metrics),
        temporal_address=f"127.0.0.1:{grpc}",
        kubeconfig=folder / "kubeconfig",
        operator_kubeconfig=folder / "operator-kubeconfig",
        worker_kubeconfig=folder / "worker-kubeconfig",
        keyring=keyring,
        audit_log=folder / "audit.log",
    )


def _write(folder: Path, keyring: Keyring, api_port: int) -> None:
    (folder / "payload-keys").mkdir(parents=True)
    for name, text in keyring.files().items():
        (folder / "payload-keys" / name).write_text(text)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "service-accounts.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    users = (
        f'{_TOKEN},admin,admin,"system:masters"\n{_OPERATOR_TOKEN},operator,operator\n{_WORKER_TOKEN},worker,worker\n'
    )
    (folder / "tokens.csv").write_text(users)
    (folder / "audit.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "audit.k8s.io/v1",
                "kind": "Policy",
                "omitStages": ["RequestReceived"],
                "rules": [{"level": "Metadata", "resources": [{"group": "bascule.dev"}]}, {"level": "None"}],
            }
        )
    )
    (folder / "kubeconfig").write_text(_kubeconfig(api_port, _TOKEN))
    (folder / "operator-kubeconfig").write_text(_kubeconfig(api_port, _OPERATOR_TOKEN))
    (folder / "worker-kubeconfig").write_text(_kubeconfig(api_port, _WORKER_TOKEN))


def _kubeconfig(api_port: int, token: str) -> str:
    server = {"server": f"https://127.0.0.1:{api_port}", "insecure-skip-tls-verify": True}
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": server}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
    }
    return yaml.safe_dump(config)


def _roles() -> list[dict[str, Any]]:
    """What the chart grants, from the same declarations."""
    return [*_role("operator", RULES), *_role("worker", WORKER_RULES)]


def _role(user: str, declared: Iterable[Any]) -> list[dict[str, Any]]:
    api, metadata = "rbac.authorization.k8s.io/v1", {"name": user}
    rules = [
        {"apiGroups": [rule.api_group], "resources": list(rule.resources), "verbs": list(rule.verbs)}
        | ({"resourceNames": list(rule.only)} if rule.only else {})
        for rule in declared
    ]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    return [
        {"apiVersion": api, "kind": "ClusterRole", "metadata": metadata, "rules": rules},
        {
            "apiVersion": api, "kind": "ClusterRoleBinding", "metadata": metadata, "roleRef": reference,
            "subjects": [subject],
        },
    ]  # fmt: skip


def _etcd(folder: Path, port: int, peer: int) -> Part:
    client, between = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    argv = [
        str(machine_tree() / "usr/bin/etcd"), f"--data-dir={folder}/etcd", "--unsafe-no-fsync", "--logger=zap",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={between}",
        f"--initial-advertise-peer-urls={between}", f"--initial-cluster=default={between}",
    ]  # fmt: skip
    return Part(argv, folder / "etcd.log", f"{client}/health")


def _apiserver(folder: Path, etcd: int, port: int) -> Part:
    argv = [
        str(binaries() / "kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{etcd}", "--bind-address=127.0.0.1",
        f"--secure-port={port}", f"--cert-dir={folder}/certificates", f"--token-auth-file={folder}/tokens.csv",
        "--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC",
        f"--service-account-key-file={folder}/service-accounts.key", "--endpoint-reconciler-type=none",
        f"--service-account-signing-key-file={folder}/service-accounts.key", "--service-cluster-ip-range=10.0.0.0/24",
        "--disable-admission-plugins=ServiceAccount", f"--audit-policy-file={folder}/audit.yaml",
        f"--audit-log-path={folder}/audit.log",
    ]  # fmt: skip
    return Part(argv, folder / "apiserver.log", f"https://127.0.0.1:{port}/readyz")


def _controllers(plane: ControlPlane, names: Iterable[str]) -> Part:
    port = free_port()
    argv = [
        str(binaries() / "kube-controller-manager"), f"--kubeconfig={plane.kubeconfig}", "--leader-elect=false",
        f"--controllers={','.join(names)}", f"--cert-dir={plane.folder}/controllers", "--bind-address=127.0.0.1",
        f"--secure-port={port}", "--kube-api-qps=200", "--kube-api-burst=400",
    ]  # fmt: skip
    return Part(argv, plane.folder / "controllers.log", f"https://127.0.0.1:{port}/healthz")


def _temporal(folder: Path, port: int, http: int, metrics: int) -> Part:
    argv = [
        str(temporal() / "temporal"), "server", "start-dev", "--headless", "--ip=127.0.0.1", f"--port={port}",
        f"--http-port={http}", f"--metrics-port={metrics}", f"--db-filename={folder}/temporal.db",
        "--sqlite-pragma=synchronous=OFF", "--sqlite-pragma=journal_mode=WAL", "--log-level=warn",
        *(f"--dynamic-config-value={name}={value}" for name, value in _QUICK_TEMPORAL.items()),
    ]  # fmt: skip
    # Not its port: the dev server opens that to see whether it is free, and closes it again.
    return Part(argv, folder / "temporal.log", f"http://127.0.0.1:{http}/system-info")


class OperatorProcess:
    """`bascule-operator` as a process of its own, to be killed."""

    def __init__(self, plane: ControlPlane, **settings: str) -> None:
        self.log = plane.folder / f"operator-{time.monotonic_ns()}.log"
        self._environment = os.environ | plane.operator_environment(**settings)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OperatorProcess:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bascule_operator"], stdout=log, stderr=log, env=self._environment
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: no line of it is carried out, and the world goes on."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self, seconds: float = 30.0) -> int:
        """Its exit code, once it ends by itself."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, seconds)

    async def terminate(self, seconds: float = 30.0) -> int:
        """SIGTERM, and its exit code."""
        self._signal(signal.SIGTERM)
        return await self.ended(seconds)


async def answer_of(url: str) -> tuple[int, str]:
    """Status and text of an HTTP answer; status 0 when nobody answers."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.get(url) as answer,
        ):
            return answer.status, await answer.text()
    except (aiohttp.ClientError, OSError, TimeoutError):
        return 0, ""
