"""Git, by its command line: nothing of the user's or the repository's configuration has a say.

Used by workers to resolve a revision, and inside a step's pod to fetch the pinned commit. Only the standard library:
the container that prepares a step should start quickly.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

COMMIT = re.compile(r"^[0-9a-f]{40}([0-9a-f]{24})?$")
LIMIT_SECONDS = 60.0
LIMIT_BYTES = 16 << 20
"""Of a file that git writes, at most: a server that answers without end ends here."""
_ERRORS_KEPT = 64 << 10

_SETTINGS = (
    "protocol.allow=never",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
    # Credentials go to the host they are for, and to none that it points to.
    "http.followRedirects=false",
    "credential.helper=",
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.fsmonitor=false",
    "core.symlinks=true",
    "core.autocrlf=false",
    "submodule.recurse=false",
    "advice.detachedHead=false",
    "gc.auto=0",
    "maintenance.auto=false",
    # One pack is one file, and a file's size is what can be bounded while it grows.
    "fetch.unpackLimit=1",
    "pack.threads=1",
    "core.bigFileThreshold=16m",
)
_UNADVERTISED = re.compile(r"does not allow request for unadvertised object", re.IGNORECASE)
# All that git says when the limit ended its index-pack; a connection that breaks is told besides.
_TOO_LARGE = re.compile(r"\Afatal: fetch-pack: invalid index-pack output\Z|file too large", re.IGNORECASE)
_ABSENT = re.compile(
    r"repository .* not found|not found:|does not exist|couldn't find remote ref|not our ref|returned error: 404"
    r"|does not appear to be a git repository|no such remote ref",
    re.IGNORECASE,
)
_REDIRECTED = re.compile(r"unable to update url base from redirection|returned error: 30[1-8]", re.IGNORECASE)
_REFUSED = re.compile(
    r"authentication failed|could not read (username|password)|returned error: 40[0-3]|permission denied"
    r"|host key verification failed|access denied|terminal prompts disabled|does not support shallow"
    r"|too many authentication failures",
    re.IGNORECASE,
)
_NOISE = re.compile(
    r"^(hint:|@|warning:|please make sure you have the correct access|and the repository exists"
    r"|fatal: could not read from remote repository|fetch-pack: unexpected disconnect)",
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
    """Git failed; the message holds no credentials.

    `kind` is `absent`, `refused`, `unreachable`, `large` or, where a server hands out branches and tags but no other
    commit by its id, `unadvertised`.
    """

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
        "GIT_SSH_VARIANT": "ssh",
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
    """The command that reaches a server. It trusts the Secret's hosts, and knows no other key, agent or setting."""
    options = ["ssh", "-F", "/dev/null", "-a", "-x", "-T"]
    settings = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": f"{home}/known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "IdentityAgent": "none",
        "IdentitiesOnly": "yes",
        "IdentityFile": "none",
        "PreferredAuthentications": "publickey",
        "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no",
        "ConnectTimeout": "15",
        "ServerAliveInterval": "15",
    }
    _private(home / "known_hosts", credentials.get("known_hosts", ""))
    if key := credentials.get("ssh-privatekey"):
        _private(home / "key", key if key.endswith("\n") else f"{key}\n")
        settings["IdentityFile"] = f"{home}/key"
    options += [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    return " ".join(options)


def _private(path: Path, text: str) -> None:
    path.touch(0o600)
    path.write_text(text)


def git(
    home: Path,
    values: Mapping[str, str],
    arguments: Sequence[str],
    inherited: Mapping[str, str],
    *,
    limit_bytes: int = LIMIT_BYTES,
    limit_seconds: float = LIMIT_SECONDS,
) -> str:
    """What git prints. No file that it writes gets larger than `limit_bytes`. Raises GitError."""
    argv = ["prlimit", f"--fsize={limit_bytes}", "--core=0", "--", "git"]
    argv += [*(word for setting in _SETTINGS for word in ("-c", setting)), *arguments]
    kept = {name: inherited[name] for name in ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR") if name in inherited}
    if "SSL_CERT_FILE" in kept:
        kept["GIT_SSL_CAINFO"] = kept["SSL_CERT_FILE"]
    # Into files, where the limit holds for them too.
    with tempfile.TemporaryFile(dir=home) as output, tempfile.TemporaryFile(dir=home) as errors:
        process = subprocess.Popen(
            argv,
            env=kept | dict(values),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            code = process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            raise GitError("unreachable", f"git did not end within {limit_seconds:.0f} s") from None
        finally:
            # With its helpers, which would go on alone.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        if code == 0:
            return output.read().decode(errors="surrogateescape")
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - _ERRORS_KEPT))
        if code == -signal.SIGXFSZ:
            raise GitError("large", f"git wrote more than {limit_bytes >> 20} MiB")
        raise _error(errors.read().decode(errors="replace"), limit_bytes)


def _error(errors: str, limit_bytes: int) -> GitError:
    # What the server itself says is shown, and proves nothing.
    own = "\n".join(line for line in errors.splitlines() if not line.startswith("remote:"))
    said = _said(errors)
    if _TOO_LARGE.search(own.strip()):
        return GitError("large", f"the server sent more than {limit_bytes >> 20} MiB")
    if _REDIRECTED.search(own):
        remedy = "redirects are not followed, since credentials are for one host: name the address that it leads to"
        return GitError("refused", f"{said}; {remedy}")
    kinds = {"unadvertised": _UNADVERTISED, "refused": _REFUSED, "absent": _ABSENT}
    return GitError(next((kind for kind, words in kinds.items() if words.search(own)), "unreachable"), said)


def init(commit: str) -> list[str]:
    """The words that make an empty repository, without the templates of the machine, for commits of this length."""
    return ["init", "--quiet", "--template=", f"--object-format={'sha1' if len(commit) == 40 else 'sha256'}"]


def resolve(url: str, revision: str, credentials: Mapping[str, str], inherited: Mapping[str, str]) -> str:
    """The commit that a branch, a tag, HEAD or a full commit id means now. Raises GitError."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        values = environment(home, credentials)
        if COMMIT.match(revision):
            git(home, values, [*init(revision), "--bare", "probe"], inherited)
            fetch = ["-C", "probe", "fetch", "--quiet", "--depth=1", "--no-tags", "--filter=tree:0"]
            try:
                git(home, values, [*fetch, "--", url, revision], inherited)
            except GitError as error:
                # It is there; or only a fetch of everything tells, which is left to the step that needs it all.
                if error.kind not in ("large", "unadvertised"):
                    raise
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
    """What matters of git's words: ssh's own lines where git only says that it could not read."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    lines = [line for line in lines if not _NOISE.match(line)]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "ERROR:"))] or lines[-3:]
    return " ".join(telling)[:512] or "git failed without a word"
