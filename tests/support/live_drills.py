"""DRDrills of a shop's database on a real cluster: PostgreSQL in pods, dumps of it, and drills that restore them."""

from __future__ import annotations

import base64
import json
import secrets
import shlex
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from bascule_workers.in_step.oci_artifacts import Layout
from hack import installation
from hack.cluster.handle import Cluster
from hack.cluster.object_store import ObjectStore
from hack.installation import ROOT, SYSTEM_NAMESPACE, TenantHandle
from tests.support import postgres
from tests.support.builds import Applied, Body
from tests.support.drill_manifests import claim, config_map, deployment, service

DATABASE = "shop"
PROCEDURES = ("postgres-restore", "files-restore", "sql-probe")
PATIENCE = "--timeout=600s"


def ship_procedures(cluster: Cluster, image: str) -> None:
    """The chart's Procedures for drills, with that image."""
    values = {"procedures.images.postgres": image}
    values |= {"procedures.images.builder": "a:b", "procedures.images.testRunner": "a:b"}
    values |= {"operator.image": "a:b", "worker.image": "a:b", "temporal.address": "a:1"}
    rendered = cluster.exec(
        ["helm", "template", "bascule", str(ROOT / "charts/bascule"), "--namespace", SYSTEM_NAMESPACE]
        + ["--show-only", "templates/procedures.yaml"]
        + [word for name, value in values.items() for word in ("--set", f"{name}={value}")],
        check=True,
    ).stdout
    found = [each for each in yaml.safe_load_all(rendered) if each and each["metadata"]["name"] in PROCEDURES]
    assert len(found) == len(PROCEDURES)
    for procedure in found:
        del procedure["metadata"]["annotations"]
    installation.apply(cluster, *found)


def enable_drills(cluster: Cluster, tenant: TenantHandle) -> None:
    patch = json.dumps({"spec": {"drills": {"enabled": True}}})
    cluster.kubectl("patch", "tenant", tenant.name, "--type=merge", "-p", patch)


@dataclass(frozen=True)
class Shop:
    """The live database, in the tenant's namespace."""

    cluster: Cluster
    tenant: TenantHandle
    image: str

    def open(self) -> Shop:
        """Start it, with a thousand orders."""
        documents = postgres.server("live", self.image, POSTGRES_DB=DATABASE)
        for document in documents:
            document["metadata"]["namespace"] = self.tenant.namespace
        installation.apply(self.cluster, *documents)
        self.cluster.kubectl("wait", "-n", self.tenant.namespace, "--for=condition=Ready", "pod/live", PATIENCE)
        self.sql("CREATE TABLE orders (id int PRIMARY KEY, what text, at timestamptz DEFAULT clock_timestamp())")
        self.sql("INSERT INTO orders (id, what) SELECT n, 'thing ' || n FROM generate_series(1, 1000) n")
        return self

    def run(self, script: str) -> str:
        words = ["exec", "-n", self.tenant.namespace, "live", "--", "bash", "-euo", "pipefail", "-c"]
        login = f"export PGPASSWORD={shlex.quote(postgres.PASSWORD)} PGHOST=127.0.0.1 PGUSER=postgres TZ=UTC"
        return self.cluster.kubectl(*words, f"{login}; {script}").strip()

    def sql(self, statement: str) -> str:
        return self.run(f"psql -XqtA -v ON_ERROR_STOP=1 -d {DATABASE} -c {shlex.quote(statement)}")

    def now(self) -> str:
        """The database's clock, to the second."""
        return self.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")

    def dump(self, options: str = "--format=custom") -> bytes:
        return base64.b64decode(self.run(f"pg_dump {options} {DATABASE} | base64 --wrap=0"))

    def versions(self) -> dict[str, str]:
        """Every live object of the tenant with its version, but for what the drill is itself."""
        kinds = "configmaps,secrets,services,serviceaccounts,pods,persistentvolumeclaims,deployments,statefulsets,jobs"
        listed = json.loads(self.cluster.kubectl("get", kinds, "-n", self.tenant.namespace, "-o", "json"))["items"]
        return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"] for item in listed}


def in_registry(cluster: Cluster, content: bytes, point: str = "") -> dict[str, str]:
    """Parameters that name a backup kept as an OCI artifact."""
    repository = f"{cluster.registry}/backups/{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(Path(folder, "layout"))
        layout.root.mkdir()
        layer = layout.add_bytes(content, "application/octet-stream", "backup")
        annotations = {"dev.bascule.recovery-point": point} if point else {}
        digest = layout.finish("application/vnd.example.backup", [layer], annotations)
        command = ["skopeo", "--insecure-policy", "copy", "--preserve-digests", f"oci:{layout.root}"]
        cluster.exec([*command, f"docker://{repository}:v1"], check=True)
    return {"artifact": f"{repository}@{digest}"}


