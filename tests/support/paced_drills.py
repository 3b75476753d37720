"""Drills on a real cluster that stay in a step for as long as a test wants: a web server, and a restore that sleeps."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bascule_api import names
from hack import installation
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support import live_drills
from tests.support.builds import Applied, Body, steps_of
from tests.support.drill_manifests import config_map, deployment, service

PACED = "paced-restore"
LONG = 3600
STAYS: dict[str, dict[str, Any]] = {
    "apply": {"ready_after": LONG},
    "restore": {"restore_seconds": LONG},
    "probe-web": {"probe_after": LONG},
}
"""How a drill is made to stay in a step."""
BEGUN = ("Running", "Succeeded")
_PACED = """
import datetime, json, os, pathlib, time
point = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
time.sleep(int(os.environ["PARAM_SECONDS"]))
told = {"results": {"recoveryPoint": point.strftime("%Y-%m-%dT%H:%M:%SZ")}, "message": "slept"}
pathlib.Path("/dev/termination-log").write_text(json.dumps(told))
"""


def make_procedure(cluster: Cluster) -> None:
    """A restore that restores nothing, and takes its time."""
    template = {"container": {"image": cluster.images["worker"], "command": ["python3", "-c", _PACED]}}
    spec = {
        "uses": ["DRDrill/restore"],
        "parameters": [{"name": "seconds", "type": "integer", "default": 0}],
        "results": [{"name": "recoveryPoint"}],
        "timeout": "2h",
        "template": template,
    }
    header = {"apiVersion": names.API_VERSION, "kind": "Procedure", "metadata": {"name": PACED}}
    installation.apply(cluster, header | {"spec": spec})


@dataclass(frozen=True)
class PacedDrill(Applied):
    """A drill that takes as many seconds in a step as it is told to."""

    site: Cluster
    tenant: TenantHandle
    ready_after: int = 0
    """Seconds until its web server is ready."""
    restore_seconds: int = 0
    probe_after: int = 0
    """Seconds until its web server answers on the port that the probe asks at."""
    spec: Body = field(default_factory=dict)
    called: str = field(default_factory=lambda: f"drill-{secrets.token_hex(3)}")

    @property
    def cluster(self) -> Cluster:
        return self.site

    @property
    def arguments(self) -> list[str]:
        return ["drdrill", self.called, "-n", self.tenant.namespace]

    def apply(self) -> PacedDrill:
        data = config_map(
            f"{self.called}-environment", **{"all.yaml": "\n---\n".join(map(json.dumps, self._manifests))}
        )
        data["metadata"]["namespace"] = self.tenant.namespace
        installation.apply(self.site, data, self._body)
        return self

    @property
    def _manifests(self) -> list[Body]:
        serve = f"sleep {self.probe_after}; exec python3 -m http.server 8080 --directory /tmp"
        container: dict[str, Any] = {
            "name": "web",
            "image": self.site.images["worker"],
            "command": ["sh", "-c", serve],
            "readinessProbe": {"exec": {"command": ["true"]}, "initialDelaySeconds": self.ready_after},
        }
        return [service("web", ports=[{"port": 8080}]), deployment("web", pod={"containers": [container]})]

    @property
    def _body(self) -> Body:
        environment = {"manifests": {"configMap": {"name": f"{self.called}-environment"}}, "timeout": "2h"}
        probe = {"name": "web", "tcp": {"service": "web", "port": 8080}, "timeout": "2h", "interval": "1s"}
        spec = {
            "environment": environment,
            "restore": {"procedure": PACED, "parameters": {"seconds": self.restore_seconds}},
            "probes": [probe],
        }
        header = {"apiVersion": names.API_VERSION, "kind": "DRDrill"}
        return header | {
            "metadata": {"name": self.called, "namespace": self.tenant.namespace},
            "spec": spec | self.spec,
        }

    @property
    def spaces(self) -> list[str]:
        """Namespaces of the tenant's drills."""
        selector = f"{names.LABEL_DRILL_OF}={self.tenant.name}"
        return self.site.kubectl("get", "namespaces", "-l", selector, "-o", "name").split()

    @property
    def copies(self) -> list[str]:
        """What runs of drills keep among the tenant's steps."""
        found = self.site.kubectl(
            *("get", "jobs,secrets,configmaps", "-n", names.steps_namespace(self.tenant.name)),
            *("-l", names.LABEL_RUN, "-o", "name"),
        )
        return found.split()

    def assert_nothing_left(self) -> None:
        for _ in range(120):
            if not (left := [*self.spaces, *self.copies]):
                return
            time.sleep(1)
        raise AssertionError(f"left of the drill: {left}")


@contextmanager
def rehearsing(cluster: Cluster) -> Iterator[TenantHandle]:
    """A tenant that may rehearse disasters, with a restore that takes its time."""
    make_procedure(cluster)
    tenant = installation.make_tenant(cluster, f"drills-{secrets.token_hex(3)}")
    live_drills.enable_drills(cluster, tenant)
    yield tenant
    cluster.kubectl("delete", "drdrills", "--all", "-n", tenant.namespace, "--wait=false")


def in_step(cluster: Cluster, owner: TenantHandle, step: str, **more: Any) -> PacedDrill:
    """A drill that is in the step, or was a moment ago."""
    drill = PacedDrill(cluster, owner, **STAYS.get(step, {}) | more).apply()
    drill.until(lambda body: steps_of(body).get(step) in BEGUN, f"in {step}", seconds=300)
    return drill
