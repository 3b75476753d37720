"""Logs in a real registry."""

from __future__ import annotations

import gzip
import ssl
from pathlib import Path

from bascule_workers.adapters.oci_logs import LOG, OciLogs
from bascule_workers.adapters.registry_http import RegistryHttp
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
