"""The worker process: settings, adapters, one supervised Temporal worker per tenant."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta

from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from bascule_codec import Keyring
from bascule_telemetry import logs, traces
from bascule_workers.activities.drill_environments import DrillEnvironmentActivities, DrillEnvironmentPorts
from bascule_workers.activities.drill_probes import DrillProbeActivities
from bascule_workers.activities.drill_reports import DrillReportActivities
from bascule_workers.activities.drill_restores import DrillPorts, DrillRestoreActivities
from bascule_workers.activities.image_builds import Builder, ImageBuildPorts
from bascule_workers.activities.patch_targets import PatchTargetPorts
from bascule_workers.adapters import health
from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.cosign import CosignSigner, CosignVerifier
from bascule_workers.adapters.cosign_attestations import CosignAttester
from bascule_workers.adapters.drill_watch import DrillWatch
from bascule_workers.adapters.git_sources import CommandLineGit
from bascule_workers.adapters.kubernetes_drills import KubernetesDrills
from bascule_workers.adapters.kubernetes_jobs import KubernetesJobs
from bascule_workers.adapters.kubernetes_nodes import KubernetesNodes
from bascule_workers.adapters.kubernetes_objects import KubernetesObjects, KubernetesTenants
from bascule_workers.adapters.kubernetes_velero import KubernetesVelero
from bascule_workers.adapters.leases import KubernetesLeases
from bascule_workers.adapters.node_watch import NodeWatch
from bascule_workers.adapters.oci_logs import OciLogs
from bascule_workers.adapters.oci_registry import OciRegistry
from bascule_workers.adapters.platform_key import MountedPlatformKey
from bascule_workers.adapters.pod_watch import PodWatch
from bascule_workers.adapters.registry_http import RegistryHttp
from bascule_workers.adapters.same_tenant_policy import SameTenantPolicy
from bascule_workers.adapters.stdout_audit import StdoutAudit
from bascule_workers.adapters.syft import Syft
from bascule_workers.adapters.target_leases import KubernetesTargetLeases
from bascule_workers.adapters.temporal_connections import OwnSecrets, PlatformTemporal, TemporalConnections
from bascule_workers.adapters.tenant_watch import TenantWatch
from bascule_workers.plans.drill_spaces import SpaceSettings
from bascule_workers.plans.jobs import JobSettings
from bascule_workers.readiness import Readiness
from bascule_workers.settings import Settings
from bascule_workers.supervisor import Equipment, Supervisor
from bascule_workers.version import VERSION

LAST_RESORT_SECONDS = 10.0
"""How long after the grace the process may still take to end by itself."""

logger = logging.getLogger("bascule_workers")


def ports(api: ApiServer, watch: PodWatch, http: RegistryHttp, settings: Settings) -> ImageBuildPorts:
    """The world, as activities see it."""
    registry = OciRegistry(http)
    verifier = CosignVerifier(registry)
    return ImageBuildPorts(
        objects=KubernetesObjects(api),
        steps=KubernetesJobs(api, watch),
        git=CommandLineGit(),
        registry=registry,
        signer=CosignSigner(verifier),
        verifier=verifier,
        sboms=Syft(),
        attester=CosignAttester(),
        platform_key=MountedPlatformKey(settings.platform_signing_dir, settings.platform_public_key),
        builder=Builder(settings.builder_id, VERSION),
        tenants=KubernetesTenants(api, settings.namespace),
        logs=OciLogs(http),
        leases=KubernetesLeases(api, settings.namespace),
        job_settings=JobSettings(settings.tools_image, settings.ca_config_map),
    )


def target_ports(api: ApiServer, watch: NodeWatch, ports: ImageBuildPorts) -> PatchTargetPorts:
    """The world, as activities at targets see it."""
    return PatchTargetPorts(
        nodes=KubernetesNodes(api, watch),
        leases=KubernetesTargetLeases(api),
        steps=ports.steps,
        objects=ports.objects,
        tenants=ports.tenants,
        logs=ports.logs,
        job_settings=ports.job_settings,
    )


def drills(api: ApiServer, watch: DrillWatch, ports: ImageBuildPorts, settings: Settings) -> list[object]:
    """Who carries out the parts of a drill."""
    environments = DrillEnvironmentPorts(
        spaces=KubernetesDrills(api, watch),
        objects=ports.objects,
        git=CommandLineGit(),
        settings=SpaceSettings(settings.namespace, settings.ca_config_map),
        steps=ports.steps,
        tenants=ports.tenants,
        logs=ports.logs,
        job_settings=ports.job_settings,
    )
    jobs = DrillPorts(
        steps=ports.steps,
        objects=ports.objects,
        tenants=ports.tenants,
        logs=ports.logs,
        job_settings=ports.job_settings,
        velero=KubernetesVelero(api, settings.velero_namespace),
    )
    return [
        DrillEnvironmentActivities(environments),
        DrillRestoreActivities(jobs),
        DrillProbeActivities(jobs),
        DrillReportActivities(ports.tenants, ports.logs),
    ]


def _runtime(settings: Settings) -> Runtime:
    if not settings.metrics_port:
        return Runtime(telemetry=TelemetryConfig(logging=logs.of_temporal()))
    metrics = PrometheusConfig(
        bind_address=f"0.0.0.0:{settings.metrics_port}",
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
    )
    return Runtime(telemetry=TelemetryConfig(logging=logs.of_temporal(), metrics=metrics))


async def serve(settings: Settings, tenants: Sequence[str]) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stop, settings.grace_seconds)
    api = await ApiServer.connect(settings.kubeconfig)
    http, pods, nodes, watch = RegistryHttp(), PodWatch(api), NodeWatch(api), TenantWatch(api, tenants)
    spaces = DrillWatch(api)
    identity = f"bascule-worker@{socket.gethostname()}:{os.getpid()}"
    platform = PlatformTemporal(
        settings.temporal_address,
        settings.temporal_credentials_dir,
        settings.temporal_server_name,
        settings.temporal_tls,
    )
    secrets = OwnSecrets(api, settings.namespace)
    world = ports(api, pods, http, settings)
    connections = TemporalConnections(platform, secrets, identity=identity, runtime=_runtime(settings))
    equipment = Equipment(
        connections=connections,
        keyring=Keyring.from_directory(settings.payload_keys_dir),
        ports=world,
        targets=target_ports(api, nodes, world),
        drills=drills(api, spaces, world, settings),
        policy=SameTenantPolicy,
        audit=StdoutAudit(),
        grace=timedelta(seconds=settings.grace_seconds),
        identity=identity,
    )
    readiness = Readiness(watch, connections)
    watching, asking = asyncio.create_task(watch.run()), asyncio.create_task(readiness.run())
    try:
        async with health.serving(
            settings.http_port,
            alive=lambda: not watching.done(),
            missing=lambda: "shutting down" if stop.is_set() else readiness.missing(),
        ):
            await Supervisor(equipment, watch).run(stop)
    finally:
        watching.cancel()
        asking.cancel()
        await pods.close()
        await nodes.close()
        await spaces.close()
        await http.close()
        await api.close()


def _stop(stop: asyncio.Event, grace_seconds: float) -> None:
    """Begin to shut down; a process that cannot end is ended, since its Pod would hang on."""
    if stop.is_set():
        return
    logger.info("shutting down")
    stop.set()

    def last_resort() -> None:
        time.sleep(grace_seconds + LAST_RESORT_SECONDS)
        os._exit(1)

    threading.Thread(target=last_resort, daemon=True).start()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bascule-worker", description=__doc__)
    parser.add_argument(
        "--tenant", action="append", default=[], metavar="NAME", help="serve this tenant (repeatable); default: all"
    )
    options = parser.parse_args(arguments)
    # Audit events have standard output to themselves.
    settings = Settings()
    logs.configure(settings.log_level)
    # Failed steps are told by status and audit; Temporal's own lines would repeat them with stack and log excerpt.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
    logger.info("bascule-worker %s", VERSION)
    traces.setup("bascule-worker", VERSION)
    try:
        asyncio.run(serve(settings, options.tenant))
    finally:
        traces.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