def in_store(store: ObjectStore, content: bytes, point: str = "") -> dict[str, str]:
    """Parameters that name a backup kept in the object store."""
    key = f"shop/{secrets.token_hex(4)}"
    store.put(key, content)
    if point:
        store.put(f"{key}.bascule.json", json.dumps({"recoveryPoint": point}).encode())
    return {"endpoint": store.endpoint, "bucket": store.bucket, "key": key, "region": store.region}


def store_secret(tenant: TenantHandle, store: ObjectStore) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "backup", "namespace": tenant.namespace, "labels": {"bascule.dev/use": "backup"}},
        "stringData": {"access-key": store.access_key, "secret-key": store.secret_key},
    }


def pilot_light(image: str) -> list[Body]:
    """An empty PostgreSQL, as a drill's manifests have it."""
    secret, front, pod = postgres.server("db", image)
    secret["stringData"]["password"] = "only-for-drills"
    front = service("db", ports=[{"port": 5432}])
    return [secret, front, deployment("db", pod=pod["spec"])]


@dataclass(frozen=True)
class DrillBuilder:
    """Builds the object: the shop's dump into an empty PostgreSQL, unless the test says otherwise."""

    shop: Shop
    name: str = field(default_factory=lambda: f"drill-{secrets.token_hex(3)}")
    manifests: list[Body] = field(default_factory=list)
    spec: Body = field(default_factory=dict)

    def with_spec(self, **fields: Any) -> DrillBuilder:
        return replace(self, spec=self.spec | fields)

    def restoring(self, backup: dict[str, str], **more: Any) -> DrillBuilder:
        parameters = {**backup, "service": "db", "database": DATABASE}
        restore = {"procedure": "postgres-restore", "parameters": parameters, "environmentSecret": "db"}
        return self.with_spec(restore=restore | more)

    def restoring_files(self, backup: dict[str, str], **more: Any) -> DrillBuilder:
        restore = {"procedure": "files-restore", "parameters": {**backup, "claim": "data"}}
        return self.with_spec(restore=restore | more)

    def asking(self, *probes: Body) -> DrillBuilder:
        return self.with_spec(probes=list(probes))

    @property
    def body(self) -> Body:
        namespace = self.shop.tenant.namespace
        manifests = {"configMap": {"name": f"{self.name}-environment"}}
        return {
            "apiVersion": "bascule.dev/v1alpha1",
            "kind": "DRDrill",
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": {"environment": {"manifests": manifests}, "probes": [orders()]} | self.spec,
        }

    def environment(self) -> None:
        """Apply the ConfigMap with the manifests alone."""
        manifests = self.manifests or pilot_light(self.shop.image)
        data = config_map(f"{self.name}-environment", **{"all.yaml": "\n---\n".join(map(json.dumps, manifests))})
        data["metadata"]["namespace"] = self.shop.tenant.namespace
        installation.apply(self.shop.cluster, data)

    def apply(self) -> Drill:
        self.environment()
        installation.apply(self.shop.cluster, self.body)
        return Drill(self)


@dataclass(frozen=True)
class Drill(Applied):
    """An applied DRDrill."""

    made: DrillBuilder

    @property
    def cluster(self) -> Cluster:
        return self.made.shop.cluster

    @property
    def arguments(self) -> list[str]:
        return ["drdrill", self.made.name, "-n", self.made.shop.tenant.namespace]

    def figures(self) -> Body:
        """What was measured, once the run is over."""
        body = self.until_over()
        drill: Body = body["status"].get("drill") or {}
        return drill | {"phase": body["status"]["phase"], "failure": body["status"].get("failure", {})}


def orders(expect: str = "1000|1000", **parameters: Any) -> Body:
    """A probe for the rows that the dump has, and no others."""
    asked = {"service": "db", "database": DATABASE, "query": "SELECT count(*), max(id) FROM orders", "expect": expect}
    procedure = {"name": "sql-probe", "parameters": asked | parameters, "environmentSecret": "db"}
    return {"name": "orders", "procedure": procedure, "timeout": "3m"}


def web_server(image: str, claim_class: str) -> list[Body]:
    """A claim, and a web server for its files that begins when they are back."""
    pod = {
        "securityContext": {"fsGroup": 65532, "runAsUser": 65532, "runAsNonRoot": True},
        "containers": [
            {
                "name": "web",
                "image": image,
                "command": ["python3", "-m", "http.server", "8080", "--directory", "/data"],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }
        ],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    }
    web = deployment("web", pod=pod)
    web["metadata"]["annotations"] = {"bascule.dev/apply": "AfterRestore"}
    return [claim("data", storageClassName=claim_class), service("web", ports=[{"port": 8080}]), web]
