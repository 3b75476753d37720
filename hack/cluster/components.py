"""The programs that make up a cluster: where each runs, how it is started, and how one sees that it is ready."""

from collections.abc import Mapping
from pathlib import Path

from hack.cluster import configuration, debian_archive, kwok, temporal_access, temporal_server
from hack.cluster.addresses import (
    API_PORT,
    CONTROL,
    DNS_READY_PORT,
    NODES,
    OBJECT_STORE_ACCESS_KEY,
    OBJECT_STORE_PORT,
    OBJECT_STORE_REGION,
    OBJECT_STORE_SECRET_KEY,
    PACKAGES_PORT,
    PRIVATE_REGISTRY_PORT,
    REGISTRY_PORT,
    SERVICES,
    TEMPORAL_HOST,
    TEMPORAL_PORT,
    TEMPORAL_UI_PORT,
)
from hack.cluster.component import Component, HttpProbe, PortProbe, ProgramProbe
from hack.cluster.machines import (
    BIN,
    CONTROL_MACHINE,
    TEMPORAL_BIN,
    TEMPORAL_SERVER_BIN,
    client_kubeconfig,
    write,
)
from hack.cluster.node_components import node_components
from hack.cluster.paths import Paths
from hack.cluster.temporal_server import TemporalKind

_TEMPORAL_SETTINGS: Mapping[str, str] = {
    # The defaults let the dev server's only shard take 20 tasks a second: 50 ms for every workflow task.
    "history.transferProcessorMaxPollRPS": "2000",
    "history.visibilityProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxPollRPS": "2000",
    # A search attribute can be used as soon as it was registered.
    "system.forceSearchAttributesCacheRefreshOnRead": "true",
    # Cluster tests register a namespace each.
    "frontend.namespaceRPS": "5000",
}


def components(paths: Paths, temporal: TemporalKind) -> dict[str, Component]:
    """Return all components by name, in the order in which they are started."""
    control = [
        _etcd(paths),
        *_registries(paths),
        _git(paths),
        _packages(paths),
        *_temporal(paths, temporal),
        _apiserver(paths),
        _controller_manager(paths),
        _scheduler(paths),
        _coredns(paths),
        _control_proxy(paths),
        *_kwok(paths),
        *_object_store(paths),
        *_volumes(paths),
    ]
    nodes = [component for node in NODES.values() for component in node_components(paths, node)]
    return {component.name: component for component in [*control, *nodes]}


def write_configuration(paths: Paths, temporal: TemporalKind) -> None:
    """Write the files that the control plane's components read."""
    certificate, key = paths.pki / "services.crt", paths.pki / "services.key"
    write(paths.config / "audit-policy.json", configuration.audit_policy())
    write(paths.config / "Corefile", configuration.corefile(paths.config / "coredns.kubeconfig"))
    write(paths.config / "kube-proxy.json", configuration.kube_proxy("node1", paths.config / "proxy.kubeconfig"))
    for user in ("controller-manager", "scheduler", "coredns", "proxy"):
        write(paths.config / f"{user}.kubeconfig", client_kubeconfig(paths, user, paths.pki))
    users = paths.config / "registry-users"
    write(users, configuration.registry_users())
    open_registry = configuration.registry(paths.state / "registry", REGISTRY_PORT, certificate, key, None)
    write(paths.config / "registry.json", open_registry)
    private = configuration.registry(paths.state / "private-registry", PRIVATE_REGISTRY_PORT, certificate, key, users)
    write(paths.config / "private-registry.json", private)
    write(paths.config / "git-users", configuration.git_users())
    git = configuration.git_server(paths.state / "git", certificate, key, paths.config / "git-users")
    write(paths.config / "git.conf", git)
    write(paths.config / "packages.conf", configuration.package_server(debian_archive.folder(paths)))
    debian_archive.make(paths)
    for folder in ("registry", "private-registry", "git/private", "temporal", "etcd"):
        (paths.state / folder).mkdir(parents=True, exist_ok=True)

    if temporal is TemporalKind.POSTGRES:
        _write_temporal_server(paths)


def _write_temporal_server(paths: Paths) -> None:
    write(paths.config / "postgres.sh", temporal_server.database_script(paths))
    write(paths.config / "temporal.sh", temporal_server.server_script(paths, TEMPORAL_SERVER_BIN))
    write(paths.config / "temporal.json", temporal_server.server_configuration(paths))
    write(paths.config / "temporal-dynamic.json", temporal_server.dynamic_configuration())
    write(paths.config / "token-keys/jwks.json", temporal_access.token_keys(paths.pki))


