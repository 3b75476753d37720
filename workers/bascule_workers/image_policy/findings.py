"""What was found, how bad it is, and how it is told. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any


class Rule(StrEnum):
    """What an image is looked at for."""

    ROOT_USER = "root-user"
    """It runs as root."""
    DEFAULT_CREDENTIALS = "default-credentials"
    """Somebody can log in with what is in the image: no password, a known one, an authorized key."""
    PASSWORD_HASH = "password-hash"  # noqa: S105 - the name of a rule
    """An account has a password that every copy of the image shares."""
    PRIVATE_KEY = "private-key"
    """A private key that everybody has who has the image."""
    SETUID = "setuid"
    """A program that runs with another user's or group's rights, or with capabilities of its own."""
    WORLD_WRITABLE = "world-writable"
    """A file that everybody may change, or a folder without the sticky bit in which everybody may."""


class Severity(StrEnum):
    MEDIUM = "Medium"
    HIGH = "High"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


class FailOn(StrEnum):
    """From which severity on a finding fails the test."""

    MEDIUM = "Medium"
    HIGH = "High"
    NEVER = "Never"

    def fails(self, severity: Severity) -> bool:
        return self is not FailOn.NEVER and severity.rank >= Severity(self.value).rank


@dataclass(frozen=True)
class Finding:
    rule: Rule
    severity: Severity
    path: str
    """Absolute path in the image; `/` where the image as a whole is meant."""
    detail: str
    """What is wrong and what helps."""
    ignored: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule.value,
            "severity": self.severity.value,
            "path": self.path,
            "detail": self.detail,
            "ignored": self.ignored,
        }


@dataclass(frozen=True)
class Ignore:
    """A rule and a glob of paths whose findings do not count. `*` stands for every rule, and matches slashes too."""

    rule: str
    glob: str

    @classmethod
    def parse(cls, text: str) -> Ignore:
        """`rule:glob`. Raises ValueError that names the remedy."""
        rule, colon, glob = text.partition(":")
        known = [rule.value for rule in Rule]
        if not colon or not glob or rule not in [*known, "*"]:
            raise ValueError(f"must be rule:glob with one of the rules {', '.join(known)}, or *")
        return cls(rule, glob)

    def matches(self, finding: Finding) -> bool:
        return self.rule in ("*", finding.rule) and fnmatchcase(finding.path, self.glob)


def considered(findings: Sequence[Finding], ignores: Sequence[Ignore]) -> list[Finding]:
    """All findings, those that are ignored marked so; the worst first, then by rule and path."""
    marked = [replace(f, ignored=any(ignore.matches(f) for ignore in ignores)) for f in findings]
    rules = list(Rule)
    return sorted(set(marked), key=lambda f: (f.ignored, -f.severity.rank, rules.index(f.rule), f.path, f.detail))


def report(image: str, findings: Sequence[Finding], settings: dict[str, Any], looked_at: dict[str, int]) -> bytes:
    """The full list. Equal images and settings give equal bytes, so that a repeated test attaches nothing new."""
    content = {
        "apiVersion": "bascule.dev/image-policy/v1",
        "image": image,
        "settings": settings,
        "lookedAt": looked_at,
        "findings": [finding.to_json() for finding in findings],
    }
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=True).encode()


def story(findings: Sequence[Finding], top: int = 5) -> str:
    """What a status can hold: the counts, and the worst ones with their remedy."""
    counted = [finding for finding in findings if not finding.ignored]
    ignored = len(findings) - len(counted)
    aside = f" ({ignored} ignored)" if ignored else ""
    if not counted:
        return f"no findings{aside}"
    counts = ", ".join(f"{n} {s}" for s in reversed(Severity) if (n := sum(f.severity is s for f in counted)))
    lines = [f"{counts}{aside}"]
    lines += [f"{f.rule} {_printable(f.path)}: {f.detail}" for f in counted[:top]]
    if len(counted) > top:
        lines.append(f"and {len(counted) - top} more in the report")
    return "; ".join(lines)


def _printable(path: str, limit: int = 200) -> str:
    """Names come out of the image: no line break or terminal control of theirs may reach a status or a screen."""
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in path)
    return text if len(text) <= limit else f"{text[:limit]}…"
