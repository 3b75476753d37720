"""The Procedure `apt-rollback`: takes a Debian node's packages back to the versions of before the run's first upgrade.

Only packages that the run itself set out to change are touched. Where nothing is written down there is nothing to do.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from bascule_workers.in_step import contract
from bascule_workers.in_step.contract import ExitCode, Report, Step, StepError
from bascule_workers.on_node import apt, boots, dpkg
from bascule_workers.on_node.apt_upgrade import Reboot
from bascule_workers.on_node.host import Host, host_of
from bascule_workers.on_node.records import Change, Records, records_of, step_name

_SHOWN = 12


def rollback(step: Step) -> Report:
    return rollback_node(step, host_of(step))


def rollback_node(step: Step, host: Host) -> Report:
    records, name = records_of(step, host), step_name(step, "rollback")
    if not records.exists():
        return Report("the run wrote nothing down on this node: nothing to take back", _results([], False))
    dpkg.require_debian(host)
    # What fails to be configured is what we are about to replace.
    dpkg.repair(host, apt.LOCK_PATIENCE)
    standing = still_changed(records.intended(), dpkg.installed(host))
    if standing:
        _refresh(host)
        records.intend(standing, boots.boot_id(host))
        # In one go, so that packages which depend on each other's exact versions go back together.
        apt.install(host, [_argument(records, change) for change in standing], "--allow-downgrades")
        left = still_changed(standing, dpkg.installed(host))
        if left:
            raise StepError(ExitCode.INVALID, f"still not as before: {_listed(left)}")
    return _report(step, host, records, name, standing)


def still_changed(intended: Sequence[Change], now: Mapping[str, str]) -> list[Change]:
    """Of what the run set out to change, what is not as it was before; with the version of now as `new`."""
    found = [Change(change.name, change.old, _version(now, change.name)) for change in intended]
    return [change for change in found if change.old != change.new]


def _version(now: Mapping[str, str], name: str) -> str:
    """apt says `libc6`, dpkg says `libc6:amd64` of a package that may be there for several architectures."""
    if name in now:
        return now[name]
    return next((version for known, version in now.items() if known.partition(":")[0] == name), "")


def _refresh(host: Host) -> None:
    try:
        apt.update(host)
    except StepError as error:
        print(f"bascule: {error.report.message}; going on with what the node has", flush=True)


def _argument(records: Records, change: Change) -> str:
    """What apt is to install, or, with a dash behind it, to remove: what was not there before goes again."""
    if not change.old:
        return f"{change.name}-"
    place, folder = records.copies(change.name)
    copies = sorted(folder.glob("*.deb"))
    return f"{place}/{copies[0].name}" if copies else f"{change.name}={change.old}"


def _report(step: Step, host: Host, records: Records, name: str, taken_back: Sequence[Change]) -> Report:
    parts = [f"took back {_listed(taken_back)}" if taken_back else "every package is as it was before the run"]
    needed = boots.required(host, records)
    reboot = step.text("reboot", Reboot.IF_REQUIRED).strip() == Reboot.IF_REQUIRED and (
        needed or bool(records.asked_to_reboot(name))
    )
    if reboot:
        parts.append(boots.ask_once(host, records, name, again=needed))
    return Report("; ".join(parts), _results(taken_back, reboot))


def _results(taken_back: Sequence[Change], reboot: bool) -> dict[str, str]:
    changes = _listed(taken_back)
    return {"rebootRequired": str(reboot).lower(), "rolledBack": str(len(taken_back)), "changes": changes}


def _listed(changes: Sequence[Change]) -> str:
    words = [f"{change.name} {change.new or 'broken'} → {change.old or 'gone'}" for change in changes[:_SHOWN]]
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return ", ".join(words) + more


if __name__ == "__main__":
    sys.exit(contract.main(rollback))
