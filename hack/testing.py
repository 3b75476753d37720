"""The test commands behind `make test` and `make system`: which suites, in which order, with how many processes.

`make test` is everything but the slow suites (tests/system, tests/faults, tests/security), plus the cases of those
marked `smoke`. `make system SLICE=i/n` runs the slow suites, or the i-th of n even parts of them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from hack.cluster import handle
from hack.cluster.packages import ensure_programs

ROOT = Path(__file__).resolve().parent.parent
SLOW = ("tests/system", "tests/faults", "tests/security")
CLUSTER = "bascule-test"
# Program on PATH -> Debian package and what tests want it for.
TEST_PROGRAMS = {
    "docker-registry": ("docker-registry", "is the registry of tests that need no cluster"),
    "packer": ("packer", "is what the Procedure packer is proven with"),
    "qemu-system-x86_64": ("qemu-system-x86", "lets Packer build an image of a machine"),
    "qemu-img": ("qemu-utils", "makes the disk of that machine"),
    "ps": ("procps", "shows whether a tool left processes behind"),
    "/usr/sbin/sshd": ("openssh-server", "serves git by SSH"),
    "chromium": ("chromium", "shows pages as a person sees them"),
    "pdftotext": ("poppler-utils", "reads what is printed of them"),
    "/usr/lib/postgresql/15/bin/initdb": ("postgresql-15", "is what drills are proven to restore"),
    "curl": ("curl", "fetches backups from S3 stores"),
    "zstd": ("zstd", "unpacks backups"),
}


_RUN = uuid.uuid4().hex


def _say(text: str) -> None:
    print(f"» {text}", flush=True)


def _pytest(*arguments: str, slice_of: str = "", environment: Mapping[str, str] | None = None) -> int:
    environment = (
        os.environ
        | dict(environment or {})
        | {
            "BASCULE_TEST_CLUSTER": CLUSTER,
            "BASCULE_KEEP_CLUSTER": "1",
            "BASCULE_TEST_RUN": _RUN,
            "BASCULE_SLICE": slice_of,
        }
    )
    command = [str(ROOT / ".venv/bin/pytest"), *arguments]
    _say(" ".join(["pytest", *arguments]))
    code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    # An empty slice is no failure.
    return 0 if code == 5 and slice_of else code


def _slow_folders() -> list[str]:
    return [folder for folder in SLOW if (ROOT / folder).is_dir()]


def run_tests(processes: int) -> int:
    """Everything but the slow suites, then their smoke cases. Returns the exit code."""
    folders = sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").iterdir()
        if path.is_dir() and path.name not in ("support", "__pycache__") and f"tests/{path.name}" not in SLOW
    )
    quick = _pytest("-n", str(processes), "--dist", "loadscope", *folders)
    return run_smoke() or quick


def run_smoke() -> int:
    """One case of each slow suite. Returns the exit code."""
    # Ten faults need fewer operators than all of them, and a shorter silence at their end.
    return _pytest(
        "-m", "smoke", *_slow_folders(), environment={"BASCULE_FAULT_SHARDS": "8", "BASCULE_FAULT_QUIET": "5"}
    )


def run_system(processes: int, slice_of: str, seconds: int | None) -> int:
    """The slow suites, or a slice of them; new cases are not begun after `seconds`. Returns the exit code."""
    begun = time.monotonic()
    code = 0
    for folder in _slow_folders():
        # Cases that kill what all tests share run one at a time.
        together = ("-n", "0") if folder == "tests/faults" else ("-n", str(processes), "--dist", "loadgroup")
        left = max(1, round(seconds - (time.monotonic() - begun))) if seconds else 0
        limit = ("--session-budget", str(left)) if left else ()
        code = _pytest(*together, *limit, folder, slice_of=slice_of) or code
    return code


def slice_for(commit: str, of: int) -> str:
    """The slice that CI takes for a commit, chosen by its hash."""
    return f"{int(hashlib.sha256(commit.encode()).hexdigest(), 16) % of + 1}/{of}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.testing", description=__doc__)
    parser.add_argument("--system", action="store_true", help="run the slow suites instead")
    parser.add_argument("--slice", default="", metavar="I/N", help="the i-th of n parts of the slow suites")
    parser.add_argument("--slice-by-commit", default="", metavar="SHA", help="one of four parts, chosen by the hash")
    parser.add_argument("--seconds", type=int, help="begin no new case of the slow suites after that time")
    parser.add_argument("--processes", type=int, default=3, help="test processes (default: 3)")
    options = parser.parse_args()
    begun = time.monotonic()
    found = handle.running(CLUSTER)
    _say("using the running cluster" if found else "making a cluster for the tests (the first time builds its parts)")
    try:
        ensure_programs(TEST_PROGRAMS)
        handle.up(CLUSTER)
        _say(f"cluster ready after {time.monotonic() - begun:.0f} s")
        if options.system:
            part = options.slice or (slice_for(options.slice_by_commit, 4) if options.slice_by_commit else "")
            code = run_system(options.processes, part, options.seconds)
        else:
            code = run_tests(options.processes)
    finally:
        if found is None and not os.environ.get("KEEP"):
            handle.down(CLUSTER)
    _say(f"{'passed' if code == 0 else 'FAILED'} after {time.monotonic() - begun:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
