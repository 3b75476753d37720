"""The floor on Temporal's side: a workflow that does nothing but run activities that do nothing."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

QUEUE = "bench-raw"
_TIMEOUT = timedelta(minutes=10)


@activity.defn(name="bench.nothing")
async def nothing(number: int) -> int:
    return number


@workflow.defn(name="BenchRaw")
class RawWorkflow:
    """Activities one after the other."""

    @workflow.run
    async def run(self, activities: int) -> int:
        for number in range(activities):
            await workflow.execute_activity(
                nothing,
                number,
                start_to_close_timeout=_TIMEOUT,
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
        return activities
