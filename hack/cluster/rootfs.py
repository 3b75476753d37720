"""Root file systems made of Debian packages: the base of all images, and what the cluster's machines run on."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from hack.cluster.packages import SUITE, apt_sources, debian_mirror
from hack.cluster.paths import cache_directory, locked
from hack.cluster.shell import run_logged

_BASE_PACKAGES = ("ca-certificates",)
_MACHINE_PACKAGES = (
    "busybox-static",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "docker-registry",
    "etcd-server",
    "git",
    "iproute2",
    "lighttpd",
    "lighttpd-mod-openssl",
    "mount",
    "nftables",
    "procps",
    "runc",
    "tini",
)
_DATABASE_PACKAGES = ("postgresql",)
# Services must not start while their packages are installed: this tree is no running system.
_INSTALL = """
set -eu
tree=$1; shift
export DEBIAN_FRONTEND=noninteractive
mount -t proc proc "$tree/proc"
printf '#!/bin/sh\\nexit 101\\n' >"$tree/usr/sbin/policy-rc.d"
chmod 755 "$tree/usr/sbin/policy-rc.d"
chroot "$tree" apt-get update
chroot "$tree" apt-get install --yes --no-install-recommends "$@"
chroot "$tree" apt-get clean
rm "$tree/usr/sbin/policy-rc.d"
"""


def base_tree() -> Path:
    """Return a minimal Debian. debootstrap makes it when the cache has none."""
    return _cached("base", [*_sources_list(), *_BASE_PACKAGES], _make_base)


def machine_tree() -> Path:
    """Return what nodes and control plane run on: the base with the servers' packages."""
    what = "installing containerd, etcd and the other servers into a tree of their own"
    return _larger("machine", base_tree(), _MACHINE_PACKAGES, what)


def database_tree() -> Path:
    """Return what a control plane with PostgreSQL runs on: the machines' tree and one server more."""
    return _larger("database", machine_tree(), _DATABASE_PACKAGES, "installing PostgreSQL into a tree of its own")


def _larger(kind: str, base: Path, packages: Sequence[str], what: str) -> Path:
    return _cached(kind, [base.name, *packages], lambda partial: _make_larger(partial, base, packages, what))


def _cached(kind: str, ingredients: Sequence[str], make: Callable[[Path], None]) -> Path:
    key = hashlib.sha256("\n".join(ingredients).encode()).hexdigest()[:12]
    trees = cache_directory() / "trees"
    tree = trees / f"{SUITE}-{kind}-{key}"
    if tree.exists():
        return tree
    with locked(trees / "lock", "the root file systems' cache"):
        if not tree.exists():
            partial = trees / f"{kind}.partial"
            if partial.exists():
                shutil.rmtree(partial)
            make(partial)
            partial.rename(tree)
    return tree


def _sources_list() -> list[str]:
    main = f"deb {debian_mirror()} {SUITE} main"
    more = [f"deb {source.address} {source.suite} main" for source in apt_sources() if source.suite != SUITE]
    return list(dict.fromkeys([main, *more]))


def _make_base(partial: Path) -> None:
    log = cache_directory() / "logs" / "debootstrap.log"
    include = f"--include={','.join(_BASE_PACKAGES)}"
    argv = ["debootstrap", "--variant=minbase", include, SUITE, str(partial), debian_mirror()]
    run_logged(argv, what="debootstrap (the base of nodes and images)", log=log)
    (partial / "etc/apt/sources.list").write_text("\n".join(_sources_list()) + "\n")
    shutil.rmtree(partial / "var/cache/apt/archives")
    (partial / "var/cache/apt/archives/partial").mkdir(parents=True)


def _make_larger(partial: Path, base: Path, packages: Sequence[str], what: str) -> None:
    log = cache_directory() / "logs" / f"{partial.stem}-tree.log"
    run_logged(["cp", "--archive", str(base), str(partial)], what=f"copying {base.name}", log=log)
    # The base remembers the name servers of the day it was made.
    shutil.copyfile("/etc/resolv.conf", partial / "etc/resolv.conf")
    argv = ["sh", "-c", _INSTALL, "install", str(partial), *packages]
    run_logged(argv, what=what, log=log)
