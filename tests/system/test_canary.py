"""No secret value ever leaves its Secret: planted ones are looked for wherever people and machines can read."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from hack import installation
from hack.cluster.handle import Cluster
from hack.installation import SYSTEM_NAMESPACE, TenantHandle
from tests.support.builds import ImageBuildBuilder

Builder = Callable[[str], ImageBuildBuilder]


def test_no_secret_value_is_in_history_status_events_or_logs(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle
) -> None:
    host = bascule.private_registry
    installation.apply(bascule, installation.registry_secret(tenant.namespace, host, "tenant", "tenant-secret"))
    secret = json.loads(bascule.kubectl("get", "secret", "signing-key", "-n", tenant.namespace, "-o", "json"))
    key = base64.b64decode(secret["data"]["cosign.key"]).decode()
    password = base64.b64decode(secret["data"]["cosign.password"]).decode()
    token = base64.b64encode(b"tenant:tenant-secret").decode()
    repository = f"{bascule.private_registry}/{tenant.name}/canary"
    # Its program pulls the candidate and pushes a report: with the login that the Procedure asks for.
    policy = {"name": "policy", "procedure": "image-policy"}
    private = image_build("canary").with_spec(tests=[policy])
    private = private.with_publish(repository=repository, secretRef={"name": "push"})
    named = ["secret", installation.PLATFORM_SECRET, "-n", SYSTEM_NAMESPACE]
    platform = json.loads(bascule.kubectl("get", *named, "-o", "json"))["data"]["cosign.password"]

    body = private.with_test("greets", "cat", "/greeting").apply().until_phase("Succeeded")

    run = body["status"]["run"]
    history = bascule.exec(
        ["temporal", "workflow", "show", "--address", bascule.temporal_address, "--namespace", run["temporalNamespace"]]
        + ["--workflow-id", run["workflowId"], "--output", "json"],
        check=True,
    ).stdout
    places = {
        "history": history,
        "status": json.dumps(body),
        "events": bascule.kubectl("get", "events", "-A", "-o", "json"),
        "operator's log": bascule.kubectl("logs", "deployment/bascule-operator", "-n", SYSTEM_NAMESPACE),
        "worker's log": bascule.kubectl("logs", "deployment/bascule-worker", "-n", SYSTEM_NAMESPACE),
        "steps' logs": bascule.kubectl(
            "logs", "-n", tenant.steps_namespace, "-l", "bascule.dev/run", "--all-containers", "--tail=-1"
        ),
        "audit log": bascule.audit_log.read_text(),
    }
    for place, text in places.items():
        assert len(text) > 10, f"{place} is empty: the check would prove nothing"
        for value in (password, token, "tenant-secret", key.splitlines()[3], base64.b64decode(platform).decode()):
            assert value not in text, f"a secret value is in the {place}"
    payloads = [line for line in history.splitlines() if '"data"' in line]
    assert payloads
    assert base64.b64encode(tenant.namespace.encode()).decode() not in history
