"""The Procedure `node-check`: whether a node is in order after its patch, as the node itself sees it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from bascule_workers.in_step import contract
from bascule_workers.in_step.contract import ExitCode, Report, Step, StepError
from bascule_workers.on_node import boots, dpkg
from bascule_workers.on_node.host import Host, host_of


def check(step: Step) -> Report:
    return check_node(step, host_of(step))


def check_node(step: Step, host: Host) -> Report:
    wrong = list(_complaints(step, host))
    if wrong:
        raise StepError(ExitCode.VIOLATED, "; ".join(wrong))
    return Report("packages, disks and services are in order")


def _complaints(step: Step, host: Host) -> Iterator[str]:
    if host.ask(["test", "-e", "/var/lib/dpkg/status"]).code == 0 and (broken := dpkg.broken(host)):
        yield f"not wholly installed: {', '.join(list(broken)[:10])}"
    if not step.flag("allowPendingReboot") and boots.required(host):
        names = boots.required_by(host)
        yield f"a reboot is due{' for ' if names else ''}{', '.join(names[:10])}"
    least = int(step.text("minFreePercent", "5"))
    for path in ("/", "/var"):
        free = _free_percent(host, path)
        if free < least:
            yield f"{path} has {free} % of its space left, less than {least} %"
    for service in step.items("services"):
        state = host.ask(["systemctl", "is-active", "--", service]).output.strip() or "unknown"
        if state != "active":
            yield f"the service {service} is {state}"


def _free_percent(host: Host, path: str) -> int:
    """As `df` counts it: of what those who are not root may use."""
    answer = host.ask(["df", "--output=pcent", path])
    lines = answer.output.split()
    if answer.code != 0 or not lines[-1].rstrip("%").isdecimal():
        raise StepError(ExitCode.UNAVAILABLE, f"df does not say how full {path} is")
    return 100 - int(lines[-1].rstrip("%"))


if __name__ == "__main__":
    sys.exit(contract.main(check))
