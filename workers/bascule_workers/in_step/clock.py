"""Time, for programs of steps; another in tests. It imports nothing, so that what has to be quick may use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """Seconds, from any point in time on."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
