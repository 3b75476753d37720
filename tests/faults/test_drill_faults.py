"""Drills whose world is killed in their steps: they go on, or go, and nothing stays."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support import faults
from tests.support.builds import Body, phase_of, steps_of
from tests.support.paced_drills import STAYS, PacedDrill, in_step, rehearsing

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("drill-faults")]


WAITING = (None, "Pending")


@pytest.fixture(scope="module")
def owner(bascule: Cluster) -> Iterator[TenantHandle]:
    with rehearsing(bascule) as tenant:
        yield tenant


def figures(body: Body) -> Body:
    return dict(body["status"].get("drill") or {})


@pytest.mark.parametrize(
    ("step", "pace"),
    [("apply", {"ready_after": 45}), ("restore", {"restore_seconds": 45}), ("probe-web", {"probe_after": 60})],
    ids=["apply", "restore", "probe"],
)
def test_with_everything_killed_in_a_step_it_goes_on_and_meets_its_objectives(
    bascule: Cluster, owner: TenantHandle, step: str, pace: dict[str, int]
) -> None:
    drill = in_step(bascule, owner, step, **pace)

    kill_everything(bascule)
    body = drill.until_over()

    assert (phase_of(body), figures(body)["verdict"]) == ("Succeeded", "Met"), json.dumps(body["status"], indent=2)
    assert body["status"]["run"]["number"] == 1
    drill.assert_nothing_left()


@pytest.mark.parametrize("step", STAYS)
def test_with_everything_killed_while_it_is_deleted_nothing_stays(
    bascule: Cluster, owner: TenantHandle, step: str
) -> None:
    drill = in_step(bascule, owner, step)

    drill.delete()
    kill_everything(bascule)
    drill.until_gone(300)

    drill.assert_nothing_left()


def test_a_worker_that_is_replaced_in_each_part_changes_nothing_of_what_comes_out(
    bascule: Cluster, owner: TenantHandle
) -> None:
    drill = PacedDrill(bascule, owner, restore_seconds=10).apply()

    for step in ("provision", "isolate", "restore", "probe-web", "teardown"):
        drill.until(
            lambda body, step=step: steps_of(body).get(step) not in (None, "Pending"), f"at {step}", seconds=300
        )
        worker = ["-n", "bascule-system", "-l", "app.kubernetes.io/component=worker"]
        bascule.kubectl("delete", "pods", *worker, "--grace-period=0", "--force", "--wait=false")
    body = drill.until_over()

    assert (phase_of(body), figures(body)["verdict"]) == ("Succeeded", "Met"), json.dumps(body["status"], indent=2)
    drill.assert_nothing_left()


def kill_everything(bascule: Cluster) -> None:
    """Operator and workers at once, then the API server and Temporal below them."""
    for component in ("worker", "operator"):
        faults.sigkill(bascule, component)
    for part in ("apiserver", "temporal"):
        bascule.restart(part)
