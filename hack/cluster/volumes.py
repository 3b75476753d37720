"""Volumes for PersistentVolumeClaims: folders on the nodes' disks, by Rancher's local-path-provisioner.

Started by who asks for it, not by `up`. A volume belongs to one node, and its size is not watched.
"""

import shutil
from pathlib import Path

from hack.cluster import lifecycle
from hack.cluster.binaries import volumes_folder
from hack.cluster.components import volumes_program
from hack.cluster.paths import locked
from hack.cluster.sites import Site, kubectl

STORAGE_CLASS = "local-path"
_COMPONENT = "local-path-provisioner"
_MANIFESTS = Path(__file__).parent / "volumes.yaml"


def add(made: Site) -> str:
    """Serve claims unless that is done already. Returns the StorageClass, which is the default. Raises ClusterError."""
    with locked(made.paths.state / "volumes.lock", "the volumes"):
        kubectl(made.paths, "apply", "--server-side", "--force-conflicts", "--filename", str(_MANIFESTS))
        program = volumes_program(made.paths)
        if not program.exists():
            # The control plane's machine sees the cluster's state, and not the cache.
            program.parent.mkdir(parents=True, exist_ok=True)
            partial = program.with_suffix(".partial")
            shutil.copy(volumes_folder() / program.name, partial)
            partial.rename(program)
        lifecycle.start_component(made, _COMPONENT)
    return STORAGE_CLASS
