"""Which code this is. Workflows import it passed through: it is read from the environment once per process."""

from __future__ import annotations

import os
from importlib import metadata

BUILD_ID = os.environ.get("BASCULE_BUILD_ID", "")
VERSION = metadata.version("bascule") + (f"+{BUILD_ID}" if BUILD_ID else "")
