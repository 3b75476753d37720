"""Velero as its own installer installs it, with the cluster's object store as its place for backups.

Installed by who asks for it, not by `up`. Volumes are not backed up: there is no node agent and no snapshotter here.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from hack.cluster import lifecycle, machines, object_store
from hack.cluster.binaries import velero_folder
from hack.cluster.console import say
from hack.cluster.object_store import ObjectStore
from hack.cluster.paths import locked
from hack.cluster.shell import ClusterError, run
from hack.cluster.sites import Site, kubectl

NAMESPACE = "velero"
_BUCKET = "velero"
_IMAGE = "velero"
_PATIENCE = 300.0


@dataclass(frozen=True)
class Velero:
    """Velero in a cluster."""

    store: ObjectStore
    """The bucket that backups are in."""
    namespace: str = NAMESPACE
    """Where its server runs, and where Backups, Schedules and Restores are made."""
    location: str = "default"
    """The name of the BackupStorageLocation, which is Velero's default."""


def add(made: Site) -> Velero:
    """Install Velero unless it is there, and wait until its place for backups is available. Raises ClusterError."""
    store = object_store.add(made, _BUCKET)
    with locked(made.paths.state / "velero.lock", "Velero"):
        image = lifecycle.extra_image(made, _IMAGE)
        if _installed_image(made) != image:
            say(f"installing Velero in cluster {made.paths.name}")
            _install(made, store, image)
        _wait_until_available(made, Velero(store))
    return Velero(store)


def _installed_image(made: Site) -> str:
    query = "jsonpath={.spec.template.spec.containers[0].image}"
    options = ("--namespace", NAMESPACE, "--ignore-not-found", "--output", query)
    return kubectl(made.paths, "get", "deployment", "velero", *options).strip()


def _install(made: Site, store: ObjectStore, image: str) -> None:
    credentials = made.paths.config / "velero-credentials"
    machines.write(credentials, _credentials(store))
    location = {"region": store.region, "s3ForcePathStyle": "true", "s3Url": store.endpoint}
    resources = {"cpu-request": "10m", "cpu-limit": "0", "mem-request": "64Mi", "mem-limit": "512Mi"}
    options = {
        "provider": "aws",
        "image": image,
        "plugins": image,
        "bucket": store.bucket,
        "secret-file": str(credentials),
        "backup-location-config": _pairs(location),
        "cacert": str(store.ca_file),
        "use-volume-snapshots": "false",
        **{f"velero-pod-{name}": value for name, value in resources.items()},
    }
    argv = [
        str(velero_folder() / "velero"),
        "install",
        "--apply",
        *(f"--{name}={is_}" for name, is_ in options.items()),
    ]
    run(argv, env={**os.environ, "KUBECONFIG": str(made.paths.kubeconfig)}, timeout=_PATIENCE)


def _credentials(store: ObjectStore) -> str:
    return f"[default]\naws_access_key_id={store.access_key}\naws_secret_access_key={store.secret_key}\n"


def _pairs(values: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in values.items())


def _wait_until_available(made: Site, velero: Velero) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not (_is_rolled_out(made) and _phase(made, velero) == "Available"):
        if time.monotonic() > deadline:
            phase = _phase(made, velero) or "unknown"
            why = f"`kubectl -n {NAMESPACE} logs deployment/velero` may say why"
            raise ClusterError(f"Velero is not ready after {_PATIENCE:.0f} s: its place for backups is {phase}; {why}")
        time.sleep(0.5)


def _is_rolled_out(made: Site) -> bool:
    found = json.loads(kubectl(made.paths, "get", "deployment", "velero", "--namespace", NAMESPACE, "--output=json"))
    status = found.get("status", {})
    current = status.get("observedGeneration") == found["metadata"]["generation"]
    counts = [status.get(name) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return bool(current) and counts == [1, 1, 1]


def _phase(made: Site, velero: Velero) -> str:
    query = ("--namespace", velero.namespace, "--ignore-not-found", "--output=jsonpath={.status.phase}")
    return kubectl(made.paths, "get", "backupstoragelocations.velero.io", velero.location, *query).strip()
