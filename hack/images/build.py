"""Builds the platform's images with Buildah, once for each content."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.addresses import REGISTRY
from hack.cluster.paths import cache_directory, locked
from hack.cluster.rootfs import base_tree, machine_tree
from hack.cluster.shell import ClusterError, run, run_logged
from hack.images import storage
from hack.images.recipes import BASE, FORMAT, Recipe, extra_recipe, recipes

_BASE_IMAGE = "localhost/bascule/base"
_BASE_PLACES = (("bascule/base", "bookworm"), ("library/debian", "bookworm"))
_SCRIPT = Path(__file__).parent / "build.sh"


@dataclass(frozen=True)
class BuiltImage:
    """An image in the cache: its name, the digest of its manifest, and where it is to be published."""

    name: str
    digest: str
    places: tuple[tuple[str, str], ...]


def build_images() -> list[BuiltImage]:
    """Build what changed, and return all images."""
    plan = recipes()
    with locked(_home() / "lock", "the cache of images"):
        base_key = f"{base_tree().name}-{FORMAT}"
        base = BuiltImage(BASE, _digest(BASE, base_key) or _make_base(base_key), _BASE_PLACES)
        built = [base]
        built += [_built(recipe, base.digest, base_key) for recipe in plan]
    return built


def build_extra_image(name: str) -> BuiltImage:
    """Build an image that only some tests ask for, if it changed. Raises ClusterError for an unknown name."""
    recipe = extra_recipe(name)
    if recipe is None:
        raise ClusterError(f"there is no extra image {name!r}")
    base = build_images()[0]
    with locked(_home() / "lock", "the cache of images"):
        return _built(recipe, base.digest, f"{base_tree().name}-{FORMAT}")


def _built(recipe: Recipe, base: str, base_key: str) -> BuiltImage:
    key = recipe.key(base)
    digest = _digest(recipe.name, key) or _make(recipe, key, base_key)
    return BuiltImage(recipe.name, digest, ((recipe.repository, recipe.tag),))


def publish_images(images: Iterable[BuiltImage], registry: Path) -> dict[str, str]:
    """Put images into a registry's storage, and return their references by digest, by name."""
    references = {}
    for image in images:
        for repository, tag in image.places:
            storage.publish(_store(), image.digest, registry, repository, tag)
        references[image.name] = f"{REGISTRY}/{image.places[0][0]}@{image.digest}"
    return references


def _home() -> Path:
    return cache_directory() / "images"


def _store() -> Path:
    return _home() / "registry"


def _record(name: str, key: str) -> Path:
    return _home() / "built" / f"{name}-{key}.json"


def _digest(name: str, key: str) -> str | None:
    """Return the digest of an image that was built before and is still there as a whole."""
    record = _record(name, key)
    if not record.exists():
        return None
    digest = str(json.loads(record.read_text())["digest"])
    return digest if storage.is_complete(_store(), digest) else None


def _make_base(key: str) -> str:
    env = {"TREE": str(base_tree()), "IMAGE": f"{_BASE_IMAGE}:{key}"}
    return _run_build(BASE, key, [], env, "the base image from debootstrap's tree")


def _make(recipe: Recipe, key: str, base_key: str) -> str:
    context = _home() / "context"
    if context.exists():
        shutil.rmtree(context)
    context.mkdir(parents=True)
    for target, source in recipe.context.items():
        _put(source, context / target)
    arguments = {"BASE": f"{_BASE_IMAGE}:{base_key}", **recipe.arguments}
    options = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    env = {
        "IMAGE": f"localhost/{recipe.repository}:{recipe.tag}",
        "CONTAINERFILE": str(recipe.containerfile),
        "CONTEXT": str(context),
    }
    return _run_build(recipe.name, key, options, env, f"the image {recipe.repository}")


def _put(source: Path, target: Path) -> None:
    """Copy a file or folder into a build context; what the cache holds never changes, and is only linked."""
    how = "--link" if source.is_relative_to(cache_directory()) else "--preserve=mode"
    run(["cp", "--recursive", how, str(source), str(target)])


def _run_build(name: str, key: str, options: list[str], env: Mapping[str, str], what: str) -> str:
    record = _record(name, key)
    record.parent.mkdir(parents=True, exist_ok=True)
    digest_file = record.with_suffix(".digest")
    full_env = {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(_storage_configuration()),
        "HOME_OF_IMAGES": str(_home()),
        "MACHINE_TREE": str(machine_tree()),
        "DIGEST": str(digest_file),
        **env,
    }
    log = cache_directory() / "logs" / f"image-{name}.log"
    run_logged(["sh", str(_SCRIPT), f"{name}:{key}", *options], what=what, log=log, env=full_env)
    digest = digest_file.read_text().strip()
    if not storage.is_complete(_store(), digest):
        raise ClusterError(f"Buildah wrote no whole image of {name}; see {log}")
    digest_file.write_text(json.dumps({"digest": digest}))
    digest_file.rename(record)
    return digest


def _storage_configuration() -> Path:
    """Write where Buildah keeps its layers: overlays where the file system allows it, plain copies elsewhere."""
    home = _home()
    home.mkdir(parents=True, exist_ok=True)
    kind = run(["stat", "--file-system", "--format=%T", str(home)]).strip()
    driver = "vfs" if kind == "overlayfs" else "overlay"
    configuration = home / "storage.conf"
    lines = ["[storage]", f'driver = "{driver}"', f'graphroot = "{home}/storage"', f'runroot = "{home}/run"']
    configuration.write_text("\n".join(lines) + "\n")
    return configuration
