"""What the operator is told by its environment. Read in `__main__` and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Each is an environment variable: its name in capitals after `BASCULE_`."""

    model_config = SettingsConfigDict(env_prefix="BASCULE_", extra="forbid", use_attribute_docstrings=True, frozen=True)

    temporal_address: str = "localhost:7233"
    """host:port of the Temporal frontend."""
    temporal_ui_url: str = ""
    """Base of the links into Temporal's UI; empty: statuses carry no link."""
    payload_keys_dir: Path = Path("/etc/bascule/payload-keys")
    """Directory with the keys that payloads are encrypted with."""
    namespace: str = "bascule-system"
    """The operator's own namespace."""
    http_port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """Port of /healthz, /readyz and /metrics; 0: any free one."""
    resync_seconds: Annotated[float, Field(ge=1)] = 300
    """How often every resource is compared with what Temporal knows."""
    max_concurrency: Annotated[int, Field(ge=1, le=256)] = 16
    """How many resources are reconciled at the same time."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    selector: str = ""
    """Label selector: only resources that match are served. Empty: all."""
    kubeconfig: str = ""
    """A kubeconfig file, for running outside of a cluster. Empty: KUBECONFIG, else the service account."""


def described() -> str:
    """The settings as text for `--help`."""
    lines = []
    for name, field in Settings.model_fields.items():
        default = f" (default: {field.default})" if field.default != "" else ""
        lines.append(f"  BASCULE_{name.upper()}\n      {field.description}{default}")
    return "\n".join(lines)
