"""A command at a terminal of its own, with somebody who answers its questions."""

from __future__ import annotations

import os
import pty
import re
import select
import time
from dataclasses import dataclass

_SECONDS = 240


@dataclass(frozen=True)
class Terminal:
    """What a command said at a terminal, and how it ended."""

    raw: str
    code: int

    @property
    def text(self) -> str:
        """Without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw).replace("\r\n", "\n")

    @classmethod
    def run(cls, command: list[str], environment: dict[str, str], answers: dict[str, str]) -> Terminal:
        """Run the command; when it has said a key of `answers`, its value is typed, each once."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execvpe(command[0], command, environment)  # noqa: S606 - the child of a terminal, no shell
        said, left, until = "", dict(answers), time.monotonic() + _SECONDS
        while time.monotonic() < until:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                said += os.read(terminal, 65_536).decode(errors="replace")
            except OSError:
                break
            for prompt in [prompt for prompt in left if prompt in said]:
                os.write(terminal, left.pop(prompt).encode())
        os.close(terminal)
        return cls(said, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
