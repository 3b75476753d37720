"""Which kind of cluster is asked for: our own, which needs no container engine, or one of kind's."""

import shutil
import subprocess

from hack.cluster.shell import ClusterError

OWN, KIND = "own", "kind"
_SECONDS = 15


def check_engine(wanted: str) -> None:
    """Raises ClusterError unless clusters of this kind can be made here; the message names what is missing."""
    if wanted == OWN:
        return
    if wanted != KIND:
        raise ClusterError(f"CLUSTER={wanted} is unknown: {OWN} (the default) or {KIND}")
    if shutil.which("docker") is None:
        raise ClusterError(f"CLUSTER={KIND} needs a Docker engine, and there is no docker command; {_OWN_NEEDS_NONE}")
    try:
        answer = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise ClusterError(f"CLUSTER={KIND}: the Docker engine does not answer in {_SECONDS} s") from None
    if answer.returncode != 0:
        said = " ".join(answer.stderr.split())[:300]
        raise ClusterError(f"CLUSTER={KIND} needs a Docker engine, and none answers ({said}); {_OWN_NEEDS_NONE}")
    raise ClusterError(
        f"CLUSTER={KIND}: the engine answers, but whole clusters are made of our own parts only so far; "
        f"tests/kind checks the CRDs on {KIND}. {_OWN_NEEDS_NONE}"
    )


_OWN_NEEDS_NONE = "without CLUSTER, `make up` makes a cluster that needs no engine"
