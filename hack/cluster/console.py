"""What the tool tells its user: one line per stage, with the seconds since the command began, on stderr."""

import sys
import time

_BEGAN = time.monotonic()


def say(message: str) -> None:
    """Print one line of progress."""
    print(f"[{time.monotonic() - _BEGAN:6.1f}s] {message}", file=sys.stderr, flush=True)
