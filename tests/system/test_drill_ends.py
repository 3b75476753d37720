"""Drills that are deleted, cancelled, or ended in Temporal, in each of their steps.

The namespace always goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bascule_api import names
from hack import installation
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support.builds import Body, phase_of, steps_of
from tests.support.paced_drills import LONG, STAYS, PacedDrill, in_step, rehearsing

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("drill-ends")]

HOLD = "example.com/hold"


@pytest.fixture(scope="module")
def owner(bascule: Cluster) -> Iterator[TenantHandle]:
    with rehearsing(bascule) as tenant:
        yield tenant


def figures(body: Body) -> Body:
    return dict(body["status"].get("drill") or {})


def kept(bascule: Cluster, owner: TenantHandle) -> PacedDrill:
    """A drill that missed its objectives, and waits for people to look at it."""
    probes = [{"name": "web", "tcp": {"service": "web", "port": 9}, "timeout": "5s", "interval": "1s"}]
    drill = PacedDrill(bascule, owner, spec={"probes": probes, "keepFor": "2h"}).apply()
    drill.until(lambda body: (body["status"].get("waitingFor") or {}).get("gate") == "keep", "kept", seconds=300)
    return drill


@pytest.mark.parametrize("step", ["plan", "provision", "isolate", *STAYS])
def test_deleted_in_any_step_nothing_stays(bascule: Cluster, owner: TenantHandle, step: str) -> None:
    drill = in_step(bascule, owner, step)

    drill.delete()
    drill.until_gone(300)

    drill.assert_nothing_left()


def test_deletion_ends_the_time_for_people_to_look_at_it(bascule: Cluster, owner: TenantHandle) -> None:
    drill = kept(bascule, owner)
    body = drill.get()
    assert body is not None
    assert (phase_of(body), figures(body)["verdict"], figures(body)["reason"]) == ("Waiting", "Missed", "ProbeFailed")
    assert drill.spaces == [f"namespace/{figures(body)['namespace']}"]

    drill.delete()
    drill.until_gone(300)

    drill.assert_nothing_left()


def test_a_restore_that_took_too_long_reaches_out_no_more_while_people_look(
    bascule: Cluster, owner: TenantHandle
) -> None:
    spec = {"timeout": "3m", "keepFor": "2h"}
    drill = PacedDrill(bascule, owner, restore_seconds=LONG, spec=spec).apply()
    body = drill.until(lambda body: (body["status"].get("waitingFor") or {}).get("gate") == "keep", "kept", seconds=600)
    assert steps_of(body)["restore"] == "Failed"
    pods = json.loads(bascule.kubectl("get", "pods", "-n", figures(body)["namespace"], "-o", "json"))["items"]
    labels = {pod["metadata"]["name"]: pod["metadata"]["labels"] for pod in pods}
    running = {pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] not in ("Succeeded", "Failed")}
    assert running, "what the manifests brought is there to look at"
    assert [name for name in running if names.LABEL_EGRESS in labels[name] or names.LABEL_RUN in labels[name]] == []

    drill.delete()
    drill.until_gone(300)

    drill.assert_nothing_left()


def test_a_cancelled_drill_is_torn_down_and_says_what_was_there(bascule: Cluster, owner: TenantHandle) -> None:
    drill = in_step(bascule, owner, "restore")

    drill.annotate(cancel="not today")
    body = drill.until_phase("Cancelled")

    assert (figures(body)["verdict"], figures(body)["reason"]) == ("Inconclusive", "NotMeasured")
    counts = {item["kind"]: (item.get("before", 0), item.get("after", 0)) for item in figures(body)["searched"]}
    assert counts["Namespace"] == (1, 0)
    assert counts["Pod"][0] > 0
    assert {after for _, after in counts.values()} == {0}
    drill.assert_nothing_left()


@pytest.mark.parametrize("step", STAYS)
def test_ended_in_temporal_in_any_step_an_undo_tears_it_down(bascule: Cluster, owner: TenantHandle, step: str) -> None:
    drill = in_step(bascule, owner, step)
    body = drill.get()
    assert body is not None
    bascule.exec(
        ["temporal", "workflow", "terminate", "--address", bascule.temporal_address, "--namespace", owner.name]
        + ["--workflow-id", body["status"]["run"]["workflowId"], "--reason", "by hand"],
        check=True,
    )

    body = drill.until_phase("Failed")

    assert body["status"]["failure"]["type"] == "RunLost"
    drill.until(lambda found: found["status"]["compensation"]["state"] == "Succeeded", "undone", seconds=300)
    drill.assert_nothing_left()


def test_a_foreign_finalizer_is_named_and_never_taken_off(bascule: Cluster, owner: TenantHandle) -> None:
    drill = kept(bascule, owner)
    [space] = drill.spaces
    namespace = space.partition("/")[2]
    held = {"name": "held", "namespace": namespace, "finalizers": [HOLD]}
    installation.apply(bascule, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": held})

    drill.delete()
    drill.until(lambda body: any(HOLD in left for left in figures(body).get("left", [])), "told", seconds=300)
    assert HOLD in bascule.kubectl("get", "configmap", "held", "-n", namespace, "-o", "json")
    bascule.kubectl(
        "patch", "configmap", "held", "-n", namespace, "--type=merge", "-p", '{"metadata":{"finalizers":[]}}'
    )
    drill.until_gone(300)

    drill.assert_nothing_left()
