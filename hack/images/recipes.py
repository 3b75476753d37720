"""Which images there are, and what each is made of. The key of an image is the hash of all of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hack.cluster.binaries import binaries, velero_folder
from hack.cluster.paths import REPOSITORY
from hack.images import wheels

BASE = "base"
# Part of every key: another number builds everything anew, when the way of building changed.
FORMAT = "3"


@dataclass(frozen=True)
class Recipe:
    """An image: where it is published, its Containerfile, the files of its build context and its arguments."""

    name: str
    repository: str
    tag: str
    containerfile: Path
    context: Mapping[str, Path] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)

    def key(self, base: str) -> str:
        """Return what names this image in the cache, given the base's key."""
        digest = hashlib.sha256()
        for part in (FORMAT, self.name, base, *(f"{key}={value}" for key, value in sorted(self.arguments.items()))):
            digest.update(part.encode() + b"\0")
        digest.update(self.containerfile.read_bytes())
        for target, source in sorted(self.context.items()):
            digest.update(target.encode() + b"\0" + source.name.encode() + b"\0")
            if source.is_file() and source.stat().st_size < 1_000_000:
                digest.update(source.read_bytes())
            else:
                # Folders and programs of the cache never change: their path names their content.
                digest.update(str(source).encode())
        return digest.hexdigest()[:16]


def recipes() -> list[Recipe]:
    """Return the recipes of all images but the base."""
    images = REPOSITORY / "hack" / "images"
    # Taken once: the sources may change while this runs, and operator and workers belong together.
    project = wheels.project()
    return [
        Recipe("pause", "bascule/pause", "1", images / "pause/Containerfile"),
        Recipe("busybox", "library/busybox", "stable", images / "busybox/Containerfile"),
        Recipe(
            "test-runner",
            "bascule/test-runner",
            "dev",
            images / "test-runner/Containerfile",
            {"run": images / "test-runner/run"},
        ),
        Recipe(
            "builder",
            "bascule/builder",
            "dev",
            images / "builder/Containerfile",
            {"bascule-build": images / "builder/bascule-build"},
        ),
        # Without the emulator, which only the builder `qemu` needs: it would be a third of the image.
        Recipe(
            "packer",
            "bascule/packer",
            "dev",
            images / "packer/Containerfile",
            {"project": project},
            {"PROJECT": project.name, "QEMU": ""},
        ),
        _python("operator", REPOSITORY / "operator/Containerfile", "operator", project, {}),
        _python("worker", REPOSITORY / "workers/Containerfile", "workers", project, {"cosign": binaries() / "cosign"}),
    ]


def extra_recipe(name: str) -> Recipe | None:
    """Return the recipe of an image that only some tests ask for: ansible, inventory-host, postgres or velero."""
    containerfile = REPOSITORY / "hack/images" / name / "Containerfile"
    match name:
        case "ansible":
            project = wheels.project()
            dependencies = wheels.pinned(name, containerfile.with_name("requirements.txt"))
            context = {"dependencies": dependencies, "project": project}
            arguments = {"DEPENDENCIES": dependencies.name, "PROJECT": project.name}
            return Recipe(name, f"bascule/{name}", "dev", containerfile, context, arguments)
        case "postgres":
            project = wheels.project()
            server = containerfile.with_name("postgres-server")
            context = {"project": project, "postgres-server": server}
            return Recipe(name, f"bascule/{name}", "dev", containerfile, context, {"PROJECT": project.name})
        case "inventory-host":
            return Recipe(name, f"bascule/{name}", "dev", containerfile)
        case "velero":
            programs = {program: velero_folder() / program for program in ("velero", "velero-plugin-for-aws")}
            return Recipe(name, f"bascule/{name}", "dev", containerfile, programs)
        case _:
            return None


def _python(name: str, containerfile: Path, extra: str, project: Path, files: Mapping[str, Path]) -> Recipe:
    dependencies = wheels.dependencies(extra)
    context = {"dependencies": dependencies, "project": project, **files}
    arguments = {"DEPENDENCIES": dependencies.name, "PROJECT": project.name}
    return Recipe(name, f"bascule/{name}", "dev", containerfile, context, arguments)
