"""What the chart renders, before any cluster sees it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from bascule_api import names
from bascule_api.parameters import parameter_errors
from bascule_api.procedures import Procedure, SecurityProfile, Use
from bascule_workers.plans.velero import RESOURCES
from hack import gen_crds
from hack.cluster.handle import Cluster
from hack.generated import ROOT
from tests.chart.conftest import CHART, Documents, Render

pytestmark = pytest.mark.cluster

BUILD_SCRIPT = ROOT / "hack" / "images" / "builder" / "bascule-build"


def of_kind(documents: Documents, kind: str) -> Iterator[dict[str, Any]]:
    return (document for document in documents if document["kind"] == kind)


def procedure(documents: Documents, name: str) -> Procedure:
    return next(Procedure.parse(item) for item in of_kind(documents, "Procedure") if item["metadata"]["name"] == name)


def test_both_pods_are_restricted(render: Render) -> None:
    pods = [document["spec"]["template"]["spec"] for document in of_kind(render(), "Deployment")]
    assert len(pods) == 2
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"livenessProbe", "readinessProbe", "resources"} <= container.keys()


@pytest.mark.parametrize("component", ["operator", "worker"])
def test_replicas_stand_apart_and_go_one_by_one(render: Render, component: str) -> None:
    documents = render()
    deployment = next(
        item for item in of_kind(documents, "Deployment") if item["metadata"]["name"] == f"bascule-{component}"
    )
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    chosen = deployment["spec"]["selector"]["matchLabels"]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"].get("strategy", {}).get("type", "RollingUpdate") == "RollingUpdate"
    for constraint in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"] == chosen
    budgets = {item["metadata"]["name"]: item["spec"] for item in of_kind(documents, "PodDisruptionBudget")}
    assert budgets[f"bascule-{component}"]["maxUnavailable"] == 1
    assert budgets[f"bascule-{component}"]["selector"]["matchLabels"] == chosen
    assert chosen.items() <= labels.items()


def test_a_pod_whose_loop_is_busy_for_half_a_minute_is_not_killed(render: Render) -> None:
    for deployment in of_kind(render(), "Deployment"):
        probe = deployment["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
        assert (probe["failureThreshold"] - 1) * probe["periodSeconds"] > 30


def test_a_single_replica_keeps_no_node_from_being_drained(render: Render) -> None:
    budgets = of_kind(render("operator.replicas=1", "worker.replicas=1"), "PodDisruptionBudget")
    assert list(budgets) == []


def test_operators_elect_a_leader_by_a_lease_that_they_may_hold_and_no_other(render: Render) -> None:
    documents = render()
    pod = next(item for item in of_kind(documents, "Deployment") if item["metadata"]["name"] == "bascule-operator")
    env = {item["name"]: item for item in pod["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["BASCULE_LEADER_ELECTION"]["value"] == "true"
    assert env["BASCULE_IDENTITY"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    role = next(item for item in of_kind(documents, "Role") if item["metadata"]["name"] == "bascule-operator")
    assert role["rules"] == [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["bascule-operator"],
            "verbs": ["get", "update"],
        },
    ]


def test_nothing_of_prometheus_operator_or_grafana_is_rendered_unless_wanted(render: Render) -> None:
    documents = render()
    assert not list(of_kind(documents, "PodMonitor")) + list(of_kind(documents, "PrometheusRule"))
    assert "dashboard" not in str([item["metadata"]["name"] for item in documents])
    assert "OTEL_" not in str(documents)


def test_monitors_alerts_and_dashboard_are_rendered_as_they_are_committed(render: Render) -> None:
    wanted = [f"metrics.{name}.enabled=true" for name in ("podMonitor", "alerts", "dashboard")]
    documents = render(*wanted, "metrics.alerts.labels.release=prometheus")
    ports = {
        (pod["metadata"]["name"], port["name"])
        for pod in of_kind(documents, "Deployment")
        for port in pod["spec"]["template"]["spec"]["containers"][0]["ports"]
    }
    scraped = {
        (item["metadata"]["name"], endpoint["port"])
        for item in of_kind(documents, "PodMonitor")
        for endpoint in item["spec"]["podMetricsEndpoints"]
    }
    assert scraped == ports
    (rule,) = of_kind(documents, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((CHART / "observability" / "alerts.yaml").read_text())
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    (dashboard,) = (item for item in documents if item["metadata"]["name"] == "bascule-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["data"]["bascule.json"] == (CHART / "observability" / "dashboard.json").read_text()


def test_both_are_told_where_traces_go(render: Render) -> None:
    documents = render("tracing.endpoint=http://collector:4318", "tracing.sampleRatio=0.25")
    for pod in of_kind(documents, "Deployment"):
        env = {item["name"]: item.get("value") for item in pod["spec"]["template"]["spec"]["containers"][0]["env"]}
        assert env["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"
        assert (env["OTEL_TRACES_SAMPLER"], env["OTEL_TRACES_SAMPLER_ARG"]) == ("traceidratio", "0.25")


def test_no_role_has_a_wildcard(render: Render) -> None:
    documents = render()
    roles = [*of_kind(documents, "Role"), *of_kind(documents, "ClusterRole")]
    words = {word for role in roles for rule in role["rules"] for words in rule.values() for word in words}
    assert len(roles) >= 5
    assert "*" not in words
    assert not words & {"escalate", "bind", "impersonate"}


def test_nobody_gets_cluster_admin(render: Render) -> None:
    bindings = [*of_kind(render(), "ClusterRoleBinding"), *of_kind(render(), "RoleBinding")]
    roles = {"bascule-operator", "bascule-worker", "bascule-worker-nodes"}
    assert {binding["roleRef"]["name"] for binding in bindings} == roles


def test_users_roles_hold_no_status_and_no_procedure(render: Render) -> None:
    roles = [role for role in of_kind(render(), "ClusterRole") if "aggregate" in str(role["metadata"])]
    resources = {resource for role in roles for rule in role["rules"] for resource in rule["resources"]}
    assert resources == {"imagebuilds", "patchcampaigns", "drdrills", "approvals"}
    edit = next(role for role in roles if role["metadata"]["name"] == "bascule-edit")
    assert edit["rules"][0]["resources"] == ["imagebuilds", "patchcampaigns", "drdrills"]


def test_the_crds_are_those_that_are_committed(render: Render) -> None:
    found = {document["metadata"]["name"]: document for document in of_kind(render(), "CustomResourceDefinition")}
    assert {name: document["spec"] for name, document in found.items()} == {
        f"{kind.plural}.bascule.dev": yaml.safe_load((ROOT / "crds" / f"{kind.plural}.yaml").read_text())["spec"]
        for kind in gen_crds.KINDS
    }
    assert all(item["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"} for item in found.values())


def test_the_crds_can_be_left_out_or_go_with_the_chart(render: Render) -> None:
    assert list(of_kind(render("crds.enabled=false"), "CustomResourceDefinition")) == []
    kept = [document["metadata"] for document in of_kind(render("crds.keep=false"), "CustomResourceDefinition")]
    assert all("annotations" not in metadata for metadata in kept)


def test_every_policy_is_bound_and_fails_closed(render: Render) -> None:
    documents = render("drills.enabled=true", "drills.veleroNamespace=velero")
    policies = {item["metadata"]["name"]: item for item in of_kind(documents, "ValidatingAdmissionPolicy")}
    bindings = {item["spec"]["policyName"]: item for item in of_kind(documents, "ValidatingAdmissionPolicyBinding")}
    assert policies.keys() == bindings.keys() != set()
    for name, policy in policies.items():
        # What only warns must not stand in the way.
        expected = "Ignore" if bindings[name]["spec"]["validationActions"] == ["Warn"] else "Fail"
        assert policy["spec"]["failurePolicy"] == expected, name
    actions = [tuple(binding["spec"]["validationActions"]) for binding in bindings.values()]
    assert set(actions) <= {("Deny",), ("Warn",)}
    assert actions.count(("Warn",)) == 3


def test_a_private_authority_is_trusted_by_both(render: Render) -> None:
    pem = "-----BEGIN CERTIFICATE-----"
    documents = render(f"trust.caBundle={pem}")
    (config_map,) = of_kind(documents, "ConfigMap")
    assert config_map["data"] == {"ca-bundle.crt": pem}
    for deployment in of_kind(documents, "Deployment"):
        env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        assert {"name": "SSL_CERT_FILE", "value": "/etc/bascule/ca/ca-bundle.crt"} in env


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param(["operatr.image=x"], "additional properties 'operatr' not allowed", id="a misspelt value"),
        pytest.param(["temporal.address="], "temporal.address is required", id="no Temporal"),
        pytest.param(["operator.image="], "operator.image is required", id="no image"),
        pytest.param(["procedures.images.builder="], "procedures.images.builder is required", id="no builder"),
        pytest.param(["trust.caBundle=ca.pem"], "does not match pattern", id="a file name for a certificate"),
        pytest.param(["temporal.address=http://t:7233"], "does not match pattern", id="a URL for an address"),
    ],
)
def test_wrong_values_are_named(render: Render, values: list[str], message: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        render(*values)
    assert message in caught.value.stderr


def test_the_chart_lints(cluster: Cluster) -> None:
    cluster.exec(["helm", "lint", "--strict", str(CHART), "--values", str(CHART / "ci/values.yaml")], check=True)


def test_the_shipped_procedures_are_what_the_contract_says(render: Render) -> None:
    documents = render()
    buildah, run_image = procedure(documents, "buildah").spec, procedure(documents, "run-image").spec
    assert (buildah.uses, buildah.security_profile) == ([Use.IMAGE_BUILD_BUILD], SecurityProfile.BUILD)
    assert [result.name for result in buildah.results] == ["digest", "baseImages"]
    assert (run_image.uses, run_image.security_profile) == ([Use.IMAGE_BUILD_TEST], SecurityProfile.RESTRICTED)
    assert run_image.template.container.image_from == "Candidate"
    assert list(of_kind(render("procedures.enabled=false"), "Procedure")) == []


def test_exit_codes_of_the_build_script_are_those_that_the_procedure_knows(render: Render) -> None:
    codes = {int(code) for code in re.findall(r"(?:BUILD_FAILED|REFUSED|USAGE)=([0-9]+)", BUILD_SCRIPT.read_text())}
    assert codes == set(procedure(render(), "buildah").spec.retry.non_retryable_exit_codes)


@pytest.mark.parametrize(
    ("path", "fits"),
    [
        ("Containerfile", True),
        ("images/web/Dockerfile.prod", True),
        (".build/Containerfile", True),
        ("../Containerfile", False),
        ("a/../../b", False),
        ("/etc/passwd", False),
        ("a//b", False),
        ("-f", False),
        ("a\nb", False),
        ("$(id)", False),
        ("", False),
    ],
)
def test_the_containerfile_stays_within_the_sources(render: Render, path: str, fits: bool) -> None:
    problems = parameter_errors(procedure(render(), "buildah").spec.parameters, {"containerfile": path})
    assert (problems == []) is fits


@pytest.mark.parametrize(
    ("argument", "fits"),
    [
        ("A=1", True),
        ("A=", True),
        ('A=$(x) "y"\n{{z}} --flag', True),
        ("--build-arg=A=1", False),
        ("A", False),
        ("=1", False),
    ],
)
def test_build_arguments_are_a_name_and_any_value(render: Render, argument: str, fits: bool) -> None:
    problems = parameter_errors(procedure(render(), "buildah").spec.parameters, {"buildArgs": ["B=2", argument]})
    assert (problems == []) is fits


def test_the_platforms_key_is_mounted_by_workers_only_and_its_public_half_is_published(render: Render) -> None:
    key = "-----BEGIN PUBLIC KEY-----"

    documents = render("provenance.keySecretName=platform-signing", f"provenance.publicKey={key}")

    [published] = [
        item for item in of_kind(documents, "ConfigMap") if item["metadata"]["name"] == "bascule-platform-key"
    ]
    assert published["data"] == {"cosign.pub": key}
    mounting = [
        pod["metadata"]["name"]
        for pod in of_kind(documents, "Deployment")
        for volume in pod["spec"]["template"]["spec"]["volumes"]
        if (volume.get("secret") or {}).get("secretName") == "platform-signing"
    ]
    assert mounting == ["bascule-worker"]


def test_a_platforms_key_without_its_public_half_is_refused(render: Render) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        render("provenance.keySecretName=platform-signing")

    assert "provenance.publicKey is required" in refused.value.stderr


def test_without_a_platforms_key_nothing_of_it_is_rendered(render: Render) -> None:
    assert "platform-key" not in str(render())


def test_velero_is_reached_only_where_the_platform_names_it(render: Render) -> None:
    def of_velero(*values: str) -> set[tuple[str, str, str]]:
        return {
            (item["kind"], item["metadata"]["name"], item["metadata"].get("namespace", ""))
            for item in render(*values)
            if "velero" in f"{item['metadata']['name']} {item['metadata'].get('namespace', '')}"
        }

    def told(*values: str) -> list[str]:
        (worker,) = (
            item for item in of_kind(render(*values), "Deployment") if item["metadata"]["name"] == "bascule-worker"
        )
        (container,) = worker["spec"]["template"]["spec"]["containers"]
        return [item["value"] for item in container["env"] if item["name"] == "BASCULE_VELERO_NAMESPACE"]

    assert of_velero() == set()
    assert told() == []
    assert of_velero("drills.veleroNamespace=velero") == {
        ("ConfigMap", "bascule-drills", "velero"),
        ("Role", "bascule-worker-velero", "velero"),
        ("RoleBinding", "bascule-worker-velero", "velero"),
        ("ValidatingAdmissionPolicy", "bascule-velero", ""),
        ("ValidatingAdmissionPolicyBinding", "bascule-velero", ""),
    }
    assert told("drills.veleroNamespace=velero") == ["velero"]


def test_the_policy_allows_the_kinds_that_drills_restore_and_no_others(render: Render) -> None:
    documents = render("drills.veleroNamespace=velero")
    (policy,) = (
        item for item in of_kind(documents, "ValidatingAdmissionPolicy") if item["metadata"]["name"] == "bascule-velero"
    )
    kinds = {item["name"]: item["expression"] for item in policy["spec"]["variables"]}["kinds"]
    assert tuple(re.findall(r"'([a-z.]+)'", kinds)) == RESOURCES


def test_velero_takes_every_label_of_ours_off_pods(render: Render) -> None:
    (rules,) = (
        item for item in render("drills.veleroNamespace=velero") if item["metadata"]["name"] == "bascule-drills"
    )
    (text,) = rules["data"].values()
    *_, last = yaml.safe_load(text)["resourceModifierRules"]
    taken = yaml.safe_load(last["mergePatches"][0]["patchData"])["spec"]["template"]["metadata"]["labels"]
    assert set(taken.values()) == {None}
    ours = {value for name, value in vars(names).items() if name.startswith("LABEL_")}
    # These are on nodes, namespaces and Secrets, and nothing looks for them on pods.
    elsewhere = {
        names.LABEL_CORDONED_BY,
        names.LABEL_STEPS_OF,
        names.LABEL_DRILL_OF,
        names.LABEL_KEPT_FOR,
        names.LABEL_USE,
    }
    assert taken.keys() == ours - elsewhere
