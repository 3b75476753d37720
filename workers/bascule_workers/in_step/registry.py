"""A registry as a step sees it: through skopeo, with the exit code that its answer deserves."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from bascule_workers.in_step.contract import ExitCode, StepError

REFUSED = re.compile(
    r"unauthorized|authentication required|denied|forbidden|status[a-z :]{0,24}40[0135]|invalid username/password"
    r"|x509:|server gave HTTP response to HTTPS client|certificate (is|has)|manifest invalid|name invalid",
    re.IGNORECASE,
)
ABSENT = re.compile(r"manifest unknown|name unknown|blob unknown|status[a-z :]{0,24}404", re.IGNORECASE)
_FATAL = re.compile(r'level=fatal msg="?(?P<text>.*?)"?$')


def reason(errors: str) -> str:
    """What skopeo said last, without its log format."""
    lines = [line for line in errors.splitlines() if line.strip()]
    if not lines:
        return "skopeo failed without a word"
    found = _FATAL.search(lines[-1])
    return (found["text"] if found else lines[-1]).replace('\\"', '"')


def judge(errors: str, reference: str) -> ExitCode:
    """What the failure means. The name of the image is left out: a repository may well be called `denied`."""
    text = reason(errors).replace(reference, "").replace(repository(reference), "").replace(_path(reference), "")
    if ABSENT.search(text):
        return ExitCode.INVALID
    return ExitCode.REFUSED if REFUSED.search(text) else ExitCode.UNAVAILABLE


def repository(reference: str) -> str:
    """`host/path` of `host/path:tag` or `host/path@digest`."""
    name = reference.partition("@")[0]
    head, _, last = name.rpartition("/")
    return f"{head}/{last.partition(':')[0]}"


def _path(reference: str) -> str:
    return repository(reference).partition("/")[2]


def tool_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for skopeo: without the name of a credentials file that nobody mounted; it would fail on that."""
    kept = dict(environment)
    if not Path(kept.get("REGISTRY_AUTH_FILE", "")).is_file():
        kept.pop("REGISTRY_AUTH_FILE", None)
    return kept


def copy(source: str, target: str, environment: Mapping[str, str], work: Path, patience: float = 0) -> None:
    """Copy an image or artifact without changing a byte of its manifest; repeated for `patience` seconds while the
    registry is away. One side is a folder. Raises StepError.
    """
    reference = next(side for side in (source, target) if side.startswith("docker://")).removeprefix("docker://")
    # The trust policy of containers/image says which signatures a pull needs. Here the digest says what is wanted, so
    # that file of the machine has no say.
    command = ["skopeo", "--insecure-policy", "--tmpdir", str(work), "copy", "--quiet", "--preserve-digests"]
    deadline, pause = time.monotonic() + patience, 2.0
    while True:
        done = subprocess.run(
            [*command, source, target],
            env=tool_environment(environment),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode == 0:
            return
        exit_code = judge(done.stderr, reference)
        if exit_code is not ExitCode.UNAVAILABLE or time.monotonic() + pause > deadline:
            message = f"{_WORDS[exit_code]} {reference}: {reason(done.stderr)}"
            raise StepError(exit_code, message, failure=_FAILURES.get(exit_code, ""))
        time.sleep(pause)
        pause = min(pause * 2, 30)


_FAILURES = {ExitCode.REFUSED: "RegistryRefused", ExitCode.UNAVAILABLE: "RegistryUnavailable"}
_WORDS = {
    ExitCode.INVALID: "the registry does not have",
    ExitCode.REFUSED: "the registry refused us",
    ExitCode.UNAVAILABLE: "the registry does not answer for",
}