def _etcd(paths: Paths) -> Component:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    argv = (
        "/usr/bin/etcd",
        f"--data-dir={paths.state}/etcd",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--quota-backend-bytes=4294967296",
        # The state of a test cluster needs to survive its processes, not the machine's loss of power.
        "--unsafe-no-fsync",
    )
    return Component("etcd", CONTROL_MACHINE, argv)


def _apiserver(paths: Paths) -> Component:
    pki = paths.pki
    argv = (
        f"{BIN}/kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=0.0.0.0",
        f"--secure-port={API_PORT}",
        f"--advertise-address={CONTROL}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={pki}/service-accounts.key",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        # Debian's etcd cannot give it: watches from revision 0, as KWOK's are, would fail and begin anew for ever.
        "--feature-gates=WatchList=false",
        # Pods leave a dead node after half a minute instead of five: tests wait for it.
        "--default-not-ready-toleration-seconds=30",
        "--default-unreachable-toleration-seconds=30",
        f"--audit-policy-file={paths.config}/audit-policy.json",
        f"--audit-log-path={paths.audit_log}",
        "--audit-log-maxsize=1024",
        "--audit-log-maxbackup=1",
    )
    return Component("apiserver", CONTROL_MACHINE, argv, HttpProbe(f"https://{{host}}:{API_PORT}/readyz"))


def _controller_manager(paths: Paths) -> Component:
    argv = (
        f"{BIN}/kube-controller-manager",
        f"--kubeconfig={paths.config}/controller-manager.kubeconfig",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={paths.pki}/service-accounts.key",
        f"--root-ca-file={paths.pki}/ca.crt",
        f"--cluster-signing-cert-file={paths.pki}/ca.crt",
        f"--cluster-signing-key-file={paths.pki}/ca.key",
        *_for_fake_nodes(paths),
    )
    return Component("controller-manager", CONTROL_MACHINE, argv)


def kwok_program(paths: Paths) -> Path:
    """KWOK's place in a cluster's state, where the control plane's machine sees it."""
    return paths.state / "bin/kwok"


def kwok_configuration(paths: Paths) -> Path:
    """KWOK's configuration; a cluster that has one has fake nodes."""
    return paths.config / "kwok.yaml"


def _kwok(paths: Paths) -> tuple[Component, ...]:
    if not kwok_configuration(paths).exists():
        return ()
    program, configuration_file = kwok_program(paths), kwok_configuration(paths)
    argv = (str(program), "-v=WARN", f"--kubeconfig={paths.kubeconfig}", f"--config={configuration_file}")
    return (Component("kwok", CONTROL_MACHINE, argv),)


def object_store_program(paths: Paths) -> Path:
    """The object store's place in a cluster's state; a cluster that has it there has an object store."""
    return paths.state / "bin/versitygw"


def _object_store(paths: Paths) -> tuple[Component, ...]:
    if not object_store_program(paths).exists():
        return ()
    argv = (
        str(object_store_program(paths)),
        f"--port=0.0.0.0:{OBJECT_STORE_PORT}",
        f"--cert={paths.pki}/services.crt",
        f"--key={paths.pki}/services.key",
        f"--access={OBJECT_STORE_ACCESS_KEY}",
        f"--secret={OBJECT_STORE_SECRET_KEY}",
        f"--region={OBJECT_STORE_REGION}",
        "--health=/health",
        "--quiet",
        "posix",
        # Each request that is worked on may hold a megabyte.
        "--concurrency=50",
        # Beside the objects: not every file system has extended attributes.
        f"--sidecar={paths.state}/object-store/metadata",
        f"{paths.state}/object-store/buckets",
    )
    return (
        Component("object-store", CONTROL_MACHINE, argv, HttpProbe(f"https://{{host}}:{OBJECT_STORE_PORT}/health")),
    )


def volumes_program(paths: Paths) -> Path:
    """The place of what makes volumes in a cluster's state; a cluster that has it there serves claims."""
    return paths.state / "bin/local-path-provisioner"


def _volumes(paths: Paths) -> tuple[Component, ...]:
    program = volumes_program(paths)
    if not program.exists():
        return ()
    options = (f"--kubeconfig={paths.kubeconfig}", "--namespace=local-path-storage", "--service-account-name=default")
    return (Component(program.name, CONTROL_MACHINE, (str(program), "start", *options)),)


