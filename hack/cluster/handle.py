"""What tests and the demo use: a cluster as a value, and the functions that make and remove one."""

import json
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hack.cluster import debian_archive, fake_nodes, lifecycle, object_store, sources, temporal_access, velero, volumes
from hack.cluster.addresses import (
    GIT_HOST,
    PRIVATE_REGISTRY,
    REGISTRY,
    TEMPORAL_HOST,
    TEMPORAL_PORT,
    TEMPORAL_UI_PORT,
)
from hack.cluster.binaries import binaries
from hack.cluster.debian_archive import DebianPackage
from hack.cluster.inside import environment, full_environment, inside
from hack.cluster.machines import CONTROL_MACHINE, enter
from hack.cluster.object_store import ObjectStore
from hack.cluster.processes import PATH, running_pid
from hack.cluster.shell import ClusterError
from hack.cluster.sites import Site, find_site
from hack.cluster.temporal_server import TemporalKind
from hack.cluster.velero import Velero


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Components, for `stop`, `start`, `restart` and `kill`: etcd, apiserver, controller-manager, scheduler, coredns,
    kube-proxy (the control plane's), registry, private-registry, git, temporal, and once they were added object-store
    and local-path-provisioner; on each node nodeN-containerd, nodeN-kubelet, nodeN-kube-proxy, nodeN-network-policies
    (without which no pod starts there); and node1, node2 themselves: a node that is stopped is off, with all its pods.
    """

    name: str
    state: Path
    """The folder of everything that belongs to this cluster."""
    kubeconfig: Path
    """The administrator's kubeconfig; it works on the host and in commands that `exec` runs."""
    ca_file: Path
    """The private certificate authority that signed every server's certificate."""
    host_address: str
    """Where the host reaches the cluster's servers: API 6443, registry 5000 and 5001, git 443, Temporal 7233, 8233,
    object store 9000."""
    images: Mapping[str, str] = field(repr=False)
    """The platform's images by name, as references by digest: base, pause, operator, worker, builder, test-runner,
    packer."""
    audit_log: Path
    """The API server's audit log: one line per write, at level Metadata."""
    temporal: TemporalKind = TemporalKind.DEV
    """Which Temporal it has."""
    registry: str = REGISTRY
    """The registry's name, the same for pods, nodes and commands of `exec`."""
    private_registry: str = PRIVATE_REGISTRY
    """A second registry, which asks for a password (addresses.TENANT_USER, addresses.TENANT_PASSWORD)."""
    git_url: str = f"https://{GIT_HOST}/"
    """The git server; below private/ it asks for the same password."""
    temporal_in_cluster: str = f"{TEMPORAL_HOST}:{TEMPORAL_PORT}"
    """Temporal's address for pods and for commands of `exec`."""

    @property
    def temporal_address(self) -> str:
        """Temporal's address as the host reaches it."""
        return f"{self.host_address}:{TEMPORAL_PORT}"

    @property
    def temporal_ui(self) -> str:
        """The address of Temporal's web interface, for a browser on the host; empty where there is none."""
        return f"http://{self.host_address}:{TEMPORAL_UI_PORT}" if self.temporal is TemporalKind.DEV else ""

    def temporal_credentials(self, subject: str, permissions: Sequence[str]) -> dict[str, str]:
        """What a client of this cluster's Temporal has to show, as the content of a Secret; empty: nothing.

        `permissions` as Temporal's default claim mapper reads them: `NAMESPACE:read`, `NAMESPACE:write`, ….
        """
        if self.temporal is TemporalKind.DEV:
            return {}
        return temporal_access.credentials(self._site().paths, subject, permissions)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make kubectl, cosign, skopeo, git and temporal talk to this cluster."""
        return environment(self._site())

    def exec(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,  # noqa: A002 - as subprocess.run calls it
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float | None = None,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the host inside the cluster's network, where its names resolve and its CA is trusted.

        `env` is added to this process's environment. Otherwise like subprocess.run with text and output captured:
        raises CalledProcessError when it fails and `check` is set, TimeoutExpired when it takes too long.
        """
        command, environment = self.inside(argv, env)
        return _run(command, environment, input, check, cwd, timeout)

    def inside(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> tuple[list[str], dict[str, str]]:
        """Return what to execute, and with which environment, to run a command inside the cluster's network."""
        site = self._site()
        return inside(site, argv), full_environment(site, env)

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess.run calls it
        """Run kubectl as administrator and return what it prints. Raises CalledProcessError when it fails."""
        site = self._site()
        argv = [str(binaries() / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        return _run(argv, full_environment(site), input, check=True).stdout

    def make_git_repository(self, name: str, directory: Path, *, private: bool = False) -> str:
        """Publish a folder as the next commit of a repository's branch main, and return the repository's address."""
        return sources.make_git_repository(self._site().paths, name, directory, private=private)

    def publish_package(self, package: DebianPackage, *, security: bool = False) -> None:
        """Put a package into the archive that every node's apt reads; `security`: as an update of that kind."""
        debian_archive.publish(self._site().paths, package, security=security)

    def withdraw_package(self, name: str, version: str) -> None:
        """Take a version of a package out of the archive."""
        debian_archive.withdraw(self._site().paths, name, version)

    def install_package(self, node: str, package: DebianPackage) -> None:
        """Publish a package and install it in a node's root file system, whatever version is there."""
        file = debian_archive.publish(self._site().paths, package, security=False)
        # The node's folder for containers is one that the host may write to as well.
        shutil.copy(file, self.state / "machines" / node / "containerd" / file.name)
        # dpkg waits for nobody who holds its lock; what other tests run on the node is short.
        install = f"until dpkg --install --force-unsafe-io /var/lib/containerd/{file.name}; do sleep 1; done"
        self.on_node(node, ["timeout", "120", "sh", "-c", install], check=True)

    def package_version(self, node: str, name: str) -> str:
        """Return the version of a package that is installed on a node, and `(broken)` behind it if it is not wholly."""
        query = ["dpkg-query", "--show", "--showformat=${Version} ${db:Status-Status}", name]
        version, _, state = self.on_node(node, query).stdout.partition(" ")
        return version if state in ("installed", "") else f"{version} (broken)"

    def add_fake_nodes(
        self,
        count: int,
        labels: Mapping[str, str] | None = None,
        zones: Sequence[str] = ("zone-a", "zone-b", "zone-c"),
        *,
        prefix: str = "fake",
        job_seconds: float = 0,
    ) -> list[str]:
        """Make nodes of KWOK's, spread over the zones, and wait until they are Ready. Returns their names.

        They are tainted (kwok.TAINT). Pods on them run, those of Jobs for `job_seconds` (of all fake nodes); on nodes
        whose prefix begins with `broken` Jobs fail. The first time KWOK is built, in some minutes.
        """
        return fake_nodes.add(self._site(), count, labels or {}, zones, prefix, job_seconds)

    def remove_fake_nodes(self, prefix: str = "") -> None:
        """Remove the fake nodes of a prefix, or all; with the last of them KWOK ends."""
        fake_nodes.remove(self._site(), prefix)

    def add_object_store(self, bucket: str = "backups") -> ObjectStore:
        """Start the S3 object store unless it runs, make the bucket unless it is there, and return it.

        A bucket's name has 3 to 63 characters. The first time on a machine the server is built, in a minute or two.
        """
        return object_store.add(self._site(), bucket)

    def add_volumes(self) -> str:
        """Serve PersistentVolumeClaims from folders on the nodes' disks. Returns the StorageClass, the default one.

        A volume is made on the node of the first pod that wants it, and goes with its claim. Nothing limits its size.
        The first time on a machine the provisioner is built, in a minute or two.
        """
        return volumes.add(self._site())

    def add_velero(self) -> Velero:
        """Install Velero unless it is there, with the object store for its backups, and wait until both can be used.

        The first time on a machine it is built, in about five minutes.
        """
        return velero.add(self._site())

    def on_node(
        self, node: str, argv: Sequence[str], *, timeout: float = 180, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a node, in its root file system and namespaces. Like `exec` otherwise."""
        return _run([*enter(self._site().paths, node), *argv], {"PATH": PATH}, None, check, timeout=timeout)

    def refresh_images(self) -> "Cluster":
        """Build the images whose content changed, publish them, and return the cluster with the new references."""
        lifecycle.refresh_images(self._site())
        return _handle(self._site())

    def extra_image(self, name: str) -> str:
        """Build and publish an image that only some tests ask for, such as ansible, inventory-host or
        postgres.

        Returns its reference by digest.
        """
        return lifecycle.extra_image(self._site(), name)

    def stop(self, component: str) -> None:
        """End a component in good order (the API server and nodes: at once). What is stopped already stays so."""
        lifecycle.stop_component(self._site(), component)

    def start(self, component: str) -> None:
        """Start a component and wait until it answers. What runs already goes on."""
        lifecycle.start_component(self._site(), component)

    def restart(self, component: str) -> None:
        """Stop and start a component."""
        self.stop(component)
        self.start(component)

    def reboot(self, node: str) -> None:
        """Switch a node off and on again, and wait until it is Ready with a new boot id.

        What a node asks for itself, by the command `reboot` in its root file system, happens without this.
        """
        lifecycle.reboot_node(self._site(), node)

    def kill(self, component: str) -> None:
        """End a component with SIGKILL, as a crash does."""
        lifecycle.stop_component(self._site(), component, signal.SIGKILL)

    def _site(self) -> Site:
        site = find_site(self.name)
        if site is None:
            raise ClusterError(f"there is no cluster {self.name} any more")
        return site


def up(name: str, temporal: TemporalKind | None = None) -> Cluster:
    """Make a cluster, or repair the one of that name, and wait until it is ready.

    `temporal`: which Temporal a new cluster gets. Raises ClusterError when an existing one has another.
    """
    return _handle(lifecycle.bring_up(name, temporal))


def down(name: str) -> None:
    """Remove a cluster with everything that belongs to it."""
    lifecycle.take_down(name)


def running(name: str) -> Cluster | None:
    """Return the cluster of that name if it was made to the end and is switched on."""
    site = find_site(name)
    if site is None or not site.record.complete or running_pid(site.paths, CONTROL_MACHINE) is None:
        return None
    return _handle(site)


def _run(
    argv: Sequence[str],
    env: Mapping[str, str],
    text: str | None,
    check: bool,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        argv, input=text, env=env, cwd=cwd, timeout=timeout, capture_output=True, text=True, check=False
    )
    if check and done.returncode != 0:
        error = subprocess.CalledProcessError(done.returncode, argv, done.stdout, done.stderr)
        # Python prints the command and the exit code only; a failed test has to show the reason.
        error.add_note(f"{done.stdout}{done.stderr}")
        raise error
    return done


def _handle(site: Site) -> Cluster:
    return Cluster(
        name=site.paths.name,
        state=site.paths.state,
        kubeconfig=site.paths.kubeconfig,
        ca_file=site.paths.pki / "ca.crt",
        host_address=site.host,
        images=json.loads(site.paths.images.read_text()),
        audit_log=site.paths.audit_log,
        temporal=site.record.temporal,
    )
