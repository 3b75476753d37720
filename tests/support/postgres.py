"""PostgreSQL in pods: a server as an application has one, and its tools as a step has them."""

from __future__ import annotations

from typing import Any

PASSWORD = "a test's own"
_NOBODY_SPECIAL = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def server(name: str, image: str, data: dict[str, Any] | None = None, **variables: str) -> list[dict[str, Any]]:
    """A pod with a server, its Service and the Secret with its password; it fits Pod Security `restricted`.

    `image`: of `cluster.extra_image("postgres")`. `data`: the volume's source; without one the data live as long as the
    pod. `variables` are the server's, such as POSTGRES_DB.
    """
    password = {"name": "POSTGRES_PASSWORD", "valueFrom": {"secretKeyRef": {"name": name, "key": "password"}}}
    ready = {"exec": {"command": ["pg_isready", "--host", "127.0.0.1"]}, "periodSeconds": 1, "timeoutSeconds": 10}
    container = {
        "name": "postgres",
        "image": image,
        "env": [password, *({"name": key, "value": value} for key, value in variables.items())],
        "ports": [{"name": "postgres", "containerPort": 5432}],
        "readinessProbe": ready,
        "securityContext": _NOBODY_SPECIAL,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    spec = {
        "securityContext": {"fsGroup": 65532},
        "terminationGracePeriodSeconds": 5,
        "containers": [container],
        "volumes": [{"name": "data", **(data or {"emptyDir": {}})}, {"name": "tmp", "emptyDir": {}}],
    }
    labels = {"app": name}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"password": PASSWORD}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": labels, "ports": [{"port": 5432, "targetPort": "postgres"}]},
        },
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec},
    ]


def tools(name: str, image: str, script: str, host: str) -> dict[str, Any]:
    """A pod that runs a script with PostgreSQL's tools towards a server, to its end."""
    variables = {"PGHOST": host, "PGUSER": "postgres", "PGPASSWORD": PASSWORD}
    container = {
        "name": "tools",
        "image": image,
        "command": ["bash", "-euo", "pipefail", "-c", script],
        "env": [{"name": key, "value": value} for key, value in variables.items()],
        "securityContext": _NOBODY_SPECIAL,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    spec = {"restartPolicy": "Never", "containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
