"""Reboots: whether the node needs one, and asking for it once."""

from __future__ import annotations

from bascule_workers.in_step.contract import ExitCode, StepError
from bascule_workers.on_node.host import Host
from bascule_workers.on_node.records import Records

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_REQUIRED = "/run/reboot-required"
_KERNELS = "linux-image-"
_DELAY = "5s"
"""What a systemd waits before it begins, so that our own pod can end and be reported before the kubelet is stopped."""


def boot_id(host: Host) -> str:
    found = host.ask(["cat", _BOOT_ID])
    if found.code != 0 or not found.output.strip():
        raise StepError(ExitCode.UNAVAILABLE, "the node's boot id cannot be read")
    return found.output.strip()


def required(host: Host, records: Records | None = None) -> bool:
    """Whether something that was installed asks for a reboot, the way Debian's and Ubuntu's packages do; or whether the
    run installed another kernel and the machine has not been started since: a plain Debian says nothing then."""
    if host.ask(["test", "-e", _REQUIRED]).code == 0:
        return True
    if records is None or not any(change.name.startswith(_KERNELS) for change in records.intended()):
        return False
    return records.changed_under() == boot_id(host)


def required_by(host: Host) -> list[str]:
    """The packages that ask for it, as far as they left their names."""
    return list(dict.fromkeys(host.ask(["cat", f"{_REQUIRED}.pkgs"]).output.split()))


def ask_once(host: Host, records: Records, step: str, *, again: bool = False) -> str:
    """Ask the node to reboot, unless this step of this run did and the node has another boot id since.

    `again`: there is a new reason since then. Returns what happened, for people. Dying at any point and beginning again
    asks at most once too often, of a node that is about to go down anyway. Raises StepError when the node refuses.
    """
    now, before = boot_id(host), records.asked_to_reboot(step)
    if before and before != now and not again:
        return "rebooted already"
    records.asks_to_reboot(step, now)
    asked = host.run(_command(host))
    if asked.code != 0:
        said = asked.output.strip().splitlines()
        raise StepError(ExitCode.UNAVAILABLE, f"the node refused to reboot: {said[-1] if said else asked.code}")
    return "asked to reboot"


def _command(host: Host) -> list[str]:
    if host.ask(["test", "-d", "/run/systemd/system"]).code != 0:
        return ["reboot"]
    # A unit of its own: it is not ended together with this pod.
    return ["systemd-run", "--quiet", f"--on-active={_DELAY}", "--timer-property=AccuracySec=1s", "systemctl", "reboot"]
