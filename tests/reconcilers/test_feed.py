"""The change feed on a real Temporal: late rows, absences, and what Temporal itself says of a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest

from bascule_operator import metrics, observe, windows
from bascule_operator.connections.temporal import Place, Temporal
from bascule_operator.decisions import moves
from bascule_operator.feed import Feed
from bascule_operator.observe import Row
from bascule_operator.windows import Window
from tests.reconcilers.conftest import Lab, condition
from tests.support.scripted_builds import ScriptedBuild

Json = dict[str, Any]


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are looked at by the feed only: nobody describes one because it is new or silent."""
    monkeypatch.setattr(moves, "STARTED_SECONDS", 3600.0)
    monkeypatch.setattr(moves, "NO_NEWS_SECONDS", 3600.0)
    monkeypatch.setattr(windows, "FULL_EVERY", 3600.0)


async def until_heard(lab: Lab, body: Json) -> Window:
    """The feed's memory once it has heard of the build's run."""
    async with asyncio.timeout(20):
        while True:
            found = lab.bridge and lab.bridge.feed.windows.get(Place(lab.tenant))
            if found and body["status"]["run"]["workflowId"] in found.seen:
                return found
            await asyncio.sleep(0.05)


def requests(call: str) -> float:
    return float(metrics.TEMPORAL_REQUESTS.labels(call, "ok")._value.get())


