"""Killing real parts: SIGKILL to the processes of a pod, as a lost machine would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hack.cluster.handle import Cluster
from hack.installation import SYSTEM_NAMESPACE


def pods(cluster: Cluster, component: str) -> list[dict[str, Any]]:
    selector = f"app.kubernetes.io/component={component}"
    found: list[dict[str, Any]] = json.loads(
        cluster.kubectl("get", "pods", "-n", SYSTEM_NAMESPACE, "-l", selector, "-o", "json")
    )["items"]
    return found


def _processes_of(pod_uid: str) -> Iterator[int]:
    """Host pids of a pod's processes: the pod's uid is in the path of their cgroup."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if pod_uid in (entry / "cgroup").read_text():
                    yield int(entry.name)


def sigkill(cluster: Cluster, component: str) -> int:
    """SIGKILL every process of the component's pods, then have fresh pods at once (no crash-loop back-off).

    Returns how many processes died.
    """
    killed = 0
    for pod in pods(cluster, component):
        for pid in _processes_of(pod["metadata"]["uid"]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        cluster.kubectl(
            "delete",
            "pod",
            pod["metadata"]["name"],
            "-n",
            SYSTEM_NAMESPACE,
            "--force",
            "--grace-period=0",
            "--wait=false",
        )
    return killed


def wait_ready(cluster: Cluster, component: str) -> None:
    cluster.kubectl("rollout", "status", f"deployment/bascule-{component}", "-n", SYSTEM_NAMESPACE, "--timeout=120s")


class EventWatcher:
    """Follows the workers' audit events and acts on the first one that matches, within milliseconds."""

    def __init__(self, cluster: Cluster, wanted: Callable[[dict[str, Any]], bool], act: Callable[[], object]) -> None:
        self._cluster, self._wanted, self._act = cluster, wanted, act
        self.matched = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> EventWatcher:
        name = pods(self._cluster, "worker")[0]["metadata"]["name"]
        command = ["kubectl", "logs", "-f", "--since=1s", "-n", SYSTEM_NAMESPACE, name]
        environment = os.environ | {"KUBECONFIG": str(self._cluster.kubeconfig)}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        self._thread.join(timeout=5)
        if self._process and self._process.stdout:
            self._process.stdout.close()

    def _follow(self) -> None:
        if self._process is None or self._process.stdout is None:
            return
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("specversion") and self._wanted(event):
                    self._act()
                    self.matched.set()
                    return


def audit_entries(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Entries of the API server's audit log, those of rotated files included."""
    for path in sorted(cluster.audit_log.parent.glob(f"{cluster.audit_log.stem}*{cluster.audit_log.suffix}")):
        for line in path.read_text().splitlines():
            with contextlib.suppress(ValueError):
                yield json.loads(line)


def jobs_created(cluster: Cluster, namespace: str) -> list[str]:
    """Names of the Jobs that were really created in the namespace, counted in the audit log."""
    return [
        entry["objectRef"]["name"]
        for entry in audit_entries(cluster)
        if entry.get("verb") == "create"
        and entry.get("objectRef", {}).get("resource") == "jobs"
        and entry["objectRef"].get("namespace") == namespace
        and entry.get("stage") == "ResponseComplete"
        and entry.get("responseStatus", {}).get("code") == 201
    ]
