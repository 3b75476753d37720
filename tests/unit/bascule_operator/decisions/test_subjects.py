"""Parsing never fails for what a person may have written."""

from __future__ import annotations

from bascule_operator.decisions.subjects import as_stored
from tests.support.subjects import build, parsed, spec


def test_a_spec_that_cannot_be_read_names_the_field() -> None:
    broken = spec(tests=[{"name": "ok"}, {"name": "smoke", "parameters": {"command": {"a": 1}}}])
    subject = parsed({"metadata": {"name": "web"}, "spec": broken})
    assert subject.spec is None
    assert subject.invalid.startswith("spec.tests[1].parameters.command")


def test_of_a_broken_status_only_the_broken_part_is_lost() -> None:
    subject = build().finished().saying(progress={"percent": "much"}).subject
    assert subject.status.progress is None
    assert subject.run is not None


def test_a_revision_that_only_a_newer_version_knows_starts_nothing() -> None:
    assert not build().finished().subject.differs_from("2-abcdef0123")


def test_long_annotations_are_shortened_and_still_differ() -> None:
    one, other = as_stored("x" * 300 + "a"), as_stored("x" * 300 + "b")
    assert one != other
    assert len(one) <= 256
