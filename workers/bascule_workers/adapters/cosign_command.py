"""Cosign as a command: how it is run, and what its failures mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bascule_workers.adapters.processes import Finished, execute
from bascule_workers.errors import RegistryUnavailableError, WorkerError
from bascule_workers.plans.failures import redacted, shortened
from bascule_workers.ports.registry import Repository
from bascule_workers.ports.signer import SigningKey

PREDICATE = "dev.sigstore.bundle.predicateType"
"""Annotation of a bundle's manifest."""
AWAY = re.compile(
    r"connection (refused|reset)|no such host|no route to host|i/o timeout|handshake timeout|network is unreachable"
    r"|unexpected EOF|\b50[0-9]\b|TOOMANYREQUESTS|server misbehaving|deadline exceeded",
    re.IGNORECASE,
)
LIMIT_SECONDS = 45.0
"""What sends or fetches kilobytes."""
LARGE_LIMIT_SECONDS = 120.0
"""What sends or fetches a bill of materials."""


async def run(argv: list[str], environment: Mapping[str, str], home: str, output_file: Path | None = None) -> Finished:
    """Run cosign. Raises RegistryUnavailableError when it takes too long."""
    limit = LARGE_LIMIT_SECONDS if argv[0].endswith("attestation") or argv[0] == "attest" else LIMIT_SECONDS
    try:
        return await execute(["cosign", *argv], environment, home, limit, output_file)
    except TimeoutError:
        message = f"cosign {argv[0]} did not end within {limit:.0f} s: the registry may not answer"
        raise RegistryUnavailableError(message) from None


def key_file(home: str, public_key: str) -> str:
    """Write the public key below `home`. Returns where."""
    key = Path(home, "cosign.pub")
    key.write_text(public_key)
    return str(key)


def error(
    finished: Finished, final: type[WorkerError], what: str, repository: Repository, key: SigningKey | None
) -> WorkerError:
    """What cosign's failure means: `final`, unless the registry is away."""
    kind = RegistryUnavailableError if AWAY.search(finished.errors) else final
    return kind(explained(what, finished, repository, key))


def explained(what: str, finished: Finished, repository: Repository, key: SigningKey | None) -> str:
    secrets = [repository.login.password] if repository.login else []
    secrets += [key.pem, key.password] if key else []
    said = finished.last_error.removeprefix("error during command execution: ")
    return f"{what}: {shortened(redacted(said, secrets), 512)}"
