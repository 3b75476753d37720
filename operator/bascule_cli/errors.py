"""What the command can end with besides success: an exit code that scripts rely on, and words with the remedy."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes, for scripts. They do not change."""

    OK = 0
    """It is as asked, or it is under way."""
    FAILED = 1
    """The answer is no: the run failed, the Approval did not count, there is nothing to decide or to cancel."""
    USAGE = 2
    """The command line is wrong."""
    NOT_FOUND = 3
    """There is no such resource, step or log, or Bascule is not installed."""
    FORBIDDEN = 4
    """The user may not do that; the message names the right."""
    TIMED_OUT = 5
    """It did not happen in time; what was asked for stays asked for."""
    UNREACHABLE = 6
    """The cluster or the registry does not answer."""
    INTERRUPTED = 130
    """Ctrl-C."""


class CliError(Exception):
    """Ends the command. `hints` are lines on what to do."""

    def __init__(self, code: ExitCode, message: str, *hints: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hints = hints


class NotFoundError(CliError):
    """There is no such object."""

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(ExitCode.NOT_FOUND, message, *hints)


class ForbiddenError(CliError):
    """The user lacks a right."""

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(ExitCode.FORBIDDEN, message, *hints)
