"""What a step's container is given, and how it answers: parameters as files, a termination message, an exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import FrameType

MESSAGE_LIMIT = 4096
"""Bytes of a termination message; the kubelet cuts off what is beyond, and half of a JSON document is none."""


class ExitCode(IntEnum):
    """What a step's container ends with. The shipped Procedures share the numbers."""

    SUCCEEDED = 0
    VIOLATED = 1
    """The image breaks the policy. Final."""
    INVALID = 10
    """What the tenant gave is wrong, or the build of it failed. Final."""
    REFUSED = 20
    """A server answered that it won't. Final."""
    UNAVAILABLE = 30
    """A server did not answer, or is failing. Worth another attempt."""
    LEFT_BEHIND = 40
    """Failed after something was made elsewhere that another attempt would make again. Final."""
    USAGE = 64
    """Called without what the contract promises. Final."""


@dataclass(frozen=True)
class Report:
    """What the container says at its end: a sentence for people, results for the workflow."""

    message: str
    results: Mapping[str, str] = field(default_factory=dict)
    exit_code: ExitCode = ExitCode.SUCCEEDED
    failure: str = ""
    """The type of the failure as a run tells it, where the container knows better than its exit code says."""

    def to_json(self) -> str:
        """The termination message. Results are kept whole; the message gives way where both are too long."""
        message = self.message
        text = self._document(message)
        while len(text.encode()) > MESSAGE_LIMIT and message:
            message = message[: len(message) * 9 // 10]
            text = self._document(f"{message}…")
        return text

    def _document(self, message: str) -> str:
        failure = {"failure": self.failure} if self.failure else {}
        return json.dumps({"results": dict(self.results), "message": message} | failure, ensure_ascii=False)


class StepError(Exception):
    """Ends the step; says whether trying again can help, and carries what was found out until then."""

    def __init__(
        self, exit_code: ExitCode, message: str, results: Mapping[str, str] | None = None, failure: str = ""
    ) -> None:
        super().__init__(message)
        self.report = Report(message, results or {}, exit_code, failure)


@dataclass(frozen=True)
class Step:
    """What the container was given."""

    environment: Mapping[str, str]

    def variable(self, name: str) -> str:
        """A variable that the contract promises. Raises StepError without it."""
        if value := self.environment.get(name):
            return value
        raise StepError(ExitCode.USAGE, f"the environment variable {name} is not set")

    def _parameter(self, name: str) -> Path:
        return Path(self.variable("BASCULE_PARAMS_DIR"), name)

    def text(self, name: str, default: str = "") -> str:
        """A string parameter, byte for byte."""
        path = self._parameter(name)
        return path.read_bytes().decode() if path.is_file() else default

    def flag(self, name: str) -> bool:
        """A boolean parameter; false where it is not set."""
        return self.text(name).strip() == "true"

    def items(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """An array parameter: a folder with the files 0, 1, … An empty folder is an empty list, not the default."""
        folder = self._parameter(name)
        if not folder.is_dir():
            return default
        files = sorted((path for path in folder.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
        return tuple(path.read_bytes().decode() for path in files)


def main(program: Callable[[Step], Report]) -> int:
    """The whole of a step's `__main__`. Returns the exit code."""
    # The first process of a container gets no default action for signals: without a handler it would run on until it
    # is killed, and with it what it started.
    signal.signal(signal.SIGTERM, _stop)
    return run(program, os.environ)


def _stop(number: int, frame: FrameType | None) -> None:
    raise StepError(ExitCode.UNAVAILABLE, f"stopped by {signal.Signals(number).name}")


def run(program: Callable[[Step], Report], environment: Mapping[str, str]) -> int:
    """Run the program and report what it returns or raises. Returns the exit code."""
    try:
        report = program(Step(environment))
    except StepError as error:
        report = error.report
    stream = sys.stdout if report.exit_code is ExitCode.SUCCEEDED else sys.stderr
    print(f"bascule: {report.message}", file=stream, flush=True)
    Path(environment.get("BASCULE_TERMINATION_LOG") or "/dev/termination-log").write_text(
        report.to_json(), encoding="utf-8"
    )
    return int(report.exit_code)
