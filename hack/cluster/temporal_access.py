"""Who may do what in a cluster's Temporal: client certificates and tokens, as its administrator hands them out."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from jwt.algorithms import ECAlgorithm

from hack.cluster.addresses import TEMPORAL_HOST
from hack.cluster.paths import Paths
from hack.cluster.pki import issue

ADMINISTRATOR = ("temporal-system:admin",)
"""What may register namespaces, and everything else."""
_KEY_ID, _ALGORITHM = "bascule-test", "ES256"
_LIFETIME_SECONDS = 365 * 24 * 3600


def tenant_permissions(namespace: str) -> tuple[str, ...]:
    """What an operator and a worker need in one Temporal namespace, and nothing anywhere else."""
    return (f"{namespace}:read", f"{namespace}:write", f"{namespace}:worker")


def credentials(paths: Paths, subject: str, permissions: Sequence[str]) -> dict[str, str]:
    """The content of a Secret that Bascule reads: `ca.crt`, `tls.crt`, `tls.key` and `api-key`, a JWT."""
    certificate, key = issue(paths.pki, subject)
    return {
        "ca.crt": (paths.pki / "ca.crt").read_text(),
        "tls.crt": certificate,
        "tls.key": key,
        "api-key": token(paths.pki, subject, permissions),
    }


def token(pki: Path, subject: str, permissions: Sequence[str], lifetime: int = _LIFETIME_SECONDS) -> str:
    """A JWT that the cluster's Temporal believes for `lifetime` seconds."""
    now = int(time.time())
    claims = {"sub": subject, "permissions": list(permissions), "iat": now - 60, "exp": now + lifetime}
    return jwt.encode(claims, (pki / "tokens.key").read_text(), algorithm=_ALGORITHM, headers={"kid": _KEY_ID})


def token_keys(pki: Path) -> str:
    """The public half of the tokens' key as a JSON Web Key Set (RFC 7517)."""
    private = serialization.load_pem_private_key((pki / "tokens.key").read_bytes(), password=None)
    key = json.loads(ECAlgorithm.to_jwk(private.public_key()))  # type: ignore[arg-type]
    return json.dumps({"keys": [{**key, "kid": _KEY_ID, "alg": _ALGORITHM, "use": "sig"}]}) + "\n"


def write_client_files(paths: Paths) -> dict[str, str]:
    """Keep the administrator's credentials as files, and return the variables that make `temporal` use them."""
    folder = paths.state / "temporal-admin"
    if not (folder / "api-key").exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in credentials(paths, "administrator", ADMINISTRATOR).items():
            (folder / name).write_text(content)
    return {
        "TEMPORAL_TLS": "true",
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(folder / "ca.crt"),
        "TEMPORAL_TLS_CLIENT_CERT_PATH": str(folder / "tls.crt"),
        "TEMPORAL_TLS_CLIENT_KEY_PATH": str(folder / "tls.key"),
        "TEMPORAL_TLS_SERVER_NAME": TEMPORAL_HOST,
        "TEMPORAL_API_KEY": (folder / "api-key").read_text(),
    }
