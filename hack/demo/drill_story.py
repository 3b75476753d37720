"""What the story of the drills applies: a shop's database, its pilot light, and the drills."""

from __future__ import annotations

import json
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bascule_workers.in_step.oci_artifacts import Layout
from hack import installation
from hack.cluster.addresses import TENANT_PASSWORD, TENANT_USER
from hack.cluster.handle import Cluster

DATABASE = "shop"
SERVER = "orders-db"
LOGIN = "backups"
BACKUP_TYPE = "application/vnd.postgresql.dump"
Body = dict[str, Any]

_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def allow_drills(cluster: Cluster, tenant: str) -> None:
    """The tenant may rehearse, and has a place for its reports."""
    spec = {"drills": {"enabled": True}, "artifacts": {"repository": artifacts(cluster, tenant)}}
    cluster.kubectl("patch", "tenant", tenant, "--type=merge", "--patch", json.dumps({"spec": spec}))


def artifacts(cluster: Cluster, tenant: str) -> str:
    return f"{cluster.registry}/{tenant}/artifacts"


def database(image: str, password: str) -> list[Body]:
    """A server, its Service, and the Secret with its password: the live one, and the drill's."""
    variable = {"name": "POSTGRES_PASSWORD", "valueFrom": {"secretKeyRef": {"name": SERVER, "key": "password"}}}
    container = {
        "name": "postgres",
        "image": image,
        "env": [variable, {"name": "POSTGRES_DB", "value": DATABASE}],
        "ports": [{"name": "postgres", "containerPort": 5432}],
        "readinessProbe": {"exec": {"command": ["pg_isready", "--host", "127.0.0.1"]}, "periodSeconds": 1},
        "securityContext": _RESTRICTED,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {
        "securityContext": {"fsGroup": 65532},
        "terminationGracePeriodSeconds": 5,
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    }
    labels = {"app": SERVER}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SERVER}, "stringData": {"password": password}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": SERVER},
            "spec": {"selector": labels, "ports": [{"port": 5432, "targetPort": "postgres"}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": SERVER},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]


def open_shop(cluster: Cluster, namespace: str, image: str) -> None:
    """The live database, with a thousand orders."""
    live = database(image, "the live one's")
    installation.apply(cluster, *({**item, "metadata": item["metadata"] | {"namespace": namespace}} for item in live))
    cluster.kubectl("rollout", "status", f"deployment/{SERVER}", "-n", namespace, "--timeout=180s")
    sql(cluster, namespace, "CREATE TABLE orders (id int PRIMARY KEY, what text, at timestamptz DEFAULT now())")
    sql(cluster, namespace, "INSERT INTO orders (id, what) SELECT n, 'order ' || n FROM generate_series(1, 1000) n")


def sql(cluster: Cluster, namespace: str, statement: str) -> str:
    """What the live database answers."""
    return _in_server(cluster, namespace, f"psql -XqtA -v ON_ERROR_STOP=1 -d {DATABASE}", statement.encode()).decode()


def _in_server(cluster: Cluster, namespace: str, command: str, stdin: bytes = b"") -> bytes:
    """Run a command beside the server; as bytes, since a dump is no text."""
    script = f'PGHOST=127.0.0.1 PGUSER=postgres PGPASSWORD="$POSTGRES_PASSWORD" exec {command}'
    argv = ["kubectl", f"--kubeconfig={cluster.kubeconfig}", "exec", "-i", "-n", namespace, f"deployment/{SERVER}"]
    inside, environment = cluster.inside([*argv, "--", "bash", "-c", script])
    return subprocess.run(inside, env=environment, input=stdin, capture_output=True, check=True, timeout=120).stdout


def back_up(cluster: Cluster, namespace: str, tenant: str) -> tuple[str, datetime]:
    """Dump the live database, and keep it as an OCI artifact. Returns its reference and its recovery point."""
    point = datetime.now(UTC).replace(microsecond=0)
    dump = _in_server(cluster, namespace, f"pg_dump -Fc {DATABASE}")
    reference = f"{cluster.private_registry}/{tenant}/backups:{DATABASE}"
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(Path(folder))
        layer = layout.add_bytes(dump, BACKUP_TYPE, f"{DATABASE}.dump")
        layout.finish(BACKUP_TYPE, [layer], {"dev.bascule.recovery-point": point.isoformat()})
        login = ["--dest-creds", f"{TENANT_USER}:{TENANT_PASSWORD}"]
        cluster.exec(["skopeo", "copy", *login, f"oci:{folder}", f"docker://{reference}"], check=True)
    return reference, point


def login(cluster: Cluster, namespace: str) -> Body:
    """What opens the place of the backups to drills."""
    secret = installation.registry_secret(namespace, cluster.private_registry, TENANT_USER, TENANT_PASSWORD, LOGIN)
    secret["metadata"]["labels"]["bascule.dev/use"] = "backup"
    return secret


def pilot_light(namespace: str, image: str) -> Body:
    """The drill's environment: an empty server."""
    text = "\n---\n".join(json.dumps(item, indent=1) for item in database(image, "only for drills"))
    return installation.config_map(namespace, "orders-dr", {"database.yaml": text})


def drill(namespace: str, name: str, backup: str, orders: int, **spec: Any) -> Body:
    """A drill that finds so many orders, and the newest of them."""
    ask = {"service": SERVER, "database": DATABASE}
    count = {"query": "SELECT count(*) FROM orders", "expect": str(orders), "asOfQuery": "SELECT max(at) FROM orders"}
    return {
        "apiVersion": "bascule.dev/v1alpha1",
        "kind": "DRDrill",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "environment": {"manifests": {"configMap": {"name": "orders-dr"}}},
            "restore": {
                "procedure": "postgres-restore",
                "parameters": {"artifact": backup} | ask,
                "secretRef": {"name": LOGIN},
                "environmentSecret": SERVER,
            },
            "probes": [
                {
                    "name": "orders",
                    "procedure": {"name": "sql-probe", "parameters": ask | count, "environmentSecret": SERVER},
                    "timeout": "40s",
                },
                {"name": "server", "tcp": {"service": SERVER, "port": 5432}},
            ],
            "objectives": {"rto": "10m", "rpo": "1h"},
        }
        | spec,
    }
