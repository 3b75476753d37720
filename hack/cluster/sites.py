"""A cluster as the tool works on it: its places, its processes' group, and what was decided for it."""

from dataclasses import dataclass

from hack.cluster.addresses import NODES
from hack.cluster.binaries import binaries
from hack.cluster.cgroups import ClusterGroup, cluster_group
from hack.cluster.component import Component
from hack.cluster.components import components
from hack.cluster.paths import Paths
from hack.cluster.record import Record, read_record
from hack.cluster.shell import ClusterError, run


@dataclass(frozen=True)
class Site:
    """One cluster as this module works on it."""

    paths: Paths
    group: ClusterGroup
    record: Record

    @property
    def host(self) -> str:
        """The cluster's address as the host sees it."""
        return self.record.host_link.cluster

    @property
    def components(self) -> dict[str, Component]:
        """All components by name, in the order in which they are started."""
        return components(self.paths, self.record.temporal)

    def component(self, name: str) -> Component:
        """Return a component. Raises ClusterError with the names there are."""
        known = self.components
        if name not in known:
            raise ClusterError(f"there is no component {name!r}; there are: {', '.join([*NODES, *known])}")
        return known[name]


def find_site(name: str) -> Site | None:
    """Return a cluster that was begun at some time, whatever its condition."""
    paths = Paths(name)
    record = read_record(paths)
    return Site(paths, cluster_group(name), record) if record else None


def kubectl(paths: Paths, *arguments: str, text_input: str | None = None) -> str:
    """Run kubectl as the cluster's administrator and return what it prints."""
    program = str(binaries() / "kubectl")
    return run([program, f"--kubeconfig={paths.kubeconfig}", *arguments], text_input=text_input)
