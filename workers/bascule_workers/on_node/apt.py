"""apt on the node: which upgrades there are, and installing exact versions, with an exit code for each way to fail."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence

from bascule_workers.in_step.contract import ExitCode, StepError
from bascule_workers.on_node import dpkg
from bascule_workers.on_node.host import Host, Outcome
from bascule_workers.on_node.records import Change, Records

LOCK_PATIENCE = 600.0
"""Seconds to wait for another package manager, such as the node's own unattended upgrades."""
_INSTALL = re.compile(
    r"^Inst (?P<name>\S+)(?: \[(?P<old>[^\]]+)\])? \((?P<new>\S+) (?P<origins>.*?)(?: \[[^\]]*\])?\)", re.MULTILINE
)
_SECURITY = re.compile(r"(^|[, ])(Debian-Security:|[^, /]+/[^, ]*-security\b)")
_LOCKED = re.compile(r"Could not get lock|is held by process|Unable to acquire the dpkg frontend lock|Unable to lock")
_FETCHING = re.compile(
    r"Failed to fetch|Unable to fetch|Could not (connect|resolve)|Temporary failure|Hash Sum mismatch"
)
_SCRIPT = re.compile(r"^(?:dpkg: error processing (?:package|archive) (?P<name>\S+).*|E: (?P<error>.*))$", re.MULTILINE)


def update(host: Host, patience: float = LOCK_PATIENCE, sleep: Callable[[float], None] = time.sleep) -> None:
    """Fetch the lists of packages. Raises StepError: UNAVAILABLE when an archive does not answer."""
    # Otherwise apt takes old lists for good when an archive is away, and an upgrade that finds nothing looks done.
    words = ["apt-get", "--quiet", "--option=APT::Update::Error-Mode=any", "update"]
    # The lists have a lock of their own, for which apt does not wait.
    done = _unlocked(lambda: host.run(words, dpkg.UNATTENDED), patience, sleep)
    if done.code != 0:
        raise StepError(ExitCode.UNAVAILABLE, f"the package lists cannot be fetched: {error_in(done.output)}")


def upgrades(host: Host, names: Sequence[str], *, security: bool) -> list[Change]:
    """What apt would upgrade: the named packages, or all, or those with security updates. Held packages stay."""
    words = ["install", "--only-upgrade", *names] if names else ["upgrade", "--with-new-pkgs"]
    found = [change for change, _ in _simulated(host, words)] if names else _all_upgrades(host, words, security)
    return [change for change in found if change.old]


def _all_upgrades(host: Host, words: Sequence[str], security: bool) -> list[Change]:
    return [change for change, origins in _simulated(host, words) if not security or is_security(origins)]


def consequences(host: Host, arguments: Sequence[str]) -> list[Change]:
    """Everything that installing these exact versions changes, with the new packages that they need."""
    return [change for change, _ in _simulated(host, ["install", "--only-upgrade", *arguments])]


def is_security(origins: str) -> bool:
    """Whether one of the archives that has the version is one of security updates, by label or by suite."""
    return _SECURITY.search(origins) is not None


def parse_simulation(text: str) -> list[tuple[Change, str]]:
    """Read what `apt-get --simulate` prints: each package to be installed, and the archives that have it."""
    return [
        (Change(found["name"], found["old"] or "", found["new"]), found["origins"]) for found in _INSTALL.finditer(text)
    ]


def _simulated(host: Host, words: Sequence[str]) -> list[tuple[Change, str]]:
    done = host.ask(["apt-get", "--quiet", "--simulate", *words])
    if done.code != 0:
        raise StepError(
            ExitCode.INVALID, f"apt cannot do that (its words are in the log): apt-get {' '.join(words[:8])}"
        )
    return parse_simulation(done.output)


def keep_copies(host: Host, records: Records, changes: Iterable[Change]) -> list[str]:
    """Fetch the versions that are about to be replaced, as far as an archive still has them.

    Archives of security updates drop a version when its successor comes, and then nobody could go back. Returns the
    names of those of which there is no copy.
    """
    missing = []
    for change in changes:
        place, folder = records.copies(change.name)
        if change.old and not list(folder.glob("*.deb")):
            folder.mkdir(parents=True, exist_ok=True)
            fetch = ["env", f"--chdir={place}", "apt-get", "--quiet", "download", f"{change.name}={change.old}"]
            if host.run(fetch, dpkg.UNATTENDED).code != 0:
                missing.append(change.name)
    return missing


def install(host: Host, arguments: Sequence[str], *options: str) -> None:
    """Install exact versions. Raises StepError: INVALID when a package fails, UNAVAILABLE when it cannot be fetched."""
    settings = [f"--option=Dpkg::Options::={option}" for option in dpkg.KEEP_CONFIGURATION]
    settings.append(f"--option=DPkg::Lock::Timeout={LOCK_PATIENCE:.0f}")
    done = host.run(["apt-get", "--quiet", "--yes", *settings, *options, "install", *arguments], dpkg.UNATTENDED)
    if done.code == 0:
        return
    if _LOCKED.search(done.output):
        raise StepError(ExitCode.UNAVAILABLE, "another package manager is at work on the node")
    final = "Sub-process" in done.output or not _FETCHING.search(done.output)
    raise StepError(ExitCode.INVALID if final else ExitCode.UNAVAILABLE, f"apt-get failed: {error_in(done.output)}")


def _unlocked(run: Callable[[], Outcome], patience: float, sleep: Callable[[float], None]) -> Outcome:
    deadline = time.monotonic() + patience
    while True:
        done = run()
        if done.code == 0 or not _LOCKED.search(done.output) or time.monotonic() > deadline:
            return done
        sleep(2)


def error_in(output: str) -> str:
    """What apt and dpkg call errors; which package, and what its own script said before, comes first."""
    lines = output.splitlines()
    said = []
    for number, line in enumerate(lines):
        if found := _SCRIPT.match(line):
            if found["name"] and number:
                said.append(f"{found['name']}: {lines[number - 1].strip()}")
            elif found["error"]:
                said.append(found["error"])
    return "; ".join(dict.fromkeys(said))[:1500] or (lines[-1] if lines else "it said nothing")