async def test_a_row_that_is_late_by_more_than_the_near_window_is_found_by_the_wide_one(
    served: Lab, unasked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WIDE_EVERY", 5.0)
    key = await served.build(behaviour="slow")
    window = await until_heard(served, await served.until_phase(key, "Running"))
    late = metrics.FEED_LATE_ROWS._value.get()
    # As if a faster run had been seen with stamps that are 40 s ahead.
    assert window.mark is not None
    window.mark += timedelta(seconds=40)
    await served.until_phase(key, "Succeeded")
    assert metrics.FEED_LATE_ROWS._value.get() > late


async def test_what_even_the_wide_window_missed_is_found_by_the_question_for_all(
    served: Lab, unasked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await served.build(behaviour="slow")
    body = await served.until_phase(key, "Running")
    window = await until_heard(served, body)
    assert window.mark is not None
    window.mark += timedelta(hours=1)
    await served.until_closed(body["status"]["run"]["workflowId"])
    await asyncio.sleep(2.5)
    assert (await served.until_phase(key, "Running"))["status"]["run"].get("outcome") is None
    monkeypatch.setattr(windows, "FULL_EVERY", 1.0)
    await served.until_phase(key, "Succeeded")


async def test_after_an_hour_away_everything_is_caught_up_with_and_only_what_ended_is_described(
    served: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = [await served.build(f"over{number}", behaviour="slow") for number in range(3)]
    going = [await served.build(f"going{number}", behaviour="hang") for number in range(6)]
    for key in (*over, *going):
        window = await until_heard(served, await served.until_phase(key, "Running"))
    monkeypatch.setattr(moves, "STARTED_SECONDS", 3600.0)
    real = Feed.tick

    async def away(feed: Feed) -> None:
        pass

    monkeypatch.setattr(Feed, "tick", away)
    for key in over:
        body = await served.get(key) or {}
        await served.until_closed(body["status"]["run"]["workflowId"])
    await asyncio.sleep(2.5)
    described = requests("describe")
    # An hour passes: by the feed's clock, and by that of the runs' last news.
    for moment in ("asked_at", "wide_at", "full_at"):
        setattr(window, moment, getattr(window, moment) - 3600)
    window.heard = {workflow_id: when - 3600 for workflow_id, when in window.heard.items()}
    monkeypatch.setattr(Feed, "tick", real)
    for key in over:
        await served.until_phase(key, "Succeeded")
    await asyncio.sleep(1.5)
    assert requests("describe") - described <= len(over) + 1
    for key in going:
        await served.until_phase(key, "Running")


async def test_an_older_row_never_takes_progress_back(
    served: Lab, unasked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Row] = []
    real = observe.rows

    async def replayed(temporal: Temporal, place: Place, query: str, *known: Any) -> AsyncIterator[Row]:
        """Each answer, and after it everything that was ever answered, from the beginning."""
        async for row in real(temporal, place, query, *known):
            seen.append(row)
            yield row
        for row in seen:
            yield row

    monkeypatch.setattr(observe, "rows", replayed)
    key = await served.build(behaviour="slow")
    numbers: list[int] = []

    def over(body: Json) -> bool:
        run = body.get("status", {}).get("run", {})
        numbers.append(run.get("progressNumber", 0))
        return "outcome" in run

    await served.until(key, over, "ended")
    assert len(set(numbers)) > 2
    assert numbers == sorted(numbers)
    assert len(seen) > 2
    await asyncio.sleep(1.5)
    await served.until_phase(key, "Succeeded")


async def test_a_run_whose_code_fails_says_so_and_goes_on_once_it_is_mended(
    served: Lab, unasked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "HEALTH_EVERY", 1.0)
    key = await served.build(behaviour="crash")
    body = await served.until(key, lambda found: bool(condition(found, "RunHealthy")), "said that it is sick")
    told = condition(body, "RunHealthy")
    assert (told["status"], told["reason"]) == ("False", "WorkflowTaskFailing")
    assert "Temporal reports category=WorkflowTaskFailed" in told["message"]
    assert body["status"]["phase"] == "Pending"
    monkeypatch.setattr(ScriptedBuild, "mended", True)
    body = await served.until_phase(key, "Succeeded")
    assert not condition(body, "RunHealthy")


async def test_a_server_that_knows_no_reported_problems_is_asked_once_and_runs_are_found_sick_one_by_one(
    served: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bascule_operator.feed.HEALTH_QUESTION", "NoSuchAttribute IS NOT NULL")
    monkeypatch.setattr(windows, "HEALTH_EVERY", 0.5)
    monkeypatch.setattr(moves, "NO_NEWS_SECONDS", 3.0)
    refused = metrics.TEMPORAL_REQUESTS.labels("list", "invalid_argument")._value.get()
    key = await served.build(behaviour="crash")
    await served.until(key, lambda found: bool(condition(found, "RunHealthy")), "said that it is sick")
    assert metrics.TEMPORAL_REQUESTS.labels("list", "invalid_argument")._value.get() - refused == 1


async def pause(lab: Lab, body: Json) -> None:
    """As somebody does in Temporal's UI."""
    client, workflow_id = await lab.client(), body["status"]["run"]["workflowId"]
    await client.workflow_service.pause_workflow_execution(
        PauseWorkflowExecutionRequest(
            namespace=lab.tenant, workflow_id=workflow_id, reason="by hand", request_id=workflow_id
        )
    )


def paused(body: Json) -> bool:
    return condition(body, "RunHealthy").get("reason") == "PausedInTemporal"


async def test_a_run_that_somebody_paused_in_temporal_says_so_and_disturbs_nobody(
    served: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "FULL_EVERY", 3.0)
    key = await served.build("paused", behaviour="hang")
    body = await served.until_phase(key, "Running")
    await pause(served, body)
    other = await served.build("other")
    await served.until_phase(other, "Succeeded")
    body = await served.until(key, paused, "said that it is paused")
    assert body["status"]["phase"] == "Running"
    place = Place(served.tenant)
    assert served.bridge is not None
    rows = [row async for row in observe.rows(served.bridge.world.temporal, place, "BasculeUid IS NOT NULL")]
    assert sorted(row.view.paused for row in rows) == [False, True]


async def test_a_run_that_somebody_paused_in_temporal_can_be_deleted(served: Lab) -> None:
    key = await served.build(behaviour="hang")
    body = await served.until_phase(key, "Running")
    await pause(served, body)
    await served.delete(key)
    await served.until_gone(key)


async def test_a_namespace_without_live_runs_is_not_asked(served: Lab) -> None:
    key = await served.build()
    await served.until_phase(key, "Succeeded")
    await asyncio.sleep(1.5)
    asked = requests("list")
    await asyncio.sleep(2.5)
    assert requests("list") == asked
