"""The bench's worker processes: the real one without effects, and the raw one beside which it is measured."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from datetime import timedelta
from pathlib import Path

from prometheus_client import start_http_server
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker

from bascule_api.tenants import Tenant
from bascule_codec import Keyring
from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.node_watch import NodeWatch
from bascule_workers.adapters.same_tenant_policy import SameTenantPolicy
from bascule_workers.adapters.stdout_audit import StdoutAudit
from bascule_workers.adapters.temporal_connections import PlatformTemporal, TemporalConnections, no_secrets
from bascule_workers.supervisor import MAX_ACTIVITIES, Equipment, Supervisor
from hack.bench import executor, raw
from hack.bench.scene import connected


class _OneTenant:
    """The source of Tenants: always the same one, so that the bench's worker needs no API server."""

    def __init__(self, tenant: Tenant) -> None:
        self.changed = asyncio.Event()
        self._tenant = tenant

    def tenants(self) -> dict[str, Tenant]:
        return {self._tenant.metadata.name: self._tenant}


async def serve(platform: PlatformTemporal, tenant: Tenant, options: argparse.Namespace, stop: asyncio.Event) -> None:
    """Serve one tenant with everything real but the executor. The audit log goes to standard output."""
    metrics = PrometheusConfig(bind_address=f"127.0.0.1:{options.metrics_port}")
    start_http_server(options.own_metrics_port, addr="127.0.0.1")
    api = await ApiServer.connect(str(options.kubeconfig))
    nodes = NodeWatch(api)
    runtime = Runtime(telemetry=TelemetryConfig(metrics=metrics))
    equipment = Equipment(
        connections=TemporalConnections(platform, no_secrets, runtime=runtime),
        keyring=Keyring.from_directory(options.keys),
        ports=executor.ports(),
        targets=executor.target_ports(api, nodes),
        policy=SameTenantPolicy,
        audit=StdoutAudit(),
        grace=timedelta(seconds=1),
        identity="bascule-bench",
    )
    try:
        await Supervisor(equipment, _OneTenant(tenant)).run(stop)
    finally:
        await nodes.close()
        await api.close()


async def serve_raw(
    platform: PlatformTemporal, namespace: str, activities_per_second: float, stop: asyncio.Event
) -> None:
    """Serve the raw workflow with the settings of the real worker."""
    worker = Worker(
        await connected(platform.address, namespace, platform.credentials_dir),
        task_queue=raw.QUEUE,
        workflows=[raw.RawWorkflow],
        activities=[raw.nothing],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_activities=MAX_ACTIVITIES,
        max_activities_per_second=activities_per_second,
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(),
        graceful_shutdown_timeout=timedelta(seconds=1),
    )
    async with worker:
        await stop.wait()


async def _main(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tenant = Tenant.parse(json.loads(options.tenant.read_text()))
    platform = PlatformTemporal(options.address, options.credentials)
    if options.raw:
        await serve_raw(platform, options.raw, float(tenant.spec.limits.activities_per_second), stop)
    else:
        await serve(platform, tenant, options, stop)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.bench.worker", description=__doc__)
    parser.add_argument("--address", required=True, help="host:port of Temporal")
    parser.add_argument("--tenant", required=True, type=Path, help="file with the Tenant as JSON")
    parser.add_argument("--keys", required=True, type=Path, help="folder of the payload keys")
    parser.add_argument("--credentials", type=Path, help="folder with what Temporal demands")
    parser.add_argument("--metrics-port", type=int, default=0, help="where the client's counters are told")
    parser.add_argument("--own-metrics-port", type=int, default=0, help="where the worker's own counters are told")
    parser.add_argument("--kubeconfig", type=Path, help="of the worker's service account, for nodes of campaigns")
    parser.add_argument("--raw", default="", metavar="NAMESPACE", help="serve the raw workflow there instead")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    asyncio.run(_main(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
