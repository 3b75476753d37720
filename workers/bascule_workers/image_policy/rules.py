"""The rules: pure functions from an image's configuration and files to findings."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bascule_workers.image_policy import passwords
from bascule_workers.image_policy.findings import Finding, Rule, Severity
from bascule_workers.image_policy.table import ROOT, Entry, FileTable, Type

DEFAULT_SETUID = (
    "/usr/bin/chage", "/usr/bin/chfn", "/usr/bin/chsh", "/usr/bin/crontab", "/usr/bin/expiry", "/usr/bin/gpasswd",
    "/usr/bin/mount", "/usr/bin/newgrp", "/usr/bin/passwd", "/usr/bin/ping", "/usr/bin/ssh-agent", "/usr/bin/su",
    "/usr/bin/umount", "/usr/bin/wall", "/usr/bin/write", "/usr/lib/dbus-1.0/dbus-daemon-launch-helper",
    "/usr/lib/openssh/ssh-keysign", "/usr/sbin/unix_chkpwd",
)  # fmt: skip
"""What Debian's own packages bring with such rights."""

_SYSTEM = ("/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/root", "/opt")
_HOST_KEY = re.compile(r"/etc/(ssh/ssh_host_.*_key|dropbear/dropbear_.*_host_key)")
_AUTHORIZED = re.compile(r"/authorized_keys2?$|^/etc/ssh/authorized_keys/[^/]+$")
_MOST_ACCOUNTS = 50
"""Accounts of a file whose passwords are tried; more of them have the same remedy."""


@dataclass(frozen=True)
class Image:
    """What the rules look at."""

    config: dict[str, Any]
    """The image's configuration: User, Env, …"""
    table: FileTable


@dataclass(frozen=True)
class Allowed:
    """What the tenant declared to be meant."""

    root: bool = False
    setuid: frozenset[str] = frozenset(DEFAULT_SETUID)


Guess = Callable[[str, str], str | None]


def check(image: Image, allowed: Allowed, guess: Guess = passwords.guess) -> list[Finding]:
    """Everything that any rule finds."""
    found = [] if allowed.root else list(runs_as_root(image))
    found += accounts(image.table, guess)
    found += authorized_keys(image.table)
    found += private_keys(image.table)
    found += borrowed_rights(image.table, allowed.setuid)
    return found + list(world_writable(image.table))


def runs_as_root(image: Image) -> Iterator[Finding]:
    user = str(image.config.get("User") or "")
    name = user.partition(":")[0]
    remedy = "set USER to another one, or the parameter allowRoot"
    if not name:
        yield Finding(Rule.ROOT_USER, Severity.HIGH, ROOT, f"no USER is set, so it runs as root: {remedy}")
    elif _uid(name, image.table) == 0:
        yield Finding(Rule.ROOT_USER, Severity.HIGH, ROOT, f"USER {user[:64]} is root: {remedy}")
    elif _uid(name, image.table) is None:
        detail = f"USER {user[:64]} is not in /etc/passwd, so nobody can say whom it runs as: {remedy}"
        yield Finding(Rule.ROOT_USER, Severity.HIGH, ROOT, detail)


def _uid(name: str, table: FileTable) -> int | None:
    """The uid as a runtime finds it: names of /etc/passwd come first, then numbers."""
    for fields in _lines(table.resolve("/etc/passwd")):
        if fields[0] == name and len(fields) > 2:
            return _number(fields[2])
    return _number(name)


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,10}", text) else None


def _lines(entry: Entry | None) -> Iterator[list[str]]:
    """The fields of each line of a file such as /etc/passwd."""
    if entry is None or entry.content is None:
        return
    for line in entry.content.decode("utf-8", "replace").split("\n"):
        if line and not line.startswith("#"):
            yield line.split(":")


def accounts(table: FileTable, guess: Guess) -> Iterator[Finding]:
    """Accounts that let somebody in: without a password, with a well-known one, with one that all copies share."""
    for path in ("/etc/shadow", "/etc/passwd"):
        tried, entry = 0, table.resolve(path)
        if entry is not None and entry.content is None:
            detail = "cannot be looked into: it is a link to elsewhere, no file, or too large"
            yield Finding(Rule.DEFAULT_CREDENTIALS, Severity.MEDIUM, path, detail)
        for fields in _lines(entry):
            name, field = fields[0], fields[1] if len(fields) > 1 else "*"
            if field == "":
                detail = f"the account {name[:64]} has no password: lock it with `passwd -l`"
                yield Finding(Rule.DEFAULT_CREDENTIALS, Severity.HIGH, path, detail)
            elif passwords.is_hash(field) and tried < _MOST_ACCOUNTS:
                tried += 1
                yield _password(path, name, field, guess)


