"""The platform's key pair, as files that Kubernetes mounts: a Secret, and a ConfigMap that everybody may read."""

from __future__ import annotations

from pathlib import Path

from bascule_workers.errors import SigningFailedError
from bascule_workers.ports.signer import SigningKey


class MountedPlatformKey:
    """The port `PlatformKey`. Read anew each time: a key that is exchanged needs no restart."""

    def __init__(self, private: Path | None, public: Path | None) -> None:
        self._private = private
        self._public = public

    def private(self) -> SigningKey | None:
        if self._private is None:
            return None
        try:
            pem, password = ((self._private / name).read_text() for name in ("cosign.key", "cosign.password"))
        except (OSError, UnicodeDecodeError) as error:
            raise SigningFailedError(f"the platform's signing key cannot be read: {error}") from None
        return SigningKey(pem, password)

    def public(self) -> str | None:
        return self._public.read_text() if self._public is not None and self._public.is_file() else None
