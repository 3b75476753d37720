"""Layers of a tenant's earlier builds are used again; its images stay its runs' own, and no other tenant has them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

from hack import installation
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support.builds import Build, ImageBuildBuilder, tags

Builder = Callable[[str], ImageBuildBuilder]

# What a RUN makes differs each time that it really runs.
CONTAINERFILE = """\
ARG BASE
FROM ${BASE}
COPY greeting /greeting
RUN cat /proc/sys/kernel/random/uuid >/made
USER 65532
"""


def cached(cluster: Cluster, tenant: TenantHandle) -> str:
    """Give the tenant a cache. Returns the repository of its layers."""
    patch = json.dumps({"spec": {"buildCache": {"repository": f"{cluster.registry}/cache"}}})
    cluster.kubectl("patch", "tenant", tenant.name, "--type=merge", "-p", patch)
    return f"{cluster.registry}/cache/{tenant.name}"


def built(made: ImageBuildBuilder, **parameters: Any) -> Build:
    spec = made.body["spec"]["build"]
    spec = spec | {"parameters": spec["parameters"] | parameters}
    return made.with_file("Containerfile", CONTAINERFILE).with_spec(build=spec).apply()


def layers(cluster: Cluster, build: Build) -> tuple[dict[str, Any], list[str]]:
    """Status of the finished build, and digests of the image's layers."""
    status = build.until_phase("Succeeded")["status"]
    reference = f"docker://{status['image']['reference']}"
    manifest = json.loads(cluster.exec(["skopeo", "inspect", "--raw", reference], check=True).stdout)
    assert manifest["annotations"]["dev.bascule.run"] == f"{build.get()['metadata']['uid']}/1"  # type: ignore[index]
    assert "/cache/" not in manifest["annotations"].get("org.opencontainers.image.base.name", "")
    return status, [layer["digest"] for layer in manifest["layers"]]


def test_a_second_build_of_the_same_source_reuses_layers_and_is_an_image_of_its_own(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle
) -> None:
    cache = cached(bascule, tenant)

    first, made = layers(bascule, built(image_build("first")))
    second, reused = layers(bascule, built(image_build("second")))
    _, anew = layers(bascule, built(image_build("third"), cacheFor="0"))

    assert reused == made, "the step RUN was not carried out again"
    assert second["image"]["digest"] != first["image"]["digest"]
    assert anew[:-1] == made[:-1] or anew[0] == made[0], "the base is the same"
    assert anew != made, "switched off, the step RUN was carried out"
    assert tags(bascule, cache)


def test_two_tenants_never_share_layers(image_build: Builder, bascule: Cluster, tenant: TenantHandle) -> None:
    other = installation.make_tenant(bascule, f"t-{secrets.token_hex(4)}")
    caches = [cached(bascule, each) for each in (tenant, other)]

    _, ours = layers(bascule, built(image_build("ours")))
    _, theirs = layers(bascule, built(ImageBuildBuilder("theirs", bascule, other)))

    assert caches[0] != caches[1]
    assert ours[0] == theirs[0], "the base is the same"
    assert ours[-1] != theirs[-1], "the step RUN was carried out by each"
    assert all(tags(bascule, cache) for cache in caches)
    bascule.kubectl("delete", "imagebuilds", "--all", "-n", other.namespace, "--wait=false")
