"""Running a command of the host inside a cluster's network, with the cluster's names, authority and programs."""

import os
from collections.abc import Mapping, Sequence

from hack.cluster.binaries import binaries, temporal
from hack.cluster.machines import CONTROL_MACHINE, machine_pid
from hack.cluster.sites import Site
from hack.cluster.temporal_access import write_client_files
from hack.cluster.temporal_server import TemporalKind

# The mount lives in a namespace of the command alone: the host's /etc/hosts stays as it is.
_JOIN_AND_MOUNT = """
hosts=$1; shift
while [ "$1" != -- ]; do echo $$ >"$1" || exit 1; shift; done; shift
mount --bind "$hosts" /etc/hosts
exec "$@"
"""


def inside(made: Site, argv: Sequence[str]) -> list[str]:
    """Return the command line that runs `argv` inside the cluster's network. It ends with the cluster."""
    network = f"--net=/proc/{machine_pid(made.paths, CONTROL_MACHINE)}/ns/net"
    entrances = made.group.entrances(CONTROL_MACHINE)
    join = ["unshare", "--mount", "sh", "-c", _JOIN_AND_MOUNT, "inside", str(made.paths.hosts), *entrances, "--"]
    return ["nsenter", network, *join, *argv]


def environment(made: Site) -> dict[str, str]:
    """Return the variables that commands inside or about the cluster need."""
    trust = str(made.paths.trust)
    return {
        "BASCULE_CLUSTER_NAME": made.paths.name,
        "KUBECONFIG": str(made.paths.kubeconfig),
        "PATH": f"{binaries()}:{temporal()}:{os.environ.get('PATH', '')}",
        "TEMPORAL_ADDRESS": f"{made.host}:7233",
        # Go and OpenSSL, git, curl and Python's requests each have a variable of their own.
        "SSL_CERT_FILE": trust,
        "GIT_SSL_CAINFO": trust,
        "CURL_CA_BUNDLE": trust,
        "REQUESTS_CA_BUNDLE": trust,
        **(write_client_files(made.paths) if made.record.temporal is TemporalKind.POSTGRES else {}),
    }


def full_environment(made: Site, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment with the cluster's variables over it, and `more` over both."""
    # A folder of authorities would be read in addition to the file, or in its place.
    kept = {key: value for key, value in os.environ.items() if key != "SSL_CERT_DIR"}
    return {**kept, **environment(made), **(more or {})}
