"""A Debian archive of the cluster's own: small packages in old and new versions, so that a patch really patches.

Two suites, as Debian has them: `bookworm` with the versions that nodes begin with, `bookworm-security` with updates.
apt tells them apart by the labels in their Release files, as it does with Debian's own.
"""

import hashlib
import re
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from hack.cluster.addresses import NODES, PACKAGES_HOST
from hack.cluster.paths import Paths, locked
from hack.cluster.shell import ClusterError, run

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]{1,60}")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+~-]{0,30}")
_SUITES = {
    "bookworm": "Label: Debian\nSuite: stable\n",
    "bookworm-security": "Label: Debian-Security\nSuite: stable-security\n",
}
_ARCHITECTURES = ("amd64", "arm64")
SOURCES_LIST = "".join(f"deb [trusted=yes] http://{PACKAGES_HOST}/ {suite} main\n" for suite in _SUITES)


@dataclass(frozen=True)
class DebianPackage:
    """A package of one file, `/usr/share/NAME/version`."""

    name: str
    version: str
    fails_on: Collection[str] = ()
    """Names of the nodes on which its postinst fails."""
    depends: Collection[str] = ()
    """Names of other packages that it needs."""
    seconds: int = 0
    """How long its postinst takes."""
    needs_reboot: bool = False
    """Whether its postinst asks for a reboot the way Debian's kernels do: /run/reboot-required."""

    def __post_init__(self) -> None:
        """Refuse what would not be a name, a version or a node: all of it becomes text of scripts and indexes."""
        if not all(_NAME.fullmatch(name) for name in (self.name, *self.depends)) or not _VERSION.fullmatch(
            self.version
        ):
            raise ClusterError(f"{self.name} {self.version} is no name and version of a Debian package")
        if unknown := set(self.fails_on) - set(NODES):
            raise ClusterError(f"there is no node {', '.join(sorted(unknown))}; there are: {', '.join(NODES)}")

    @property
    def file(self) -> str:
        """The file's name in the archive."""
        return f"{self.name}_{self.version}_all.deb"

    @property
    def control(self) -> str:
        """What dpkg reads."""
        depends = f"Depends: {', '.join(self.depends)}\n" if self.depends else ""
        return (
            f"Package: {self.name}\nVersion: {self.version}\nArchitecture: all\nSection: misc\nPriority: optional\n"
            f"{depends}Maintainer: Bascule <bascule@bascule.test>\nDescription: {self.name} of a test cluster\n"
        )

    @property
    def postinst(self) -> str:
        """What dpkg runs when it configures the package."""
        reboot = (
            f"touch /run/reboot-required\necho {self.name} >>/run/reboot-required.pkgs\n" if self.needs_reboot else ""
        )
        return f"""#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
sleep {self.seconds}
for node in {" ".join(self.fails_on)}; do
	if [ "$(cat /etc/hostname)" = "$node" ]; then
		echo "{self.name} {self.version} does not start on $node" >&2
		exit 1
	fi
done
{reboot}"""


FIRST = DebianPackage("bascule-canary", "1.0")
"""What every node has installed when it is new."""
UPDATE = DebianPackage("bascule-canary", "1.1")
"""Its security update, which the archive has from the beginning."""


def folder(paths: Paths) -> Path:
    """The archive, as the cluster's web server serves it."""
    return paths.state / "packages"


def publish(paths: Paths, package: DebianPackage, *, security: bool) -> Path:
    """Put a package into the archive, in place of one of that name and version. Returns its file."""
    suite = "bookworm-security" if security else "bookworm"
    with locked(paths.state / "packages.lock", "the Debian archive"):
        target = folder(paths) / "pool" / suite / package.file
        target.parent.mkdir(parents=True, exist_ok=True)
        _build(package, target)
        size, digest = target.stat().st_size, hashlib.sha256(target.read_bytes()).hexdigest()
        place = f"Filename: pool/{suite}/{target.name}\nSize: {size}\nSHA256: {digest}\n"
        target.with_suffix(".stanza").write_text(package.control + place)
        _write_index(folder(paths), suite)
    return target


def withdraw(paths: Paths, name: str, version: str) -> None:
    """Take a version out of the archive, as Debian does with those that have a successor."""
    with locked(paths.state / "packages.lock", "the Debian archive"):
        for suite in _SUITES:
            target = folder(paths) / "pool" / suite / f"{name}_{version}_all.deb"
            target.unlink(missing_ok=True)
            target.with_suffix(".stanza").unlink(missing_ok=True)
            _write_index(folder(paths), suite)


def first_file(paths: Paths) -> Path:
    """The package that every new node gets."""
    return folder(paths) / "pool/bookworm" / FIRST.file


def make(paths: Paths) -> None:
    """Write the archive that a new cluster begins with. Does nothing when there is one."""
    if not (folder(paths) / "dists/bookworm-security/Release").exists():
        publish(paths, FIRST, security=False)
        publish(paths, UPDATE, security=True)


def _build(package: DebianPackage, target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch, "tree")
        content = tree / f"usr/share/{package.name}/version"
        for path, text, mode in (
            (tree / "DEBIAN/control", package.control, 0o644),
            (tree / "DEBIAN/postinst", package.postinst, 0o755),
            (content, f"{package.version}\n", 0o644),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(mode)
        for directory in (tree, *(path for path in tree.rglob("*") if path.is_dir())):
            directory.chmod(0o755)
        partial = target.with_suffix(".partial")
        run(["dpkg-deb", "--build", "--root-owner-group", "-Zgzip", str(tree), str(partial)])
        partial.rename(target)


def _write_index(archive: Path, suite: str) -> None:
    """The lists of packages, and the Release file with their hashes: apt wants them to agree at every moment.

    It fetches Release first and a list by its hash, so lists are kept under the hashes of all their contents.
    """
    index = "\n".join(stanza.read_text() for stanza in sorted((archive / "pool" / suite).glob("*.stanza")))
    digest, size = hashlib.sha256(index.encode()).hexdigest(), len(index.encode())
    hashes = []
    for architecture in _ARCHITECTURES:
        place = f"main/binary-{architecture}"
        _replace(archive / "dists" / suite / place / "by-hash/SHA256" / digest, index)
        _replace(archive / "dists" / suite / place / "Packages", index)
        hashes.append(f" {digest} {size} {place}/Packages\n")
    header = f"Origin: Debian\n{_SUITES[suite]}Codename: {suite}\nVersion: 12\nDate: {formatdate(usegmt=True)}\n"
    rest = f"Architectures: {' '.join(_ARCHITECTURES)}\nComponents: main\nAcquire-By-Hash: yes\nSHA256:\n"
    _replace(archive / "dists" / suite / "Release", header + rest + "".join(hashes))


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    partial.rename(path)
