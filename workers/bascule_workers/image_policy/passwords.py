"""Whether a password hash is that of a password which everybody tries first."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from functools import cache

WELL_KNOWN = (
    "root", "toor", "admin", "administrator", "password", "passw0rd", "changeme", "secret", "default", "letmein",
    "123456", "12345678", "1234", "qwerty", "test", "guest", "user", "pass", "vagrant", "packer", "debian", "ubuntu",
    "centos", "alpine", "docker", "raspberry",
)  # fmt: skip

_DES = re.compile(r"[./0-9A-Za-z]{13}")
# How long one attempt takes is up to whoever made the hash. These are what Debian and others make by default and below;
# with more, one hash could keep us busy for hours.
_AFFORDABLE = (
    re.compile(r"\$1\$[^$]{0,8}\$.+"),
    re.compile(r"\$[56]\$(rounds=[0-9]{1,5}\$)?(?!rounds=)[^$]{0,16}\$.+"),
    re.compile(r"\$2[abxy]\$(0[4-9]|1[0-2])\$.+"),
    re.compile(r"\$g?y\$j[1-9]T\$[^$]+\$.+"),
    _DES,
)

Crypt = Callable[[str, str], str]


class CryptMissingError(Exception):
    """This machine has no libcrypt, without which no password can be tried."""


@cache
def _library() -> ctypes.CDLL:
    for name in ("libcrypt.so.1", "libcrypt.so.2"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.crypt.restype = ctypes.c_char_p
        library.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
        return library
    raise CryptMissingError("libcrypt.so.1 is missing: install the package libcrypt1")


def crypt(password: str, setting: str) -> str:
    """crypt(3) of the C library: knows every kind of hash that a Debian system makes, and outlives Python's module."""
    hashed = _library().crypt(password.encode(), setting.encode("utf-8", "surrogateescape"))
    return hashed.decode("utf-8", "replace") if hashed else ""


def is_hash(field: str) -> bool:
    """Whether the field lets somebody in with a password: not locked (`!`, `*`), not a placeholder."""
    return bool(_DES.fullmatch(field)) or (field.startswith("$") and field.count("$") >= 2)


def is_affordable(hashed: str) -> bool:
    """Whether trying passwords against it takes a known, short time."""
    return any(pattern.fullmatch(hashed) for pattern in _AFFORDABLE)


def candidates(account: str) -> Iterator[str]:
    """The passwords to try for an account."""
    yield from dict.fromkeys(("", account, f"{account}123", account[::-1], *WELL_KNOWN))


def guess(account: str, hashed: str, compute: Crypt = crypt) -> str | None:
    """The well-known password that the hash is of, or nothing. Raises CryptMissingError."""
    return next((password for password in candidates(account) if compute(password, hashed) == hashed), None)
