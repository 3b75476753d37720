"""Killing real parts: SIGKILL to the processes of a pod, as a lost machine would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
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


def _processes_of(pod: dict[str, Any]) -> Iterator[int]:
    """Host pids of a pod's processes: the path of their control group ends with the container's id."""
    statuses = pod.get("status", {}).get("containerStatuses", [])
    containers = [status["containerID"].rpartition("/")[2] for status in statuses if status.get("containerID")]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                groups = (entry / "cgroup").read_text()
                if any(container in groups for container in containers):
                    yield int(entry.name)


def sigkill(cluster: Cluster, component: str) -> int:
    """SIGKILL every process of the component's pods, then have fresh pods at once (no crash-loop back-off).

    Waits for a process to kill: a pod may just be starting. Returns how many died.
    """
    for _ in range(240):
        if killed := _sigkill_once(cluster, component):
            return killed
        time.sleep(0.5)
    raise AssertionError(f"the {component} had no process to kill for 120 s")


def sigkill_pod(cluster: Cluster, component: str, name: str) -> int:
    """SIGKILL every process of one pod, and have it replaced. Returns how many died."""
    return _sigkill_once(cluster, component, name)


def _sigkill_once(cluster: Cluster, component: str, only: str = "") -> int:
    killed = 0
    for pod in pods(cluster, component):
        if only and pod["metadata"]["name"] != only:
            continue
        for pid in _processes_of(pod):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        if killed:
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


def until_running(cluster: Cluster, namespace: str, part: str) -> None:
    """Wait until a pod runs in the namespace whose name has this part."""
    for _ in range(480):
        items = json.loads(cluster.kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]
        if any(part in pod["metadata"]["name"] and pod["status"].get("phase") == "Running" for pod in items):
            return
        time.sleep(0.5)
    raise AssertionError(f"no pod {part} ran in {namespace} for 240 s")


def let_go(cluster: Cluster, namespace: str) -> None:
    """Send SIGUSR1 to what runs in the namespace's pods, until those pods have ended."""
    chosen: set[str] = set()
    for _ in range(240):
        items = json.loads(cluster.kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]
        at_work = {pod["metadata"]["name"]: pod for pod in items if pod["status"].get("phase") == "Running"}
        chosen = chosen or set(at_work)
        if chosen and not chosen & at_work.keys():
            return
        for name in chosen & at_work.keys():
            for pid in _processes_of(at_work[name]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGUSR1)
        time.sleep(0.5)
    raise AssertionError(f"pods did not go on in 120 s: {sorted(chosen)}")


def wait_ready(cluster: Cluster, component: str) -> None:
    cluster.kubectl("rollout", "status", f"deployment/bascule-{component}", "-n", SYSTEM_NAMESPACE, "--timeout=120s")


class EventWatcher:
    """Follows the workers' audit events and acts on the first one that matches, within milliseconds."""

    def __init__(self, cluster: Cluster, wanted: Callable[[dict[str, Any]], bool], act: Callable[[], object]) -> None:
        self._cluster, self._wanted, self._act = cluster, wanted, act
        self.matched = threading.Event()
        self._ended = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> EventWatcher:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        if self._process:
            self._process.kill()
        self._thread.join(timeout=10)

    def _follow(self) -> None:
        # A follower can end early: the pod was replaced, or the node has no file watches left. Then there is another.
        while not (self.matched.is_set() or self._ended.is_set()):
            with self._reader() as self._process:
                for line in self._process.stdout or ():
                    if self._matches(line):
                        self._act()
                        self.matched.set()
                        self._process.kill()
                        return
            time.sleep(0.1)

    def _reader(self) -> subprocess.Popen[str]:
        names = [pod["metadata"]["name"] for pod in pods(self._cluster, "worker")]
        command = ["kubectl", "logs", "-f", "--since=3s", "-n", SYSTEM_NAMESPACE, *names[:1]]
        environment = os.environ | self._cluster.environment
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)

    def _matches(self, line: str) -> bool:
        try:
            event = json.loads(line)
        except ValueError:
            return False
        return isinstance(event, dict) and "specversion" in event and self._wanted(event)


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
