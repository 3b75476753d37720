"""Reading failures: what matters of a log, how long to wait, what must not be shown."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence

from bascule_api.failures import LOG_CUT

EXCERPT_LINES = 20
EXCERPT_LIMIT = 1024
MESSAGE_LIMIT = 256
LOG_LIMIT = 16_384

_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_TIMESTAMP = re.compile(
    r"^\s*[\[(]?(\d{4}[-/]\d{2}[-/]\d{2}[T ])?\d{2}:\d{2}:\d{2}([.,]\d+)?(Z|[+-]\d{2}:?\d{2})?[\])]?[\s:|-]*"
)


def excerpt(log: str, lines: int = EXCERPT_LINES, limit: int = EXCERPT_LIMIT) -> str:
    """What matters of a log's last lines.

    Without colours, control characters, leading timestamps, empty lines and repetitions of the line before; at most
    `limit` characters, of which the last ones are kept.
    """
    kept: list[str] = []
    for raw in log.replace("\r\n", "\n").split("\n"):
        line = _TIMESTAMP.sub("", _CONTROL.sub("", _ESCAPE.sub("", raw.rpartition("\r")[2]))).rstrip()
        if line.strip() and (not kept or kept[-1] != line):
            kept.append(line)
    text = "\n".join(kept[-lines:])
    return text if len(text) <= limit else "…" + text[-(limit - 1) :]


def log_end(log: str, *, whole: bool, limit: int = LOG_LIMIT) -> str:
    """The end of a log, without colours and control characters, of at most `limit` characters; says if it is cut."""
    text = _CONTROL.sub("", _ESCAPE.sub("", log.replace("\r\n", "\n"))).strip("\n")
    if whole and len(text) <= limit:
        return text
    return LOG_CUT + text[-(limit - len(LOG_CUT)) :]


def shortened(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """The text on one line, of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def backoff(failures: int, first: float = 1.0, most: float = 30.0) -> float:
    """Seconds to wait after that many failures in a row."""
    return min(most, first * 2.0 ** min(failures - 1, 16))


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text without any of the secret values, in plain or in base64."""
    for value in sorted(_forms(secrets), key=len, reverse=True):
        text = text.replace(value, "[redacted]")
    return text


def _forms(secrets: Iterable[str]) -> set[str]:
    """Every way in which a secret value may show; lines of a longer one count by themselves."""
    values = {part.strip() for value in secrets for part in (value, *value.splitlines())}
    values = {value for value in values if len(value) >= 6 and not value.startswith("-----")}
    return values | {base64.b64encode(value.encode()).decode() for value in values}


def listed(items: Sequence[str], most: int = 3) -> str:
    """The items in a sentence, the rest as a number."""
    shown = ", ".join(items[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"
