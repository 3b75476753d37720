"""Which of several operators acts: the one that holds a Lease. The others wait.

Nobody's clock but our own is trusted, and ours only for durations: another's Lease has lapsed when it was not seen to
change for as long as it lasts. The leader counts from before its write and stops acting earlier than that, so that
two never believe it at once. It asks before each request that changes something, so that a leader which was paused
finds out before it acts. What slips through, a request that was already on its way, does no harm: statuses carry the
observed resourceVersion, and starts reject duplicates.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from bascule_operator import metrics
from bascule_operator.connections.kube import Json, Kube
from bascule_operator.errors import (
    ConflictError,
    GoneError,
    LeadershipLostError,
    NotLeadingError,
    OperatorError,
)
from bascule_operator.permissions import LEASE

log = logging.getLogger(__name__)


class Leadership(Protocol):
    """Whether this operator may act."""

    @property
    def leading(self) -> bool: ...

    def check(self) -> None:
        """Raises NotLeadingError."""

    async def acquire(self, stop: asyncio.Event) -> bool:
        """Wait until this operator leads. False: `stop` was set before."""

    async def keep(self) -> None:
        """Stay the leader for ever. Raises LeadershipLostError once another leads."""

    async def release(self) -> None:
        """Let another lead at once."""


class Alone:
    """The only operator there is."""

    leading = True

    def check(self) -> None:
        return

    async def acquire(self, stop: asyncio.Event) -> bool:
        return True

    async def keep(self) -> None:
        await asyncio.Event().wait()

    async def release(self) -> None:
        return


@dataclass(frozen=True)
class Timing:
    """Seconds. How long a Lease lasts, until when its holder must have renewed it, and how often it is looked at."""

    lease: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0


def _since_boot() -> float:
    # Unlike the monotonic clock, it goes on while the machine sleeps.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaseLeadership:
    """Leadership by a Lease of the operator's namespace, on a connection of its own: renewals must not queue."""

    def __init__(
        self, kube: Kube, namespace: str, identity: str, timing: Timing, clock: Callable[[], float] = _since_boot
    ) -> None:
        self._kube = kube
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._identity = identity
        self._timing = timing
        self._clock = clock
        self._lease: Json = {}
        self._valid_until = float("-inf")
        self._trouble = ""

    @property
    def leading(self) -> bool:
        return self._clock() < self._valid_until

    def check(self) -> None:
        if not self.leading:
            raise NotLeadingError("another operator may lead by now")

    async def acquire(self, stop: asyncio.Event) -> bool:
        seen, since, holder = "", self._clock(), ""
        while not stop.is_set():
            try:
                lease = await self._read()
                if lease["metadata"]["resourceVersion"] != seen:
                    seen, since = lease["metadata"]["resourceVersion"], self._clock()
                if _holder(lease) not in ("", holder, self._identity):
                    holder = _holder(lease)
                    log.info("standing by: another operator leads", extra={"leader": holder})
                if self._is_free(lease, self._clock() - since) and await self._taken(lease):
                    return True
                self._heard()
            except (OperatorError, TimeoutError) as error:
                self._unheard(error)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._timing.retry)
        return False

    def _is_free(self, lease: Json, unchanged: float) -> bool:
        """Nobody holds it, or we do since before a restart, or whoever does was not heard of for long enough."""
        lasts = max(self._timing.lease, float((lease.get("spec") or {}).get("leaseDurationSeconds") or 0))
        return _holder(lease) in ("", self._identity) or unchanged >= lasts

    async def _taken(self, lease: Json) -> bool:
        changes = int((lease.get("spec") or {}).get("leaseTransitions") or 0)
        try:
            await self._write(lease, leaseTransitions=changes + (_holder(lease) != self._identity), acquireTime=_now())
        except ConflictError:
            return False  # another was quicker
        log.info("leading", extra={"leader": self._identity})
        return True

    async def keep(self) -> None:
        while True:
            await asyncio.sleep(self._timing.retry)
            acting = self.leading
            try:
                await self._renew()
                self._heard()
            except LeadershipLostError:
                raise
            except (OperatorError, TimeoutError) as error:
                self._unheard(error)
            if acting and not self.leading:
                log.error("the Lease could not be renewed in time: nothing is done until it is, or another leads")

    async def _renew(self) -> None:
        try:
            await self._write(self._lease)
        except (ConflictError, GoneError):
            # Perhaps it was our own write, whose answer got lost; perhaps somebody deleted it.
            lease = await self._read()
            if _holder(lease) not in ("", self._identity):
                self._valid_until = float("-inf")
                raise LeadershipLostError(f"{_holder(lease)} leads") from None
            await self._write(lease)

    async def release(self) -> None:
        """Let another lead at once. Where that cannot be said, the Lease lapses by itself."""
        if self.leading:
            with suppress(OperatorError, TimeoutError):
                await self._write(self._lease, holderIdentity="", leaseDurationSeconds=1)
        self._valid_until = float("-inf")

    async def _read(self) -> Json:
        """The Lease as it is, made if there is none."""
        try:
            return await self._ask("GET", f"{self._leases}/{LEASE}")
        except GoneError:
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE}, "spec": {}}
            return await self._ask("POST", self._leases, lease)

    async def _write(self, lease: Json, **changes: object) -> None:
        """Hold the Lease from now on, unless it changed since it was read. Raises ConflictError, GoneError."""
        begun = self._clock()
        mine = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": round(self._timing.lease),
            "renewTime": _now(),
        }
        body = lease | {"spec": (lease.get("spec") or {}) | mine | changes}
        self._lease = await self._ask("PUT", f"{self._leases}/{LEASE}", body)
        if _holder(self._lease) == self._identity:
            self._valid_until = begun + self._timing.renew_deadline

    async def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        async with asyncio.timeout(self._timing.renew_deadline / 2):
            return await self._kube.request(method, path, resource="leases", body=body)

    def _heard(self) -> None:
        if self._trouble:
            log.info("the Lease can be reached again")
        self._trouble = ""

    def _unheard(self, error: Exception) -> None:
        metrics.LEASE_ERRORS.inc()
        trouble = str(error) or "no answer in time"
        if trouble != self._trouble:
            log.warning("the Lease cannot be reached", extra={"error": trouble})
        self._trouble = trouble


def _holder(lease: Json) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _now() -> str:
    """For people; nothing is decided by it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
