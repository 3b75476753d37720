"""Debian packages: the few that the host needs, and where this machine gets Debian from."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.console import say
from hack.cluster.paths import cache_directory
from hack.cluster.shell import ClusterError, run, run_logged

# Program on PATH -> Debian package and what it is for. None of them brings a service that apt would start; etcd,
# containerd and the other servers are installed into root file systems of their own and never touch the host.
HOST_PROGRAMS: Mapping[str, tuple[str, str]] = {
    "debootstrap": ("debootstrap", "makes the root file systems of nodes and images"),
    "buildah": ("buildah", "builds the platform's images"),
    "skopeo": ("skopeo", "looks at images"),
    "git": ("git", "makes source repositories"),
    "dpkg-deb": ("dpkg", "makes the packages that nodes are patched with"),
    "ip": ("iproute2", "connects the nodes"),
    "unshare": ("util-linux", "gives each node namespaces of its own"),
    "setpriv": ("util-linux", "ends helpers together with their parent"),
    "hostname": ("hostname", "names the nodes"),
}
SUITE = "bookworm"
_POLICY = Path("/usr/sbin/policy-rc.d")
_BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_SOURCES = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d"))


@dataclass(frozen=True)
class AptSource:
    """One repository that apt on this machine uses."""

    address: str
    suite: str


def ensure_host_packages() -> None:
    """Install the missing packages of HOST_PROGRAMS. Raises ClusterError when this process may not."""
    if os.geteuid() != 0:
        raise ClusterError("the cluster needs root: it makes namespaces, mounts and network interfaces; try sudo")
    ensure_programs(HOST_PROGRAMS)


def ensure_programs(programs: Mapping[str, tuple[str, str]]) -> None:
    """Install the packages of programs that are not on PATH; services that they bring are not started.

    `programs` maps a program to its package and what it is for. Raises ClusterError.
    """
    missing = {package: why for program, (package, why) in programs.items() if not shutil.which(program)}
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise ClusterError(f"there is no apt-get on this machine; install these and try again: {', '.join(missing)}")
    for package, why in missing.items():
        say(f"the Debian package {package} is missing; it {why}")
    log = cache_directory() / "logs" / "apt.log"
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run_logged(["apt-get", "update"], what="apt-get update", log=log, env=env)
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    with _no_services():
        run_logged(install, what=f"apt-get install {' '.join(missing)}", log=log, env=env)


@contextmanager
def _no_services() -> Iterator[None]:
    """Debian's way of saying that packages must not start what they bring."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)


def ensure_kernel() -> None:
    """Have the one kernel module loaded that nothing loads by itself; others come with their first use."""
    if _BRIDGE_FILTER.exists():
        return
    say("loading the kernel module br_netfilter: Services between pods of one node need it")
    try:
        run(["modprobe", "br_netfilter"])
    except ClusterError as error:
        raise ClusterError(f"load the kernel module br_netfilter and try again: {error}") from error


def debian_mirror() -> str:
    """Return the address of the repository that this machine installs Debian from."""
    if chosen := os.environ.get("BASCULE_DEBIAN_MIRROR"):
        return chosen
    for source in apt_sources():
        if source.suite == SUITE:
            return source.address
    raise ClusterError(f"the apt sources of this machine name no Debian {SUITE}: set BASCULE_DEBIAN_MIRROR to one")


def apt_sources() -> list[AptSource]:
    """Return the Debian repositories for SUITE and its updates that this machine is set up with."""
    found: list[AptSource] = []
    for place in _SOURCES:
        files = [place] if place.is_file() else sorted(place.glob("*"))
        for file in files:
            if file.suffix == ".list":
                found += parse_one_line(file.read_text())
            elif file.suffix == ".sources":
                found += parse_deb822(file.read_text())
    return [source for source in found if source.suite in {SUITE, f"{SUITE}-updates", f"{SUITE}-security"}]


def parse_one_line(text: str) -> list[AptSource]:
    """Read sources written as `deb [options] ADDRESS SUITE COMPONENT…`, those with the component main."""
    found = []
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if not words or words[0] != "deb":
            continue
        if words[1].startswith("["):
            words = words[next(i for i, word in enumerate(words) if word.endswith("]")) :]
        if "main" in words[3:]:
            found.append(AptSource(words[1].rstrip("/"), words[2]))
    return found


def parse_deb822(text: str) -> list[AptSource]:
    """Read sources written as stanzas of `Types`, `URIs`, `Suites` and `Components`, those with the component main."""
    found = []
    for stanza in text.split("\n\n"):
        pairs = [line.split(":", 1) for line in stanza.splitlines() if ":" in line and line[0] not in "# \t"]
        fields = {key.strip().lower(): value.split() for key, value in pairs}
        if "deb" in fields.get("types", []) and "main" in fields.get("components", []):
            addresses = [address.rstrip("/") for address in fields.get("uris", [])]
            found += [AptSource(address, suite) for address in addresses for suite in fields.get("suites", [])]
    return found
