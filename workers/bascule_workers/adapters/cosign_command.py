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
_LIMIT_SECONDS = 120.0


async def run(argv: list[str], environment: Mapping[str, str], home: str, output_file: Path | None = None) -> Finished:
    """Run cosign. Raises RegistryUnavailableError when it takes too long."""
    try:
        return await execute(["cosign", *argv], environment, home, _LIMIT_SECONDS, output_file)
    except TimeoutError:
        raise RegistryUnavailableError(f"cosign {argv[0]} did not end within {_LIMIT_SECONDS:.0f} s") from None


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
