"""Which control group hierarchies a machine has, and where a cluster's processes go."""

from __future__ import annotations

from pathlib import Path

import pytest

from hack.cluster.cgroups import ClusterGroup, Hierarchies, hierarchies
from hack.cluster.shell import ClusterError

CPU = "30 25 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu"
PIDS = "31 25 0:27 / /sys/fs/cgroup/pids rw,relatime shared:7 - cgroup cgroup rw,pids"
PIDS_AGAIN = "32 25 0:27 / /mnt/pids rw,relatime - cgroup cgroup rw,pids"
UNIFIED = "33 25 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"
ROOT = "25 1 254:0 / / rw,relatime - ext4 /dev/vda rw"


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        pytest.param([ROOT, UNIFIED], Hierarchies((Path("/sys/fs/cgroup/unified"),), unified=True), id="version 2"),
        pytest.param(
            [ROOT, CPU, PIDS, UNIFIED, PIDS_AGAIN],
            Hierarchies((Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/pids")), unified=False),
            id="both: the controllers are in version 1",
        ),
    ],
)
def test_hierarchies(mounts: list[str], expected: Hierarchies) -> None:
    assert hierarchies("\n".join(mounts)) == expected


def test_a_machine_without_control_groups_is_refused() -> None:
    with pytest.raises(ClusterError, match="no control groups are mounted"):
        hierarchies(ROOT)


@pytest.mark.parametrize(
    ("unified", "entrance"),
    [
        pytest.param(False, "/groups/bascule-dev/node1/cgroup.procs", id="version 1"),
        pytest.param(True, "/groups/bascule-dev/node1/processes/cgroup.procs", id="version 2: a leaf of its own"),
    ],
)
def test_entrances(unified: bool, entrance: str) -> None:
    group = ClusterGroup("dev", Hierarchies((Path("/groups"),), unified))

    assert group.entrances("node1") == [entrance]
