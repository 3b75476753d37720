"""Python packages for the images, made on the host: a package index is reached here, never from inside a build."""

import hashlib
import platform
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

from hack.cluster.paths import REPOSITORY, cache_directory, locked
from hack.cluster.shell import run_logged

_CONSTRAINTS = REPOSITORY / "constraints.txt"
_SOURCES = ("crds", "operator", "workers")
_PROJECT_FILES = ("pyproject.toml", "README.md", "LICENSE")


def dependencies(extra: str) -> Path:
    """Return a folder with the wheels of what an extra and traces require, of pip, and requirements.txt."""
    pyproject = (REPOSITORY / "pyproject.toml").read_text()
    wanted = list(dict.fromkeys([*requirements(pyproject, extra), *requirements(pyproject, "otel")]))
    key = _hash([*wanted, _CONSTRAINTS.read_text(), platform.python_version(), platform.machine()])
    return _cached(f"dependencies-{extra}-{key}", lambda partial: _download(partial, extra, wanted))


def pinned(name: str, requirements_file: Path) -> Path:
    """Return a folder with the wheels of a file of exact requirements, of pip, and requirements.txt."""
    wanted = requirements_file.read_text().split()
    key = _hash([*wanted, platform.python_version(), platform.machine()])
    return _cached(f"{name}-{key}", lambda partial: _download(partial, name, wanted))


def requirements(pyproject: str, extra: str) -> list[str]:
    """Read from pyproject.toml what the project and one of its extras require."""
    project = tomllib.loads(pyproject)["project"]
    return [*project.get("dependencies", []), *project["optional-dependencies"][extra]]


def project() -> Path:
    """Return a folder with the wheel of our own code as it is now."""
    files = sorted(source_files())
    key = _hash([part for file in files for part in (str(file.relative_to(REPOSITORY)), file.read_bytes().hex())])
    return _cached(f"project-{key}", _build)


def source_files() -> Iterable[Path]:
    """Yield the files that our wheel is made of."""
    for name in _PROJECT_FILES:
        yield REPOSITORY / name
    for folder in _SOURCES:
        for file in (REPOSITORY / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts and file.name != "Containerfile":
                yield file


def _hash(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:12]


def _cached(name: str, make: Callable[[Path], None]) -> Path:
    folder = cache_directory() / "wheels" / name
    if folder.exists():
        return folder
    with locked(cache_directory() / "wheels" / "lock", "the cache of wheels"):
        if not folder.exists():
            partial = folder.parent / "new.partial"
            if partial.exists():
                shutil.rmtree(partial)
            partial.mkdir()
            make(partial)
            partial.rename(folder)
    return folder


def _download(partial: Path, extra: str, wanted: list[str]) -> None:
    (partial / "requirements.txt").write_text("\n".join(wanted) + "\n")
    target = ["--wheel-dir", str(partial), "--constraint", str(_CONSTRAINTS)]
    argv = [sys.executable, "-m", "pip", "wheel", *target, *wanted, "pip"]
    run_logged(argv, what=f"wheels of [{extra}]", log=cache_directory() / "logs" / f"wheels-{extra}.log")


def _build(partial: Path) -> None:
    """Build in a copy: the wheel holds what was hashed even when somebody edits the sources meanwhile."""
    argv = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(partial), str(REPOSITORY)]
    run_logged(argv, what="the project's own wheel", log=cache_directory() / "logs" / "wheel.log")