def _password(path: str, name: str, hashed: str, guess: Guess) -> Finding:
    account = name[:64]
    if not passwords.is_affordable(hashed):
        detail = f"the account {account} has a password hash too costly to try; lock it with `passwd -l`"
        return Finding(Rule.PASSWORD_HASH, Severity.MEDIUM, path, detail)
    if guess(name, hashed) is not None:
        # The password itself is not repeated: the finding ends in logs and statuses.
        detail = f"the account {account} has a well-known password: lock it with `passwd -l`"
        return Finding(Rule.DEFAULT_CREDENTIALS, Severity.HIGH, path, detail)
    detail = f"the account {account} has a password that every copy of the image shares: lock it with `passwd -l`"
    return Finding(Rule.PASSWORD_HASH, Severity.MEDIUM, path, detail)


def authorized_keys(table: FileTable) -> Iterator[Finding]:
    for path, entry in table.of(Type.FILE):
        if not _AUTHORIZED.search(path):
            continue
        keys = sum(1 for fields in _lines(entry) if "".join(fields).strip())
        # A file too large to be looked at is not taken for an empty one.
        if keys or entry.content is None:
            detail = (
                f"{keys or 'many'} authorized keys let their owners into every copy: hand keys out at start instead"
            )
            yield Finding(Rule.DEFAULT_CREDENTIALS, Severity.HIGH, path, detail)


def private_keys(table: FileTable) -> Iterator[Finding]:
    for path, entry in table.of(Type.FILE):
        if _HOST_KEY.fullmatch(path) and entry.content != b"":
            detail = "an SSH host key, the same in every copy: remove it and make one at first start"
            yield Finding(Rule.PRIVATE_KEY, Severity.HIGH, path, detail)
        elif entry.private_key:
            detail = f"holds a {entry.private_key}: mount it as a Secret instead"
            yield Finding(Rule.PRIVATE_KEY, Severity.HIGH, path, detail)
    for path, entry in table.hidden:
        detail = (
            f"layer {entry.layer + 1} holds a {entry.private_key}; a later layer only hides it: "
            "build without it, and replace the key"
        )
        yield Finding(Rule.PRIVATE_KEY, Severity.HIGH, path, detail)


def borrowed_rights(table: FileTable, allowed: frozenset[str]) -> Iterator[Finding]:
    """Programs with setuid, setgid or capabilities that are not on the list."""
    for path, entry in table.of(Type.FILE):
        kinds = [
            word
            for word, present in (
                (f"setuid of uid {entry.uid}", entry.mode & stat.S_ISUID),
                (f"setgid of gid {entry.gid}", entry.mode & stat.S_ISGID),
                ("capabilities of its own", entry.capabilities),
            )
            if present
        ]
        if kinds and path not in allowed:
            severity = Severity.HIGH if entry.mode & stat.S_ISUID and entry.uid == 0 else Severity.MEDIUM
            detail = f"has {' and '.join(kinds)}: drop it, or add the path to the parameter allowedSetuid"
            yield Finding(Rule.SETUID, severity, path, detail)


def world_writable(table: FileTable) -> Iterator[Finding]:
    for path, entry in table.files.items():
        folder = entry.type is Type.FOLDER
        if not entry.world_writable or entry.type not in (Type.FILE, Type.FOLDER):
            continue
        if folder and entry.mode & stat.S_ISVTX:
            continue
        system = path == ROOT or any(path == top or path.startswith(f"{top}/") for top in _SYSTEM)
        what = (
            "everybody may put and replace files here; set the sticky bit or" if folder else "everybody may change it;"
        )
        detail = f"mode {entry.mode:04o}: {what} take the right to write from others"
        yield Finding(Rule.WORLD_WRITABLE, Severity.HIGH if system else Severity.MEDIUM, path, detail)
