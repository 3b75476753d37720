"""The committed CRDs are the models, and keep what Kubernetes' tools rely on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bascule_api.base import Kind
from hack import gen_crds, gen_docs, generated

KINDS = [pytest.param(kind, id=kind.kind) for kind in gen_crds.KINDS]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within a schema, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for inner, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        if inner in schema:
            yield from nodes(schema[inner], path + suffix)


def version(kind: Kind) -> dict[str, Any]:
    result: dict[str, Any] = gen_crds.definition(kind)["spec"]["versions"][0]
    return result


def test_what_is_committed_is_current() -> None:
    assert generated.differences(gen_crds.files() | gen_docs.files()) == ""


def test_a_change_of_the_models_shows_as_a_diff(monkeypatch: pytest.MonkeyPatch) -> None:
    path = generated.ROOT / "crds" / "tenants.yaml"
    changed = path.read_text().replace("kind: Tenant", "kind: Lodger")
    shown = generated.differences({path: changed})
    assert "-    kind: Tenant" in shown
    assert "+    kind: Lodger" in shown


@pytest.mark.parametrize("kind", KINDS)
def test_status_is_a_subresource_that_says_never_seen(kind: Kind) -> None:
    assert version(kind)["subresources"] == {"status": {}}
    status = version(kind)["schema"]["openAPIV3Schema"]["properties"]["status"]
    if "observedGeneration" in status["properties"]:
        assert status["default"] == {"observedGeneration": -1}


@pytest.mark.parametrize("kind", KINDS)
def test_conditions_are_a_map_by_type(kind: Kind) -> None:
    status = version(kind)["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    if conditions := status.get("conditions"):
        assert conditions["x-kubernetes-list-type"] == "map"
        assert conditions["x-kubernetes-list-map-keys"] == ["type"]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_a_status_has_a_default_of_its_own(kind: Kind) -> None:
    status = version(kind)["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert [path for path, schema in nodes(status) if path and "default" in schema] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_column_points_at_a_field(kind: Kind) -> None:
    paths = {path for path, _ in nodes(version(kind)["schema"]["openAPIV3Schema"])}
    plain = [column.path for column in kind.columns if "[?" not in column.path]
    assert [path for path in plain if path not in paths and path != ".metadata.creationTimestamp"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_in_the_category(kind: Kind) -> None:
    assert gen_crds.definition(kind)["spec"]["names"]["categories"] == ["bascule"]
