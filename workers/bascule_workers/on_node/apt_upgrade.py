"""The Procedure `apt-upgrade`: upgrades packages of a Debian node, and writes down what it found.

May be ended at any point and begun again: the versions of before the first attempt are kept, dpkg goes on where it was
interrupted, and what is upgraded already is not upgraded again.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum

from bascule_workers.in_step import contract
from bascule_workers.in_step.contract import Report, Step, StepError
from bascule_workers.on_node import apt, boots, dpkg
from bascule_workers.on_node.host import Host, host_of
from bascule_workers.on_node.records import Change, Records, records_of, step_name

_SHOWN = 12


class Scope(StrEnum):
    """Which upgrades, where no packages are named."""

    SECURITY = "Security"
    ALL = "All"


class Reboot(StrEnum):
    """What becomes of a reboot that the upgrades ask for."""

    IF_REQUIRED = "IfRequired"
    NEVER = "Never"


def upgrade(step: Step) -> Report:
    return upgrade_node(step, host_of(step))


def upgrade_node(step: Step, host: Host) -> Report:
    records, name = records_of(step, host), step_name(step, "upgrade")
    dpkg.require_debian(host)
    records.keep_first(dpkg.installed(host))
    records.forget_others()
    # A package that cannot be configured may be just what an upgrade puts right; if not, apt says so below.
    dpkg.repair(host, apt.LOCK_PATIENCE)
    apt.update(host)
    wanted = apt.upgrades(
        host, step.items("packages"), security=step.text("scope", Scope.SECURITY).strip() == Scope.SECURITY
    )
    try:
        without_copy = _install(host, records, wanted)
    except StepError as error:
        records.keep_last(dpkg.installed(host))
        raise StepError(error.report.exit_code, error.report.message, _results(host, records)) from None
    records.keep_last(dpkg.installed(host))
    return _report(step, host, records, name, without_copy)


def _install(host: Host, records: Records, wanted: Sequence[Change]) -> list[str]:
    """Install what is wanted, and whatever is left half done. Returns the names of which no older copy was kept."""
    arguments = [f"{change.name}={change.new}" for change in wanted]
    without_copy: list[str] = []
    if arguments:
        changes = apt.consequences(host, arguments)
        without_copy = apt.keep_copies(host, records, changes)
        records.intend(changes, boots.boot_id(host))
    if arguments or dpkg.broken(host):
        # Nothing is removed for an upgrade: what that would need is for people to decide.
        apt.install(host, arguments, "--only-upgrade", "--no-remove", "--fix-broken")
    return without_copy


def _report(step: Step, host: Host, records: Records, name: str, without_copy: Sequence[str]) -> Report:
    results = _results(host, records)
    parts = [f"{results['upgraded']} upgraded{': ' if results['changes'] else ''}{results['changes']}"]
    if without_copy:
        parts.append(f"no copy of the old version of {_listed(without_copy)}: a rollback needs an archive that has it")
    reboot, asked = boots.required(host, records), records.asked_to_reboot(name)
    if step.text("reboot", Reboot.IF_REQUIRED).strip() == Reboot.NEVER:
        if reboot:
            parts.append(f"a reboot is due{_because(host)}, and is left to others")
        reboot = False
    elif reboot or asked:
        because = _because(host)
        parts.append(f"{boots.ask_once(host, records, name, again=reboot)}{because}")
        reboot = True
    return Report("; ".join(parts), results | {"rebootRequired": str(reboot).lower()})


def _because(host: Host) -> str:
    names = boots.required_by(host)
    return f" for {_listed(names)}" if names else ""


def _results(host: Host, records: Records) -> dict[str, str]:
    changed, broken = changes_between(records.before(), dpkg.installed(host)), dpkg.broken(host)
    return {
        "rebootRequired": "false",
        "upgraded": str(sum(change.name not in broken for change in changed)),
        "changes": _listed([told(change, broken) for change in changed]),
    }


def told(change: Change, broken: Mapping[str, str]) -> str:
    """`web 1.1 → 1.2`, for people; of a package that is left half done how it stands."""
    return f"{change.name} {change.old or 'new'} → {change.new or broken.get(change.name, 'gone')}"


def changes_between(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """The packages whose version differs; an empty version: not installed, or not wholly."""
    names = sorted(before.keys() | after.keys())
    found = [Change(name, before.get(name, ""), after.get(name, "")) for name in names]
    return [change for change in found if change.old != change.new]


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return ", ".join(words[:_SHOWN]) + more


if __name__ == "__main__":
    sys.exit(contract.main(upgrade))
