"""Logs in a real registry."""

from __future__ import annotations

import gzip
import json
import ssl
from datetime import date
from pathlib import Path

from bascule_workers.adapters.oci_logs import OciLogs
from bascule_workers.adapters.registry_http import RegistryHttp
from bascule_workers.ports.logs import LOG, PLAN
from bascule_workers.ports.registry import Repository
from tests.support.registry import LoopbackRegistry


async def test_a_log_is_kept_once_by_its_digest(loopback_registry: LoopbackRegistry, tmp_path: Path) -> None:
    http = RegistryHttp(ssl.create_default_context(cafile=loopback_registry.ca_file))
    repository = Repository(f"{loopback_registry.host}/acme/artifacts")
    log = gzip.compress(b"a line\n", mtime=0)

    digests = {await OciLogs(http).keep(repository, "r-1-build", log, {"dev.bascule.step": "build"}) for _ in range(2)}
    await http.close()

    (digest,) = digests
    manifest = loopback_registry.manifest(f"acme/artifacts@{digest}")
    assert (manifest["artifactType"], manifest["layers"][0]["mediaType"]) == (LOG, LOG)
    assert manifest["annotations"] == {"dev.bascule.step": "build"}
    assert loopback_registry.tags("acme/artifacts") == ["r-1-build"]
    loopback_registry.skopeo("copy", f"docker://{repository.name}@{digest}", f"dir:{tmp_path}")
    blob = tmp_path / manifest["layers"][0]["digest"].removeprefix("sha256:")
    assert gzip.decompress(blob.read_bytes()) == b"a line\n"


async def test_a_plan_is_kept_as_what_it_is(loopback_registry: LoopbackRegistry) -> None:
    http = RegistryHttp(ssl.create_default_context(cafile=loopback_registry.ca_file))
    repository = Repository(f"{loopback_registry.host}/acme/plans")

    digest = await OciLogs(http).keep(repository, "r-1-plan", gzip.compress(b"{}", mtime=0), {}, PLAN)
    await http.close()

    manifest = loopback_registry.manifest(f"acme/plans@{digest}")
    assert (manifest["artifactType"], manifest["layers"][0]["mediaType"]) == (PLAN, PLAN)


async def test_old_logs_and_plans_go_and_nothing_else(loopback_registry: LoopbackRegistry) -> None:
    http = RegistryHttp(ssl.create_default_context(cafile=loopback_registry.ca_file))
    repository, logs = Repository(f"{loopback_registry.host}/acme/aging"), OciLogs(http)
    days = {
        "20250101-r1-build": "a",
        "20250201-r1-plan": "b",
        "20250301-r1-build": "c",
        "latest": "d",
        "20259999-x": "e",
    }
    for tag, content in days.items():
        kind = PLAN if tag.endswith("-plan") else LOG
        await logs.keep(repository, tag, gzip.compress(content.encode(), mtime=0), {"dev.bascule.job": tag}, kind)
    strange = await logs.keep(repository, "seen", gzip.compress(b"f", mtime=0), {})
    manifest = loopback_registry.manifest(f"acme/aging@{strange}") | {"artifactType": "application/x-mine"}
    raw = json.dumps(manifest).encode()
    media = {"Content-Type": manifest["mediaType"]}
    await http.request("PUT", repository, "manifests/20240101-mine", accept=(201,), headers=media, body=lambda: raw)

    gone = [await logs.expire(repository, date(2025, 3, 1), most) for most in (2, 9, 9)]
    await http.close()

    assert gone == [1, 1, 0], "what is not ours counts among the first two, and stays"
    assert sorted(loopback_registry.tags("acme/aging")) == [
        "20240101-mine",
        "20250301-r1-build",
        "20259999-x",
        "latest",
        "seen",
    ]
