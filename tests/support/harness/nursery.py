"""`python -m tests.support.harness.nursery MODULE`: starts `python -m MODULE` in a moment, again and again.

What takes a second of such a start is reading the code. Here it is read once; each start is a fork of this process,
which has run nothing of it. Requests are lines of JSON on standard input; answers are lines on standard output:
`started PID` for each request in order, and `ended PID CODE` for each process when it ends.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any


def main() -> None:
    program = importlib.import_module(f"{sys.argv[1]}.__main__")
    # What is shared with the children stays shared.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, lambda *_: _tell_who_ended())
    children: list[int] = []
    for line in sys.stdin:
        request = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        if (pid := os.fork()) == 0:
            _become(program, request)
        children.append(pid)
        _tell(f"started {pid}")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    # Whoever asked is gone.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    for pid in children:
        with suppress(ChildProcessError, ProcessLookupError):
            if not os.waitpid(pid, os.WNOHANG)[0]:
                os.kill(pid, signal.SIGKILL)


def _become(program: Any, request: dict[str, Any]) -> None:
    """Run the program as if it had been started. Never returns."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for mine, theirs in ((0, nothing), (1, log), (2, log)):
            os.dup2(theirs, mine)
        os.closerange(3, max(log, nothing) + 1)
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = [program.__file__, *request["arguments"]]
        code = program.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - told, as the interpreter would
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


def _tell_who_ended() -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            _tell(f"ended {ended[0]} {os.waitstatus_to_exitcode(ended[1])}")


def _tell(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main()
