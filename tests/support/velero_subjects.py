"""The port `Velero` on the fake and on a real Velero, with what tests do as its administrator."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field, replace

from bascule_workers.dr_drills import DrillRequest
from bascule_workers.plans.velero import LABEL_SCHEDULE, RESOURCES, Backup, backup_of
from bascule_workers.ports.velero import Velero
from tests.support.fake_velero import FakeVelero
from tests.support.velero import VeleroSite


def drill_request(number: int = 1) -> DrillRequest:
    """What an activity of a drill begins with; the run is a new one."""
    uid = secrets.token_hex(8)
    run = {"kind": "DRDrill", "namespace": "acme-dev", "name": "shop", "uid": uid, "number": number}
    return DrillRequest.model_validate(
        {
            "run": run | {"revision": "r", "tenant": "acme"},
            "tenant": {"name": "acme", "stepsNamespace": "bascule-steps-acme", "serviceAccount": "bascule-step"},
            "step": "restore",
            "namespace": f"bascule-drill-{secrets.token_hex(10)}",
        }
    )


@dataclass
class FakeSite:
    port: FakeVelero
    clock: int = 1_000

    async def workload(self) -> str:
        return f"live-{secrets.token_hex(4)}"

    async def space(self, namespace: str) -> None:
        """The drill's namespace."""

    async def back_up(self, namespace: str, schedule: str = "", *, fails: bool = False) -> Backup:
        self.clock += 10
        backup = Backup(f"b-{secrets.token_hex(4)}", (namespace,), "Completed", self.clock)
        if fails:
            backup = replace(backup, phase="FailedValidation", started=0)
        return self.port.put(backup, schedule)

    def items(self, namespace: str) -> set[str] | None:
        """What was restored; None: it cannot be seen."""

    async def close(self) -> None: ...


@dataclass
class RealSite:
    port: Velero
    site: VeleroSite
    made: list[str] = field(default_factory=list)
    """Namespaces."""
    backups: list[str] = field(default_factory=list)

    async def workload(self) -> str:
        name = f"live-{secrets.token_hex(4)}"
        self.made.append(name)
        await asyncio.to_thread(self.site.workload, name)
        return name

    async def space(self, namespace: str) -> None:
        self.made.append(namespace)
        await asyncio.to_thread(self.site.cluster.kubectl, "create", "namespace", namespace)

    async def back_up(self, namespace: str, schedule: str = "", *, fails: bool = False) -> Backup:
        name = f"b-{secrets.token_hex(4)}"
        self.backups.append(name)
        labels = {LABEL_SCHEDULE: schedule} if schedule else {}
        spec = {"includedNamespaces": [namespace], "snapshotVolumes": False, "ttl": "1h0m0s"}
        if fails:
            spec["storageLocation"] = "nowhere"
        await asyncio.to_thread(self.site.make, "Backup", name, spec, labels)
        return backup_of(await asyncio.to_thread(self.site.over, "Backup", name))

    def items(self, namespace: str) -> set[str] | None:
        """Kinds and names of what is there, but for what every namespace has."""
        kinds = ",".join((*RESOURCES, "roles", "rolebindings", "jobs", "persistentvolumeclaims"))
        found = self.site.cluster.kubectl("get", kinds, "-n", namespace, "-o", "name").split()
        return set(found) - {"configmap/kube-root-ca.crt", "serviceaccount/default"}

    async def close(self) -> None:
        options = ("--ignore-not-found", "--wait=false")
        if self.made:
            await asyncio.to_thread(self.site.cluster.kubectl, "delete", "namespace", *self.made, *options)
        for name in self.backups:
            await asyncio.to_thread(self.site.remove, "Backup", name)


Site = FakeSite | RealSite
