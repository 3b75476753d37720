"""Kubernetes Leases: one holder at a time, and small records that survive the holder."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from bascule_api import names
from bascule_workers.adapters.api_server import ApiError, ApiServer, JsonObject
from bascule_workers.errors import ApiUnavailableError, LeaseLostError, LeaseTakenError

DURATION_SECONDS = 20
RENEW_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 1.0
ANNOTATION_RECORDS = f"{names.GROUP}/records"
RECORDS = 32
"""How many runs are remembered; the oldest are forgotten first."""

Records = dict[str, dict[str, str]]

logger = logging.getLogger(__name__)


class KubernetesLeases:
    """The port `Leases`, in one namespace."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[HeldLease]:
        """Hold the lease. A holder that died is waited out: nobody's clock but our own is trusted for that."""
        # A holder of its own for each block: a second worker that repeats the same step must wait as well.
        held = HeldLease(self._api, f"{self._path}/{name}", uuid.uuid4().hex)
        await self._acquire(name, held)
        renewing = asyncio.create_task(held.renew_for_ever())
        try:
            yield held
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing
            await held.let_go()

    async def _acquire(self, name: str, held: HeldLease) -> None:
        loop = asyncio.get_running_loop()
        seen, since = "", loop.time()
        begun = since
        while True:
            lease = await self._api.find(held.path)
            if lease is None:
                lease = await self._created(name)
            spec = lease.get("spec") or {}
            if (version := str(lease["metadata"]["resourceVersion"])) != seen:
                seen, since = version, loop.time()
            expired = loop.time() - since > (spec.get("leaseDurationSeconds") or DURATION_SECONDS)
            if (not spec.get("holderIdentity") or expired) and await held.take(lease):
                return
            if spec.get("holderIdentity") and loop.time() - begun > 2 * DURATION_SECONDS:
                raise LeaseTakenError(str(spec["holderIdentity"]))
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _created(self, name: str) -> JsonObject:
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": {}}
        try:
            return await self._api.create(self._path, body)
        except ApiError as error:
            if error.status != 409:
                raise
        return await self._api.get(f"{self._path}/{name}")


class HeldLease:
    """A lease that is ours, as long as it could be renewed."""

    def __init__(self, api: ApiServer, path: str, holder: str) -> None:
        self._api = api
        self.path = path
        self._holder = holder
        self._lease: JsonObject = {}
        self._valid_until = 0.0
        self._writing = asyncio.Lock()

    def check(self) -> None:
        if asyncio.get_running_loop().time() >= self._valid_until:
            raise LeaseLostError("the lease could not be renewed in time")

    def record(self, run: str) -> Mapping[str, str]:
        return self._records().get(run, {})

    async def keep(self, run: str, record: Mapping[str, str]) -> None:
        def changed(records: Records) -> Records:
            others = {key: value for key, value in records.items() if key != run}
            return others | ({run: dict(record)} if record else {})

        if not await self._write(changed):
            raise LeaseLostError("another has taken the lease")

    async def take(self, lease: JsonObject) -> bool:
        """Become the holder of the lease as it was read; False when somebody was quicker."""
        self._lease = lease
        return await self._write()

    async def renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                if not await self._write():
                    return
            except (ApiUnavailableError, ApiError) as error:
                logger.warning("a Lease could not be renewed", extra={"resource": self.path, "error": str(error)})

    async def let_go(self) -> None:
        """Leave the lease to others at once. One that cannot be reached expires by itself."""
        with suppress(ApiUnavailableError, ApiError):
            await self._write(holder="")

    def _records(self) -> Records:
        annotations = self._lease.get("metadata", {}).get("annotations") or {}
        try:
            records = json.loads(annotations.get(ANNOTATION_RECORDS, "{}"))
        except ValueError:
            return {}
        return {key: value for key, value in records.items() if isinstance(value, dict)}

    async def _write(self, changed: Callable[[Records], Records] | None = None, holder: str | None = None) -> bool:
        """Write the lease if nobody else has since it was read. One write at a time, each on the last one's result."""
        async with self._writing:
            started = asyncio.get_running_loop().time()
            metadata, records = self._lease["metadata"], self._records()
            kept = dict(list((changed(records) if changed else records).items())[-RECORDS:])
            annotations = (metadata.get("annotations") or {}) | {ANNOTATION_RECORDS: json.dumps(kept)}
            spec = {
                "holderIdentity": self._holder if holder is None else holder,
                "leaseDurationSeconds": DURATION_SECONDS,
                "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            }
            body = self._lease | {"metadata": metadata | {"annotations": annotations}, "spec": spec}
            try:
                self._lease = await self._api.replace(self.path, body)
            except ApiError as error:
                if error.status in (404, 409):
                    self._valid_until = 0.0
                    return False
                raise
            # Counted from before the request: the others count from after it.
            self._valid_until = started + DURATION_SECONDS - RENEW_SECONDS
            return True
