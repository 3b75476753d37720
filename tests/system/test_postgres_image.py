"""The image of PostgreSQL serves data and has the tools that dump and restore them, as nobody special."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from hack.cluster import addresses
from hack.cluster.handle import Cluster
from tests.support import postgres

# A machine that is busy takes its time to pull half a gigabyte.
PATIENCE = "--timeout=600s"

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("postgres-image")]


@pytest.fixture(scope="module")
def image(cluster: Cluster) -> str:
    return cluster.extra_image("postgres")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace that takes no pod which is anybody special."""
    name = f"postgres-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def apply(cluster: Cluster, namespace: str, *documents: dict[str, Any]) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input="\n---\n".join(map(json.dumps, documents)))


def ready(cluster: Cluster, namespace: str, *pods: str) -> None:
    for pod in pods:
        cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", f"pod/{pod}", PATIENCE)


def ran(cluster: Cluster, namespace: str, image: str, host: str, script: str) -> list[str]:
    """Run a script with the tools in a pod of its own, once a server answers. Returns the lines that it printed."""
    name = f"tools-{secrets.token_hex(3)}"
    # A node hears of a Service's pods some time after they are ready.
    patient = f"until pg_isready --quiet; do sleep 0.3; done\n{script}"
    apply(cluster, namespace, postgres.tools(name, image, patient, host))
    assert ended(cluster, namespace, name) == "Completed", cluster.kubectl("logs", "-n", namespace, name)
    return cluster.kubectl("logs", "-n", namespace, name).splitlines()


def ended(cluster: Cluster, namespace: str, pod: str) -> str:
    """Wait until a pod's only container ended, and return how."""
    reason = "{.status.containerStatuses[0].state.terminated.reason}"
    cluster.kubectl("wait", "-n", namespace, f"--for=jsonpath={reason}", f"pod/{pod}", PATIENCE)
    return cluster.kubectl("get", "pod", "-n", namespace, pod, "-o", f"jsonpath={reason}")


def test_rows_are_written_dumped_and_restored_from_other_pods(cluster: Cluster, namespace: str, image: str) -> None:
    apply(cluster, namespace, *postgres.server("live", image, POSTGRES_DB="my shop"))
    apply(cluster, namespace, *postgres.server("empty", image))
    ready(cluster, namespace, "live", "empty")

    written = ran(
        cluster,
        namespace,
        image,
        "live",
        """
        export PGDATABASE="my shop"
        psql --quiet -c "CREATE TABLE orders (id int PRIMARY KEY, what text)"
        psql --quiet -c "INSERT INTO orders SELECT n, 'thing ' || n FROM generate_series(1, 1000) n"
        pg_dump --format=custom --file=/tmp/dump
        psql --quiet -c "INSERT INTO orders VALUES (1001, 'after the dump')"
        until pg_isready --quiet --host=empty; do sleep 0.3; done
        PGHOST=empty PGDATABASE=postgres pg_restore --exit-on-error --no-owner --dbname=postgres /tmp/dump
        psql --tuples-only --no-align -c "SELECT count(*), max(id) FROM orders"
        """,
    )
    restored = ran(
        cluster, namespace, image, "empty", 'psql --tuples-only --no-align -c "SELECT count(*), max(id) FROM orders"'
    )

    assert written == ["1001|1001"]
    assert restored == ["1000|1000"]


def test_a_copy_of_a_whole_server_is_taken_and_started(cluster: Cluster, namespace: str, image: str) -> None:
    apply(cluster, namespace, *postgres.server("live", image))
    ready(cluster, namespace, "live")

    seen = ran(
        cluster,
        namespace,
        image,
        "live",
        """
        psql --quiet -c "CREATE TABLE marks AS SELECT 'before' AS mark"
        pg_basebackup --pgdata=/tmp/copy --checkpoint=fast --wal-method=stream
        psql --quiet -c "UPDATE marks SET mark = 'after'"
        PGDATA=/tmp/copy postgres-server -c port=5433 >/tmp/log 2>&1 &
        export PGHOST=127.0.0.1 PGPORT=5433
        until pg_isready --quiet; do sleep 0.2; done
        psql --tuples-only --no-align -c "SELECT mark FROM marks"
        """,
    )

    assert seen == ["before"]


