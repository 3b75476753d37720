"""How findings are weighed and told."""

from __future__ import annotations

import json

import pytest

from bascule_workers.image_policy import findings
from bascule_workers.image_policy.findings import FailOn, Finding, Ignore, Rule, Severity

SETUID = Finding(Rule.SETUID, Severity.MEDIUM, "/usr/bin/wall", "setgid")
KEY = Finding(Rule.PRIVATE_KEY, Severity.HIGH, "/opt/app/key.pem", "a key")
ROOT = Finding(Rule.ROOT_USER, Severity.HIGH, "/", "runs as root")


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("private-key:/opt/*", [KEY]),
        ("private-key:/opt/app/key.pem", [KEY]),
        ("private-key:/opt/app", []),
        ("setuid:*", [SETUID]),
        ("*:/usr/bin/*", [SETUID]),
        ("root-user:/", [ROOT]),
        ("setuid:/opt/*", []),
        ("private-key:/opt/app/KEY.pem", []),
    ],
)
def test_what_is_ignored(text: str, matched: list[Finding]) -> None:
    assert [finding for finding in (ROOT, KEY, SETUID) if Ignore.parse(text).matches(finding)] == matched


@pytest.mark.parametrize("text", ["", "setuid", "setuid:", "nosuch:/a", ":/a", "/usr/bin/wall"])
def test_an_ignore_that_is_none_names_the_rules(text: str) -> None:
    with pytest.raises(ValueError, match="must be rule:glob with one of the rules root-user, default-credentials"):
        Ignore.parse(text)


def test_the_worst_come_first_and_the_ignored_last() -> None:
    considered = findings.considered([SETUID, KEY, ROOT, KEY], [Ignore.parse("root-user:*")])
    assert [(finding.rule, finding.ignored) for finding in considered] == [
        (Rule.PRIVATE_KEY, False),
        (Rule.SETUID, False),
        (Rule.ROOT_USER, True),
    ]


@pytest.mark.parametrize(
    ("fail_on", "severity", "expected"),
    [
        (FailOn.MEDIUM, Severity.MEDIUM, True),
        (FailOn.MEDIUM, Severity.HIGH, True),
        (FailOn.HIGH, Severity.MEDIUM, False),
        (FailOn.HIGH, Severity.HIGH, True),
        (FailOn.NEVER, Severity.HIGH, False),
    ],
)
def test_from_which_severity_on_a_test_fails(fail_on: FailOn, severity: Severity, expected: bool) -> None:
    assert fail_on.fails(severity) is expected


def test_the_story_has_counts_and_the_worst() -> None:
    many = [Finding(Rule.SETUID, Severity.MEDIUM, f"/bin/{number}", "setgid") for number in range(9)]
    considered = findings.considered([*many, KEY, ROOT], [Ignore.parse("root-user:*")])
    assert findings.story(considered, top=2) == (
        "1 High, 9 Medium (1 ignored); private-key /opt/app/key.pem: a key; setuid /bin/0: setgid; "
        "and 8 more in the report"
    )


def test_no_findings_are_told_too() -> None:
    assert findings.story([]) == "no findings"
    assert findings.story(findings.considered([ROOT], [Ignore.parse("*:*")])) == "no findings (1 ignored)"


def test_names_of_an_image_reach_no_terminal() -> None:
    story = findings.story([Finding(Rule.SETUID, Severity.HIGH, "/a\n\x1b[31m\u202e" + "x" * 999, "bad")])
    assert "\n" not in story
    assert "\x1b" not in story
    assert "\u202e" not in story
    assert len(story) < 300


def test_equal_findings_make_equal_reports() -> None:
    one = findings.report("r@sha256:1", findings.considered([SETUID, KEY], []), {"b": 1, "a": 2}, {"files": 3})
    two = findings.report("r@sha256:1", findings.considered([KEY, SETUID, KEY], []), {"a": 2, "b": 1}, {"files": 3})
    assert one == two
    assert [finding["path"] for finding in json.loads(one)["findings"]] == ["/opt/app/key.pem", "/usr/bin/wall"]
