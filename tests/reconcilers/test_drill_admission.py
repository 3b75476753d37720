"""What the API server makes of a DRDrill before the operator sees it."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from bascule_operator.connections.kube import MERGE_PATCH
from bascule_operator.errors import OperatorError
from bascule_operator.observe import path
from hack.cluster.binaries import binaries
from hack.generated import ROOT
from tests.reconcilers.conftest import Lab, drill_spec
from tests.support.control_plane import ControlPlane

Spec = dict[str, Any]
Change = Callable[[Spec], Any]
GIT = {"git": {"url": "https://git.example.com/acme/pilot-light.git"}}
VELERO = {"backup": "monday", "includedNamespaces": ["acme-dev"]}
TCP = {"service": "db", "port": 5432}


async def refusal(lab: Lab, change: Change) -> str:
    """What the API server says against the spec; empty where it takes it."""
    spec = copy.deepcopy(drill_spec())
    change(spec)
    try:
        await lab.apply("DRDrill", "shop", spec, lab.namespace)
    except OperatorError as error:
        return str(error)
    return ""


def probed(**changes: Any) -> Change:
    """Another first probe; None takes a field away."""

    def change(spec: Spec) -> None:
        probe = spec["probes"][0] | changes
        spec["probes"][0] = {key: value for key, value in probe.items() if value is not None}

    return change


def http(**changes: Any) -> Change:
    return probed(tcp=None, http={"service": "web", "port": 8080} | changes)


def restored(**changes: Any) -> Change:
    return lambda spec: spec.update(restore=changes)


def labelled(**labels: str) -> Change:
    return lambda spec: spec["environment"].update(namespaceLabels=labels)


FINE = [
    pytest.param(lambda spec: None, id="a Procedure and manifests"),
    pytest.param(lambda spec: spec["environment"].update(manifests=GIT), id="manifests from git"),
    pytest.param(
        lambda spec: spec.update(restore={"velero": VELERO}, environment={}), id="Velero, which brings everything"
    ),
    pytest.param(
        restored(velero={"schedule": "nightly", "includedNamespaces": ["acme-dev"]}), id="the newest of a Schedule"
    ),
    pytest.param(http(successCondition="status == 200", path="/health?deep=1", scheme="https"), id="a probe by HTTP"),
    pytest.param(
        lambda spec: spec["probes"].append({"name": "extra", "tcp": TCP, "required": False}), id="one not required"
    ),
    pytest.param(lambda spec: spec["disaster"].update(declaredAt="2026-11-22T14:00:00+02:00"), id="an offset"),
    pytest.param(
        lambda spec: spec.update(schedule={"cron": "0 3 * * *"}, disaster={}), id="a schedule without a moment"
    ),
    pytest.param(lambda spec: spec["environment"].update(isolation="None"), id="no isolation"),
    pytest.param(labelled(team="acme", **{"example.com/cost-centre": "7"}), id="labels of its own"),
    pytest.param(lambda spec: spec.pop("objectives"), id="without objectives"),
    pytest.param(lambda spec: spec.update(keepFor="30m"), id="kept for people"),
    pytest.param(
        lambda spec: spec.update(probes=[{"name": f"p{n}", "tcp": TCP} for n in range(16)]), id="sixteen probes"
    ),
]


@pytest.mark.parametrize("change", FINE)
async def test_what_is_right_is_accepted(lab: Lab, change: Change) -> None:
    assert await refusal(lab, change) == ""


REFUSED = [
    pytest.param(
        lambda spec: spec["environment"]["manifests"].update(GIT),
        "set exactly one of environment.manifests.git and environment.manifests.configMap",
        id="manifests twice",
    ),
    pytest.param(
        lambda spec: spec["environment"].update(manifests={}),
        "set exactly one of environment.manifests.git and environment.manifests.configMap",
        id="manifests from nowhere",
    ),
    pytest.param(
        lambda spec: spec.update(environment={}),
        "a Procedure restores into what is there",
        id="nothing to restore into",
    ),
    pytest.param(restored(), "set exactly one of restore.procedure and restore.velero", id="no restore"),
    pytest.param(
        restored(procedure="a", velero=VELERO), "set exactly one of restore.procedure and restore.velero", id="two"
    ),
    pytest.param(
        restored(velero=VELERO, secretRef={"name": "s3"}), "are for a Procedure, not for Velero", id="Velero's keys"
    ),
    pytest.param(
        restored(velero=VELERO, environmentSecret="postgres"), "are for a Procedure, not for Velero", id="a password"
    ),
    pytest.param(
        restored(velero=VELERO | {"schedule": "nightly"}), "exactly one of velero.backup and velero.schedule", id="both"
    ),
    pytest.param(restored(velero={"includedNamespaces": ["a"]}), "exactly one of velero.backup", id="neither"),
    pytest.param(restored(velero={"backup": "monday"}), "includedNamespaces", id="Velero of no namespace"),
    pytest.param(
        restored(velero=VELERO | {"includedNamespaces": ["a", "b"]}), "at most 1", id="Velero of two namespaces"
    ),
    pytest.param(restored(velero=VELERO | {"includedNamespaces": ["*"]}), "should match", id="Velero of all of them"),
    pytest.param(
        probed(http={"service": "a", "port": 1}), "set exactly one of http, tcp and procedure", id="a probe too many"
    ),
    pytest.param(probed(tcp=None), "set exactly one of http, tcp and procedure", id="a probe of nothing"),
    pytest.param(lambda spec: spec.update(probes=[]), "at least 1", id="no probe"),
    pytest.param(
        lambda spec: spec["probes"].append(spec["probes"][0]), "duplicate entries for key", id="two probes of one name"
    ),
    pytest.param(
        lambda spec: [probe.update(required=False) for probe in spec["probes"]],
        "at least one probe must be required",
        id="no probe that counts",
    ),
    pytest.param(
        lambda spec: spec.update(probes=[{"name": f"p{n}", "tcp": TCP} for n in range(17)]),
        "at most 16",
        id="17 probes",
    ),
    pytest.param(probed(name="a" * 41), "may not be more than 40", id="a long name"),
    pytest.param(probed(tcp=TCP | {"service": "evil.example.com"}), "should match", id="a host for a Service"),
    pytest.param(probed(tcp=TCP | {"port": 0}), "greater than or equal to 1", id="port 0"),
    pytest.param(http(path="http://evil.example.com"), "should match", id="a URL for a path"),
    pytest.param(http(path="/a b"), "should match", id="a space in a path"),
    pytest.param(http(scheme="file"), "should match", id="another scheme"),
    pytest.param(probed(timeout="0s"), "must be longer than 0s", id="no time"),
    pytest.param(probed(successThreshold=0), "greater than or equal to 1", id="never"),
    pytest.param(
        lambda spec: spec.update(schedule={"cron": "0 3 * * *"}),
        "leave it out together with a schedule",
        id="a moment that comes again",
    ),
    pytest.param(lambda spec: spec["disaster"].update(declaredAt="yesterday"), "date-time", id="no moment"),
    pytest.param(
        labelled(**{"pod-security.kubernetes.io/enforce": "privileged"}), "are the platform's", id="Pod Security"
    ),
    pytest.param(labelled(**{"kubernetes.io/metadata.name": "default"}), "are the platform's", id="another's name"),
    pytest.param(labelled(**{"bascule.dev/drill-of": "other"}), "are the platform's", id="another tenant"),
    pytest.param(lambda spec: spec["environment"].update(isolation="Some"), "Unsupported value", id="some isolation"),
    pytest.param(lambda spec: spec["objectives"].update(rto="soon"), "should match", id="no length"),
    pytest.param(lambda spec: spec["objectives"].update(rpo="0s"), "must be longer than 0s", id="no data may be lost"),
]


@pytest.mark.parametrize(("change", "says"), REFUSED)
async def test_what_is_wrong_is_refused_with_the_remedy(lab: Lab, change: Change, says: str) -> None:
    assert says in await refusal(lab, change)


# Warnings


@pytest.fixture(scope="module")
def warnings(plane: ControlPlane) -> None:
    """The chart's policy that warns, without what Helm adds to it."""
    text = (ROOT / "charts" / "bascule" / "templates" / "policies" / "warnings.yaml").read_text()
    plain = re.sub(r"^ *(labels:\n *)?\{\{.*\}\}\n", "", text, flags=re.MULTILINE)
    documents = [item for item in yaml.safe_load_all(plain) if item["metadata"]["name"].endswith("-drills")]
    assert [item["kind"] for item in documents] == [
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
    ]  # fmt: skip
    plane.kubectl("apply", "--server-side", "--filename=-", input=yaml.safe_dump_all(documents))


