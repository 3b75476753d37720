"""Reading from an S3 store by curl, which signs requests itself and is kept up by every distribution."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass, field
from email.parser import Parser
from pathlib import Path
from urllib.parse import quote, urlsplit

from bascule_workers.in_step.contract import ExitCode, StepError

_METADATA = "x-amz-meta-"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CERTIFICATE = 60
"""curl's exit code for a certificate that it does not trust."""
_STALLED_SECONDS = "60"


@dataclass(frozen=True)
class ObjectStore:
    """One bucket, addressed by path."""

    endpoint: str
    region: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    ca_file: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise StepError(ExitCode.INVALID, "the parameter endpoint is no URL such as https://s3.example.com")
        if not _BUCKET.fullmatch(self.bucket):
            raise StepError(ExitCode.INVALID, f"the parameter bucket is no bucket's name: {self.bucket[:64]}")
        if not re.fullmatch(r"[a-z0-9-]{1,32}", self.region):
            raise StepError(ExitCode.INVALID, f"the parameter region is no region's name: {self.region[:64]}")

    def get(self, key: str, target: Path, patience: float) -> dict[str, str] | None:
        """Write the object to `target` and return its metadata; None where there is none. Raises StepError."""
        deadline, pause = time.monotonic() + patience, 1.0
        while True:
            status, headers, trouble = self._once(key, target)
            if status == 200 and not trouble:
                return {
                    name.lower().removeprefix(_METADATA): value
                    for name, value in headers.items()
                    if name.lower().startswith(_METADATA)
                }
            if status == 404:
                return None
            if error := self._final(key, status, trouble):
                raise error
            if time.monotonic() + pause > deadline:
                told = trouble or f"status {status}"
                raise StepError(
                    ExitCode.UNAVAILABLE, f"the object store does not give {key}: {told}", failure="BackupUnreachable"
                )
            time.sleep(pause)
            pause = min(pause * 2, 15)

    def _final(self, key: str, status: int, trouble: str) -> StepError | None:
        """What asking again does not change."""
        if trouble.startswith("!"):
            return StepError(ExitCode.REFUSED, f"the object store is not trusted: {trouble[1:]}")
        if 300 <= status < 400:
            return StepError(
                ExitCode.REFUSED, f"the object store answers {status} for {key}: another endpoint or region?"
            )
        if 400 <= status < 500 and status not in (408, 429):
            return StepError(ExitCode.REFUSED, f"the object store refuses us {key}: status {status}")
        return None

    def _once(self, key: str, target: Path) -> tuple[int, dict[str, str], str]:
        """Status, headers, and what went wrong on the way; `!` before what is final."""
        headers = target.with_name(f"{target.name}.headers")
        # The keys stay out of the command line, which every process of the machine may read.
        configuration = f'user = "{self.access_key}:{self.secret_key}"\n'
        command = ["curl", "--config", "-", "--silent", "--show-error", "--noproxy", "*", "--proto", "=http,https"]
        command += ["--aws-sigv4", f"aws:amz:{self.region}:s3", "--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
        command += ["--connect-timeout", "10", "--speed-limit", "1", "--speed-time", _STALLED_SECONDS]
        command += ["--cacert", self.ca_file] if self.ca_file else []
        command += ["--dump-header", str(headers), "--output", str(target), "--write-out", "%{http_code}"]
        command.append(f"{self.endpoint.rstrip('/')}/{self.bucket}/{quote(key)}")
        done = subprocess.run(
            command, input=configuration, capture_output=True, text=True, errors="replace", check=False
        )
        status = int(done.stdout) if done.stdout.isdecimal() else 0
        trouble = "" if done.returncode == 0 else done.stderr.strip().removeprefix("curl: ")
        found = _headers(headers)
        headers.unlink(missing_ok=True)
        return status, found, f"!{trouble}" if done.returncode == _CERTIFICATE else trouble


def _headers(path: Path) -> dict[str, str]:
    """The headers of the last answer."""
    text = path.read_text(encoding="latin-1").replace("\r\n", "\n") if path.is_file() else ""
    blocks = [block for block in text.split("\n\n") if block.strip()]
    if not blocks:
        return {}
    return dict(Parser().parsestr(blocks[-1].partition("\n")[2], headersonly=True).items())
