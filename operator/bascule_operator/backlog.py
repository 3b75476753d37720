"""How many tasks wait for workers, in each tenant's task queue that has live runs: for metrics only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

from bascule_api import names
from bascule_operator import metrics
from bascule_operator.connections.temporal import CALL_TIMEOUT, Place, Temporal
from bascule_operator.errors import OperatorError

log = logging.getLogger(__name__)

EVERY_SECONDS = 30.0
_TYPES = {
    "workflow": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    "activity": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}


class Backlog:
    """Asks two questions for each tenant with live runs, twice a minute."""

    def __init__(self, temporal: Temporal, tenants: Callable[[], dict[Place, str]]) -> None:
        self._temporal = temporal
        self._tenants = tenants
        """Where tenants have live runs, and which."""
        self._known: set[str] = set()

    async def run(self) -> None:
        """Serve for ever."""
        while True:
            try:
                await self.measure()
            except Exception:
                # It is for metrics only, and must not end the operator.
                log.exception("task queues could not be measured")
            await asyncio.sleep(EVERY_SECONDS)

    async def measure(self) -> None:
        """Ask once. Tenants without live runs, and those that cannot be asked, have no metrics."""
        asked: set[str] = set()
        for place, tenant in self._tenants().items():
            try:
                for name, kind in _TYPES.items():
                    await self._ask(place, names.task_queue(tenant), name, kind)
            except OperatorError:
                continue  # the feed says so
            asked.add(place.namespace)
        for gone in self._known - asked:
            for name in _TYPES:
                for gauge in (metrics.TASK_QUEUE_BACKLOG, metrics.TASK_QUEUE_AGE_SECONDS, metrics.TASK_QUEUE_POLLERS):
                    gauge.remove(gone, name)
        self._known = asked

    async def _ask(self, place: Place, queue: str, name: str, kind: TaskQueueType.ValueType) -> None:
        client = await self._temporal.client(place)
        request = DescribeTaskQueueRequest(
            namespace=place.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind, report_stats=True
        )
        async with self._temporal.call("describe_task_queue"):
            found = await client.workflow_service.describe_task_queue(request, timeout=CALL_TIMEOUT)
        labels = (place.namespace, name)
        metrics.TASK_QUEUE_BACKLOG.labels(*labels).set(found.stats.approximate_backlog_count)
        age = found.stats.approximate_backlog_age
        metrics.TASK_QUEUE_AGE_SECONDS.labels(*labels).set(age.seconds + age.nanos / 1e9)
        metrics.TASK_QUEUE_POLLERS.labels(*labels).set(len(found.pollers))