def warned(lab: Lab, *arguments: str, document: Spec | None = None) -> str:
    """What kubectl is warned of. Policies take a moment to hold."""
    for _ in range(100):
        argv = [str(binaries() / "kubectl"), "--kubeconfig", str(lab.plane.kubeconfig), *arguments]
        text = json.dumps(document) if document else None
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=True)
        if "Warning:" in done.stderr:
            return done.stderr
        time.sleep(0.2)
    return ""


def resource(lab: Lab, **environment: Any) -> Spec:
    spec = drill_spec()
    spec["environment"] |= environment
    metadata = {"name": "shop", "namespace": lab.namespace}
    return {"apiVersion": "bascule.dev/v1alpha1", "kind": "DRDrill", "metadata": metadata, "spec": spec}


async def test_what_may_reach_live_systems_is_warned_of(lab: Lab, warnings: None) -> None:
    create = ("create", "--dry-run=server", "--filename=-")
    assert "live systems among it" in warned(lab, *create, document=resource(lab, isolation="None"))


async def test_whoever_deletes_a_drill_that_goes_on_is_told_what_becomes_of_it(lab: Lab, warnings: None) -> None:
    key = await lab.drill()
    run = {"number": 1, "revision": "1-abc", "trigger": "Revision", "tenant": "acme", "workflowId": "drdrill/u/1"}
    await lab.kube.request(
        "PATCH", f"{path(key)}/status", resource="test", body={"status": {"observedGeneration": 1, "run": run}},
        content_type=MERGE_PATCH,
    )  # fmt: skip
    delete = ("delete", "drdrill", key.name, "-n", lab.namespace, "--dry-run=server")
    assert "its namespace is torn down at once" in warned(lab, *delete)
