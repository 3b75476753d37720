"""Log lines: JSON, with what they are about, and with nothing that was not meant to be told."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from bascule_telemetry.logs import FIELDS, JsonFormatter, about, pseudonym
from bascule_telemetry.traces import trace_id_of

WORKFLOW = "imagebuild/1f6d/3"


class Heard(logging.Handler):
    """Keeps lines as the formatter makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler, log = Heard(), logging.getLogger("some.library")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)


log = logging.getLogger("some.library")


def test_a_line_says_what_it_is_about_and_names_the_trace(heard: Heard) -> None:
    with about(resource="ImageBuild/acme-dev/web", tenant="acme", workflow=WORKFLOW, run=3):
        log.info("made %d of %d", 1, 2)
    (line,) = heard.lines
    assert line.pop("time")
    assert line == {
        "level": "INFO",
        "logger": "some.library",
        "message": "made 1 of 2",
        "resource": "ImageBuild/acme-dev/web",
        "tenant": "acme",
        "workflow": WORKFLOW,
        "run": 3,
        "trace_id": trace_id_of(WORKFLOW),
    }


def test_what_a_line_says_itself_counts_more_and_ends_with_the_block(heard: Heard) -> None:
    with about(resource="outer", tenant="acme"):
        with about(resource="inner"):
            log.info("one", extra={"tenant": "other"})
        log.info("two")
    log.info("three")
    told = [(line.get("resource"), line.get("tenant")) for line in heard.lines]
    assert told == [("inner", "other"), ("outer", "acme"), (None, None)]


async def test_tasks_at_the_same_time_do_not_mix_what_they_are_about(heard: Heard) -> None:
    async def work(name: str) -> None:
        with about(resource=name):
            for _ in range(5):
                await asyncio.sleep(0)
                log.info("for %s", name)

    await asyncio.gather(*(work(str(number)) for number in range(5)))
    assert len(heard.lines) == 25
    assert all(line["message"] == f"for {line['resource']}" for line in heard.lines)


def test_objects_and_secrets_beside_the_named_fields_are_not_written(heard: Heard) -> None:
    log.info("a Secret was read", extra={"body": {"data": "s3cr3t"}, "password": "s3cr3t", "name_of_it": "s3cr3t"})
    assert "s3cr3t" not in json.dumps(heard.lines)


@pytest.mark.parametrize("field", ["approver", "set_by"])
def test_people_are_told_apart_and_not_named(heard: Heard, field: str) -> None:
    for person in ("jane.doe@example.com", "jane.doe@example.com", "john@example.com"):
        log.info("somebody decided", extra={field: person})
    told = [line[field] for line in heard.lines]
    assert told[0] == told[1] == pseudonym("jane.doe@example.com") != told[2]
    assert "jane" not in json.dumps(heard.lines)
    assert "example.com" not in json.dumps(heard.lines)


def test_lines_of_workflows_and_activities_name_theirs(heard: Heard) -> None:
    log.info("one", extra={"temporal_workflow": {"workflow_id": WORKFLOW, "run_id": "r", "namespace": "acme"}})
    details = {"workflow_id": WORKFLOW, "workflow_run_id": "r", "activity_type": "build_image", "attempt": 2}
    log.info("two", extra={"temporal_activity": details})
    assert [line["workflow"] for line in heard.lines] == [WORKFLOW] * 2
    assert [line["run_id"] for line in heard.lines] == ["r"] * 2
    assert (heard.lines[1]["action"], heard.lines[1]["attempt"]) == ("build_image", 2)


def test_an_exception_is_part_of_its_line_whatever_is_in_it(heard: Heard) -> None:
    log.error("failed\nbadly", exc_info=ValueError('a "quote"\nand a line'))
    (line,) = heard.lines
    assert line["message"] == "failed\nbadly"
    assert 'ValueError: a "quote"' in line["traceback"]


def test_every_field_is_described() -> None:
    assert all(FIELDS.values())
