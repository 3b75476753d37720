"""Git, by its command line: nothing of the user's or the repository's configuration has a say.

Used by workers to resolve a revision, and inside a step's pod to fetch the pinned commit. Only the standard library:
the container that prepares a step should start quickly.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

COMMIT = re.compile(r"^[0-9a-f]{40}([0-9a-f]{24})?$")
LIMIT_SECONDS = 60.0

_SETTINGS = (
    "protocol.allow=never",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
    # Credentials go to the host they are for, and to none that it points to.
    "http.followRedirects=false",
    "credential.helper=",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.symlinks=true",
    "submodule.recurse=false",
    "advice.detachedHead=false",
    "gc.auto=0",
)
_ABSENT = re.compile(
    r"repository .* not found|not found:|does not exist|couldn't find remote ref|not our ref|returned error: 404"
    r"|unadvertised object|does not appear to be a git repository",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"authentication failed|could not read (username|password)|returned error: 40[0-3]|permission denied"
    r"|host key verification failed|access denied|unable to update url base from redirection|returned error: 30[1-8]"
    r"|terminal prompts disabled",
    re.IGNORECASE,
)


# Holds no secret itself; git calls it with its question.
_ASKPASS = """#!/bin/sh
case "$1" in
  Username*) exec cat "$HOME/username";;
  *) exec cat "$HOME/password";;
esac
"""


class GitError(Exception):
    """Git failed. `kind` is `absent`, `refused` or `unreachable`; the message holds no credentials."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def environment(home: Path, credentials: Mapping[str, str]) -> dict[str, str]:
    """Git's whole environment, with the credentials in files below `home` that only we can read."""
    values = {
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": _ssh(home, credentials),
        "LC_ALL": "C",
    }
    if "password" in credentials:
        ask = home / "askpass"
        (home / "username").write_text(credentials.get("username", "git"))
        (home / "password").write_text(credentials["password"])
        ask.write_text(_ASKPASS)
        for name, mode in (("askpass", 0o700), ("username", 0o600), ("password", 0o600)):
            (home / name).chmod(mode)
        values["GIT_ASKPASS"] = str(ask)
    return values


def _ssh(home: Path, credentials: Mapping[str, str]) -> str:
    options = ["ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
    options += ["-o", f"UserKnownHostsFile={home}/known_hosts", "-o", "ConnectTimeout=15"]
    (home / "known_hosts").write_text(credentials.get("known_hosts", ""))
    if key := credentials.get("ssh-privatekey"):
        file = home / "key"
        file.touch(0o600)
        file.write_text(key if key.endswith("\n") else f"{key}\n")
        options += ["-i", str(file), "-o", "IdentitiesOnly=yes"]
    return " ".join(options)


def git(home: Path, values: Mapping[str, str], arguments: Sequence[str], inherited: Mapping[str, str]) -> str:
    """What git prints. Raises GitError."""
    argv = ["git", *(word for setting in _SETTINGS for word in ("-c", setting)), *arguments]
    kept = {name: inherited[name] for name in ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR") if name in inherited}
    if "SSL_CERT_FILE" in kept:
        kept["GIT_SSL_CAINFO"] = kept["SSL_CERT_FILE"]
    try:
        done = subprocess.run(
            argv, env=kept | dict(values), cwd=home, capture_output=True, timeout=LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise GitError("unreachable", f"git did not end within {LIMIT_SECONDS:.0f} s") from None
    if done.returncode == 0:
        return done.stdout.decode(errors="replace")
    said = _said(done.stderr.decode(errors="replace"))
    kind = "refused" if _REFUSED.search(said) else "absent" if _ABSENT.search(said) else "unreachable"
    raise GitError(kind, said)


def resolve(url: str, revision: str, credentials: Mapping[str, str], inherited: Mapping[str, str]) -> str:
    """The commit that a branch, a tag, HEAD or a full commit id means now. Raises GitError."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        values = environment(home, credentials)
        if COMMIT.match(revision):
            git(home, values, ["init", "--quiet", "--bare", "probe"], inherited)
            fetch = ["-C", "probe", "fetch", "--quiet", "--depth=1", "--no-tags", "--filter=tree:0"]
            git(home, values, [*fetch, "--", url, revision], inherited)
            return revision
        patterns = ["HEAD"] if revision == "HEAD" else _patterns(revision)
        listed = git(home, values, ["ls-remote", "--quiet", "--", url, *patterns], inherited)
    found = {name: commit for commit, _, name in (line.partition("\t") for line in listed.splitlines())}
    for pattern in patterns:
        if pattern in found:
            return found[pattern]
    raise GitError("absent", f"there is no branch or tag {revision}")


def _patterns(revision: str) -> list[str]:
    """The refs that a revision may mean, those first that git itself prefers; an annotated tag means its commit."""
    if revision.startswith("refs/"):
        return [f"{revision}^{{}}", revision]
    return [f"refs/tags/{revision}^{{}}", f"refs/tags/{revision}", f"refs/heads/{revision}"]


def _said(errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip() and not line.startswith("hint:")]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "ERROR:"))] or lines[-2:]
    return " ".join(telling)[:512] or "git failed without a word"
