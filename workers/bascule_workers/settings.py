"""What a worker process is told by its environment. Read in `__main__` only."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Variables with the prefix BASCULE_."""

    model_config = SettingsConfigDict(env_prefix="BASCULE_", extra="ignore", frozen=True)

    temporal_address: str
    """host:port of Temporal's frontend, for tenants that name no other."""
    temporal_credentials_dir: Path | None = None
    """Folder with any of ca.crt, tls.crt and tls.key, api-key: what the platform's Temporal demands of workers."""
    temporal_server_name: str = ""
    """Name that the certificate of the platform's Temporal must have; empty: the address's host."""
    temporal_tls: bool = False
    """Whether the platform's Temporal is reached by TLS although the folder does not ask for it."""
    payload_keys_dir: Path
    """Folder of the keys that payloads are encrypted with."""
    namespace: str = "bascule-system"
    """Our own namespace: publishing is guarded by Leases there."""
    tools_image: str
    """Image that prepares parameters and source of each step: the workers' own."""
    platform_signing_dir: Path | None = None
    """Folder with the platform's cosign.key and cosign.password; absent: nothing is attested."""
    platform_public_key: Path | None = None
    """File with the other half."""
    builder_id: str = "https://bascule.dev/builder"
    """URI by which provenance names this platform."""
    ca_config_map: str = ""
    """ConfigMap of the steps namespaces with the certificates that steps trust; empty: their images' own."""
    velero_namespace: str = ""
    """Where Velero runs, which drills may restore by; empty: there is none."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of Temporal's metrics; 0: none."""
    http_port: int = Field(default=0, ge=0, le=65535)
    """Port of /healthz and /readyz; 0: none."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    grace_seconds: float = Field(default=20, ge=0)
    """How long running activities may go on after SIGTERM."""
    kubeconfig: str = Field(default="", validation_alias="KUBECONFIG")
    """Absent: the pod's service account."""