def test_a_wrong_password_and_none_are_refused_and_a_server_without_one_says_what_it_needs(
    cluster: Cluster, namespace: str, image: str
) -> None:
    apply(cluster, namespace, *postgres.server("live", image))
    apply(cluster, namespace, postgres.tools("bare", image, "postgres-server || echo ended with $?", "live"))
    ready(cluster, namespace, "live")

    seen = ran(cluster, namespace, image, "live", "PGPASSWORD=wrong psql -c 'SELECT 1' 2>&1 || echo refused")
    assert ended(cluster, namespace, "bare") == "Completed"
    said = cluster.kubectl("logs", "-n", namespace, "bare")

    assert seen[-1] == "refused"
    assert any("password authentication failed" in line for line in seen)
    # The data of the image's own folder are what there is in this pod, and it may write there nothing.
    assert said.splitlines() == [
        "there are no data in /data/server yet: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE",
        "ended with 64",
    ]


def test_data_outlive_the_server_that_is_killed(cluster: Cluster, namespace: str, image: str) -> None:
    apply(cluster, namespace, *postgres.server("live", image))
    ready(cluster, namespace, "live")
    assert ran(cluster, namespace, image, "live", 'psql -c "CREATE TABLE kept ()"') == ["CREATE TABLE"]

    cluster.kubectl("exec", "-n", namespace, "live", "--", "bash", "-c", "kill -INT 1")
    restarted = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1"
    cluster.kubectl("wait", "-n", namespace, restarted, "pod/live", PATIENCE)
    ready(cluster, namespace, "live")

    assert ran(cluster, namespace, image, "live", 'psql -tA -c "SELECT count(*) FROM kept"') == ["0"]


def test_the_steps_programs_are_in_the_image(cluster: Cluster, namespace: str, image: str) -> None:
    script = 'skopeo --version; python3 -c "import bascule_workers.in_step.contract as c; print(c.ExitCode.__name__)"'
    apply(cluster, namespace, postgres.tools("programs", image, script, "nowhere"))

    assert ended(cluster, namespace, "programs") == "Completed"
    assert cluster.kubectl("logs", "-n", namespace, "programs").splitlines()[1] == "ExitCode"


def test_data_on_a_claimed_volume_outlive_the_pod_and_go_with_the_claim(
    cluster: Cluster, namespace: str, image: str
) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "live"},
        "spec": {
            "storageClassName": cluster.add_volumes(),
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    server = postgres.server("live", image, {"persistentVolumeClaim": {"claimName": "live"}})
    apply(cluster, namespace, claim, *server)
    ready(cluster, namespace, "live")
    assert ran(cluster, namespace, image, "live", 'psql -c "CREATE TABLE kept ()"') == ["CREATE TABLE"]

    cluster.kubectl("delete", "pod", "-n", namespace, "live")
    apply(cluster, namespace, server[-1])
    ready(cluster, namespace, "live")
    assert ran(cluster, namespace, image, "live", 'psql -tA -c "SELECT count(*) FROM kept"') == ["0"]

    volume = cluster.kubectl("get", "pvc", "-n", namespace, "live", "-o", "jsonpath={.spec.volumeName}")
    cluster.kubectl("delete", "-n", namespace, "pod/live", "pvc/live")
    cluster.kubectl("wait", "--for=delete", f"pv/{volume}", PATIENCE)
    assert all(
        volume not in cluster.on_node(node, ["ls", "-R", "/var/lib/local-path"]).stdout for node in addresses.NODES
    )
