"""How tools find a registry's login."""

from __future__ import annotations

import json
from pathlib import Path

from bascule_workers.ports.registry import Repository


def docker_config(home: Path, repository: Repository) -> dict[str, str]:
    """Write Docker's config.json below `home`. Returns the environment that names it."""
    config = home / "docker"
    config.mkdir(mode=0o700)
    auths = {}
    if repository.login:
        auths[repository.host] = {"username": repository.login.username, "password": repository.login.password}
    (config / "config.json").write_text(json.dumps({"auths": auths}))
    return {"DOCKER_CONFIG": str(config)}
