"""A bill of materials as we attach it: SPDX 2.3, its packages only, the same for every repetition."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

VERSION = "SPDX-2.3"
EMPTY_CONFIG = "application/vnd.oci.empty.v1+json"
"""The configuration's media type of an OCI artifact that is no image."""


def namespace(digest: str) -> str:
    """The document's own URI, as SPDX wants it: one per image."""
    return f"https://bascule.dev/spdx/{digest.replace(':', '-')}"


def attached(document: Mapping[str, Any], digest: str, created: int) -> dict[str, Any]:
    """The document to attach: without the packages' files, which are nine tenths of it, and without chance."""
    kept = {name: value for name, value in document.items() if name != "files"}
    files = {item.get("SPDXID") for item in document.get("files") or []}
    relationships = [
        item
        for item in document.get("relationships") or []
        if files.isdisjoint((item.get("spdxElementId"), item.get("relatedSpdxElement")))
    ]
    packages = sorted(document.get("packages") or [], key=lambda package: str(package.get("SPDXID")))
    information = dict(document.get("creationInfo") or {})
    return kept | {
        "documentNamespace": namespace(digest),
        "creationInfo": information | {"created": f"{datetime.fromtimestamp(created, UTC):%Y-%m-%dT%H:%M:%SZ}"},
        "packages": packages,
        "relationships": relationships,
    }


def wrong(document: Mapping[str, Any], digest: str) -> str:
    """What is wrong with an attached bill of materials, or nothing."""
    if (version := document.get("spdxVersion")) != VERSION:
        return f"the bill of materials is {version}, not {VERSION}"
    if document.get("documentNamespace") != namespace(digest):
        return f"the bill of materials is not that of {digest}"
    packages = document.get("packages")
    # There is always one: the image itself.
    if not isinstance(packages, list) or not packages or not all(_named(package) for package in packages):
        return "the bill of materials names no packages"
    return ""


def _named(package: object) -> bool:
    return isinstance(package, Mapping) and bool(package.get("name"))
