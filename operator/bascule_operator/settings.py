"""What the operator is told by its environment. Read in `__main__` and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Each is an environment variable: its name in capitals after `BASCULE_`."""

    model_config = SettingsConfigDict(env_prefix="BASCULE_", extra="forbid", use_attribute_docstrings=True, frozen=True)

    temporal_address: str = "localhost:7233"
    """host:port of the Temporal frontend."""
    temporal_ui_url: str = ""
    """Base of the links into Temporal's UI; empty: statuses carry no link."""
    temporal_credentials_dir: Path | None = None
    """Directory with any of `ca.crt`, `tls.crt` and `tls.key`, `api-key`: what the platform's Temporal demands."""
    temporal_server_name: str = ""
    """Name that the certificate of the platform's Temporal must have; empty: the address's host."""
    temporal_tls: bool = False
    """Whether the platform's Temporal is reached by TLS although the directory does not ask for it."""
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
    leader_election: bool = False
    """Whether there may be other operators: then only the one that holds the Lease `bascule-operator` acts."""
    identity: str = ""
    """Who this operator is to the others; the same again only after it has ended. Empty: host name and random."""
    lease_seconds: Annotated[float, Field(ge=1, le=3600)] = 15
    """For how long a leader that is not heard of keeps its place."""
    lease_renew_seconds: Annotated[float, Field(gt=0)] = 10
    """After how long without a renewal a leader stops acting; shorter than the Lease."""
    lease_retry_seconds: Annotated[float, Field(gt=0)] = 2
    """How often the leader renews, and the others look."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    selector: str = ""
    """Label selector: only resources that match are served. Empty: all."""
    kubeconfig: str = ""
    """A kubeconfig file, for running outside of a cluster. Empty: KUBECONFIG, else the service account."""

    @model_validator(mode="after")
    def _lease_is_consistent(self) -> Self:
        if not self.lease_retry_seconds < self.lease_renew_seconds < self.lease_seconds:
            raise ValueError("lease_retry_seconds < lease_renew_seconds < lease_seconds must hold")
        return self


def described() -> str:
    """The settings as text for `--help`."""
    lines = []
    for name, field in Settings.model_fields.items():
        default = f" (default: {field.default})" if field.default != "" else ""
        lines.append(f"  BASCULE_{name.upper()}\n      {field.description}{default}")
    return "\n".join(lines)
