"""The programs that make a machine a node."""

import sys
from pathlib import Path

from hack.cluster.addresses import NodeAddress
from hack.cluster.component import Component, ProgramProbe
from hack.cluster.machines import BIN, NODE_ETC
from hack.cluster.network_policies.rules import TABLE
from hack.cluster.paths import REPOSITORY, Paths


def node_components(paths: Paths, node: NodeAddress) -> list[Component]:
    """Return what runs on a node."""
    return [
        Component(
            f"{node.name}-containerd",
            node.name,
            ("/usr/bin/containerd",),
            ProgramProbe(("/usr/bin/ctr", "version")),
        ),
        _network_policies(paths, node),
        Component(
            f"{node.name}-kubelet",
            node.name,
            (
                f"{BIN}/kubelet",
                f"--config={NODE_ETC}/kubelet.json",
                f"--kubeconfig={NODE_ETC}/{node.name}.kubeconfig",
                f"--hostname-override={node.name}",
                f"--node-ip={node.address}",
                f"--node-labels=topology.kubernetes.io/zone={node.zone}",
                "--root-dir=/var/lib/kubelet",
            ),
            ProgramProbe(("/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/10248")),
            restarts=True,
        ),
        Component(
            f"{node.name}-kube-proxy",
            node.name,
            (f"{BIN}/kube-proxy", f"--config={NODE_ETC}/kube-proxy.json"),
        ),
    ]


def _network_policies(paths: Paths, node: NodeAddress) -> Component:
    """Enforce the cluster's NetworkPolicies on the node. There is no Python on it, so this runs beside it."""
    argv = (
        sys.executable,
        "-m",
        "hack.cluster.network_policies",
        f"--kubeconfig={policies_kubeconfig(paths)}",
        f"--node={node.name}",
        f"--machine={paths.machine(node.name) / 'pid'}",
    )
    # Its table is there: what every pod may do is decided.
    probe = ProgramProbe(("/usr/sbin/nft", "list", "table", "inet", TABLE))
    env = {"PYTHONPATH": str(REPOSITORY)}
    return Component(f"{node.name}-network-policies", node.name, argv, probe, on_host=True, env=env)


def policies_kubeconfig(paths: Paths) -> Path:
    """Where the login of what enforces NetworkPolicies lies. It reaches the API server from the host."""
    return paths.config / "network-policies.kubeconfig"