def _for_fake_nodes(paths: Paths) -> tuple[str, ...]:
    """With fake nodes a node may be silent as long as their Leases last, and there are Jobs for a thousand nodes."""
    if not kwok_configuration(paths).exists():
        return ()
    return (f"--node-monitor-grace-period={kwok.LEASE_SECONDS}s", "--kube-api-qps=200", "--kube-api-burst=400")


def _scheduler(paths: Paths) -> Component:
    argv = (
        f"{BIN}/kube-scheduler",
        f"--kubeconfig={paths.config}/scheduler.kubeconfig",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    )
    return Component("scheduler", CONTROL_MACHINE, argv)


def _coredns(paths: Paths) -> Component:
    argv = (f"{BIN}/coredns", f"-conf={paths.config}/Corefile")
    return Component("coredns", CONTROL_MACHINE, argv, HttpProbe(f"http://{{host}}:{DNS_READY_PORT}/ready"))


def _control_proxy(paths: Paths) -> Component:
    """Let the control plane reach Services too: webhooks are called at their ClusterIP, and so does `exec`."""
    argv = (f"{BIN}/kube-proxy", f"--config={paths.config}/kube-proxy.json")
    return Component("kube-proxy", CONTROL_MACHINE, argv)


def _registries(paths: Paths) -> tuple[Component, Component]:
    def registry(name: str, port: int) -> Component:
        argv = ("/usr/bin/docker-registry", "serve", f"{paths.config}/{name}.json")
        return Component(name, CONTROL_MACHINE, argv, PortProbe(port))

    return registry("registry", REGISTRY_PORT), registry("private-registry", PRIVATE_REGISTRY_PORT)


def _git(paths: Paths) -> Component:
    argv = ("/usr/sbin/lighttpd", "-D", "-f", f"{paths.config}/git.conf")
    return Component("git", CONTROL_MACHINE, argv, PortProbe(443))


def _packages(paths: Paths) -> Component:
    argv = ("/usr/sbin/lighttpd", "-D", "-f", f"{paths.config}/packages.conf")
    return Component("packages", CONTROL_MACHINE, argv, PortProbe(PACKAGES_PORT))


def _temporal(paths: Paths, kind: TemporalKind) -> tuple[Component, ...]:
    return (_temporal_dev(paths),) if kind is TemporalKind.DEV else _temporal_server(paths)


def _temporal_server(paths: Paths) -> tuple[Component, ...]:
    """The real server, its database, and where it reads the keys that tokens are signed with."""
    database = ("/bin/sh", f"{paths.config}/postgres.sh")
    keys = ("/usr/bin/busybox", "httpd", "-f", "-p", f"127.0.0.1:{temporal_server.TOKEN_KEYS_PORT}", "-h")
    server = ("/bin/sh", f"{paths.config}/temporal.sh")
    return (
        Component("postgres", CONTROL_MACHINE, database),
        Component("temporal-token-keys", CONTROL_MACHINE, (*keys, f"{paths.config}/token-keys")),
        Component("temporal", CONTROL_MACHINE, server, _temporal_health(*_administrator(paths))),
    )


def _administrator(paths: Paths) -> tuple[str, ...]:
    """What the real server demands of a client before it answers at all."""
    files = {"ca": "ca.crt", "cert": "admin.crt", "key": "admin.key"}
    shown = [f"--tls-{what}-path={paths.pki / name}" for what, name in files.items()]
    return ("--tls", f"--tls-server-name={TEMPORAL_HOST}", *shown)


def _temporal_health(*options: str) -> ProgramProbe:
    """Ask Temporal itself: the dev server opens its port to see whether it is free, and closes it again."""
    address = f"--address=127.0.0.1:{TEMPORAL_PORT}"
    return ProgramProbe((f"{TEMPORAL_BIN}/temporal", "operator", "cluster", "health", address, *options))


def _temporal_dev(paths: Paths) -> Component:
    settings = [f"--dynamic-config-value={key}={value}" for key, value in _TEMPORAL_SETTINGS.items()]
    argv = (
        f"{TEMPORAL_BIN}/temporal",
        "server",
        "start-dev",
        "--ip=0.0.0.0",
        f"--port={TEMPORAL_PORT}",
        "--ui-ip=0.0.0.0",
        f"--ui-port={TEMPORAL_UI_PORT}",
        f"--db-filename={paths.state}/temporal/temporal.db",
        "--sqlite-pragma=journal_mode=WAL",
        "--sqlite-pragma=synchronous=OFF",
        "--log-level=warn",
        *settings,
    )
    return Component("temporal", CONTROL_MACHINE, argv, _temporal_health())
