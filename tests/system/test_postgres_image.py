"""The image of PostgreSQL serves data and has the tools that dump and restore them, as nobody special."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

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
    """Run a script with the tools in a pod of its own, and return the lines that it printed."""
    name = f"tools-{secrets.token_hex(3)}"
    apply(cluster, namespace, postgres.tools(name, image, script, host))
    phase = "--for=jsonpath={.status.phase}=Succeeded"
    cluster.kubectl("wait", "-n", namespace, phase, f"pod/{name}", PATIENCE)
    return cluster.kubectl("logs", "-n", namespace, name).splitlines()


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
    cluster.kubectl("wait", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "pod/bare", PATIENCE)
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
    script = (
        'python3 -c "import bascule_workers.in_step.contract as c; print(c.ExitCode.__name__)"; skopeo --version >&2'
    )

    assert ran(cluster, namespace, image, "nowhere", script)[0] == "ExitCode"
