"""The Procedure `node-reboot`: asks the node for a reboot, once in a run."""

from __future__ import annotations

import sys

from bascule_workers.in_step import contract
from bascule_workers.in_step.contract import Report, Step
from bascule_workers.on_node import boots
from bascule_workers.on_node.host import Host, host_of
from bascule_workers.on_node.records import records_of, step_name


def reboot(step: Step) -> Report:
    return reboot_node(step, host_of(step))


def reboot_node(step: Step, host: Host) -> Report:
    said = boots.ask_once(host, records_of(step, host), step_name(step, "reboot"))
    return Report(said, {"rebootRequired": "true"})


if __name__ == "__main__":
    sys.exit(contract.main(reboot))
