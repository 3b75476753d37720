"""What a tenant's manifests may be, and what of them is refused, where, and with which remedy."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from bascule_api import names
from bascule_workers.errors import ManifestsRefusedError
from bascule_workers.plans import manifests
from tests.support.drill_manifests import (
    EVERY_KIND,
    Json,
    account,
    claim,
    config_map,
    deployment,
    files,
    job,
    secret,
    service,
    spoiled,
    stateful_set,
)

POD = "spec.template.spec"
CONTAINER = f"{POD}.containers.0"


def refusal(*documents: Json, reserved: tuple[str, ...] = ()) -> str:
    with pytest.raises(ManifestsRefusedError) as caught:
        manifests.load(files(*documents), reserved)
    return str(caught.value)


def test_every_kind_passes_in_the_order_in_which_it_is_applied() -> None:
    loaded = manifests.load(files(*reversed(EVERY_KIND)))
    assert [manifest["kind"] for manifest in loaded] == list(manifests.KINDS)


def test_no_pod_and_no_account_gets_a_token() -> None:
    loaded = manifests.load(files(account(), deployment()))
    assert loaded[0]["automountServiceAccountToken"] is False
    assert loaded[1]["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_what_kubectl_prints_of_a_dry_run_passes() -> None:
    exported = spoiled(spoiled(deployment(), "metadata.creationTimestamp", None), "status", {})
    exported = spoiled(exported, "spec.template.metadata.creationTimestamp", None)
    (loaded,) = manifests.load(files(exported))
    assert "status" not in loaded
    assert loaded["metadata"] == {"name": "web"}


def test_which_are_applied_after_the_restore_is_told_by_their_annotation() -> None:
    late = spoiled(deployment(), "metadata.annotations", {names.ANNOTATION_APPLY: "AfterRestore"})
    loaded = manifests.load(files(late, config_map()))
    assert [manifests.is_after_restore(manifest) for manifest in loaded] == [False, True]


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        pytest.param({"apiVersion": "v1", "kind": "Namespace"}, "of the whole cluster", id="a namespace"),
        pytest.param(
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}, "of the whole", id="a binding"
        ),
        pytest.param({"apiVersion": "v1", "kind": "PersistentVolume"}, "of the whole cluster", id="a volume"),
        pytest.param(
            {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}, "of the whole", id="a CRD"
        ),
        pytest.param({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}, "the platform's", id="a policy"),
        pytest.param({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}, "the platform's", id="a role"),
        pytest.param({"apiVersion": "v1", "kind": "Pod"}, "not for drills", id="a bare pod"),
        pytest.param({"apiVersion": "apps/v1", "kind": "DaemonSet"}, "not for drills", id="a DaemonSet"),
        pytest.param({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}, "not for drills", id="an Ingress"),
        pytest.param({"apiVersion": "acme.example.com/v1", "kind": "Widget"}, "not for drills", id="a custom resource"),
        pytest.param({"apiVersion": "v1", "kind": "List", "items": []}, "documents of their own", id="a List"),
        pytest.param({"apiVersion": "v1", "kind": "ConfigMapList"}, "documents of their own", id="a list of a kind"),
        pytest.param(deployment() | {"apiVersion": "apps/v1beta1"}, "write apps/v1", id="an old version"),
        pytest.param(config_map() | {"apiVersion": "acme/v1"}, "write v1", id="a version of another group"),
        pytest.param({"apiVersion": 1, "kind": "ConfigMap"}, "required, as text", id="a version that is a number"),
        pytest.param({"kind": "ConfigMap"}, "required, as text", id="no version"),
        pytest.param({"apiVersion": "v1", "kind": ["ConfigMap"]}, "required, as text", id="a kind that is a list"),
    ],
)
def test_kinds_that_are_refused(manifest: Json, words: str) -> None:
    said = refusal(manifest)
    assert words in said
    assert said.startswith("app.yaml, document 1")


def deployed(path: str, value: Any) -> Json:
    return spoiled(deployment(), path, value)


VOLUME = f"{POD}.volumes"
REFUSED: list[Any] = [
    # metadata
    pytest.param(deployed("metadata.namespace", "live"), "metadata.namespace", id="another namespace"),
    pytest.param(deployed("metadata.generateName", "web-"), "metadata.generateName", id="a generated name"),
    pytest.param(deployed("metadata.finalizers", ["x.io/y"]), "metadata.finalizers", id="a finalizer"),
    pytest.param(deployed("metadata.ownerReferences", []), "metadata.ownerReferences", id="an owner"),
    pytest.param(deployed("metadata.resourceVersion", "1"), "metadata.resourceVersion", id="a version"),
    pytest.param(deployed("metadata.name", None), "metadata.name", id="no name"),
    pytest.param(deployed("metadata.name", "../x"), "metadata.name", id="a name that is a path"),
    pytest.param(deployed("metadata.name", "bascule-restore"), "the platform's", id="a name of the platform's"),
    pytest.param(account("default"), "the platform's", id="the default account"),
    pytest.param(
        deployed("metadata.labels", {"bascule.dev/run": "x"}), "metadata.labels.bascule.dev/run", id="a label"
    ),
    pytest.param(deployed("metadata.labels", {"x.bascule.dev/a": "x"}), "the platform's", id="a label below ours"),
    pytest.param(deployed("metadata.labels", {"a": 1}), "must be text", id="a label that is a number"),
    pytest.param(deployed("metadata.labels", ["a"]), "must be an object", id="labels that are a list"),
    pytest.param(deployed("metadata.annotations", {"bascule.dev/run": "x"}), "bascule.dev/apply only", id="annotation"),
    pytest.param(deployed("metadata.annotations", {"bascule.dev/apply": "Now"}), "AfterRestore", id="another stage"),
    pytest.param(
        spoiled(service(), "metadata.annotations", {"external-dns.alpha.kubernetes.io/hostname": "live.example.com"}),
        "act outside",
        id="a name in the DNS",
    ),
    pytest.param(deployed("metadata", []), "metadata: must be an object", id="metadata that is a list"),
    pytest.param(deployed("bogus", 1), "bogus", id="an unknown field"),
    pytest.param(deployed("status", {"replicas": 1}), "status", id="a status"),
    # pods
    *[
        pytest.param(deployed(f"{POD}.{name}", value), f"{POD}.{name}", id=name)
        for name, value in {
            "hostNetwork": True,
            "hostPID": True,
            "hostIPC": True,
            "nodeName": "control-plane",
            "tolerations": [{"operator": "Exists"}],
            "priorityClassName": "system-node-critical",
            "runtimeClassName": "kata",
            "schedulerName": "mine",
            "dnsConfig": {"nameservers": ["8.8.8.8"]},
            "dnsPolicy": "Default",
            "resourceClaims": [],
            "schedulingGates": [],
            "automountServiceAccountToken": True,
            "ephemeralContainers": [],
            "bogus": 1,
        }.items()
    ],
    pytest.param(deployed(f"{POD}.containers", []), "at least one", id="no container"),
    pytest.param(deployed(f"{POD}.containers", "web"), "at least one", id="containers that are text"),
    pytest.param(deployed(POD, None), "must be an object", id="no pod"),
    pytest.param(deployed(f"{POD}.serviceAccountName", "admin"), "no ServiceAccount admin", id="a foreign account"),
    pytest.param(deployed(f"{POD}.imagePullSecrets", [{"name": "x"}]), "no Secret x", id="a foreign pull secret"),
    pytest.param(
        deployed("spec.template.metadata.labels", {"bascule.dev/egress": "restore"}), "the platform's", id="egress"
    ),
    pytest.param(
        deployed("spec.template.metadata.annotations", {"bascule.dev/x": "y"}), "the platform's", id="our annotation"
    ),
    pytest.param(
        deployed(f"{POD}.securityContext", {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
        "sysctls",
        id="sysctls",
    ),
    pytest.param(
        deployed(f"{POD}.securityContext", {"seccompProfile": {"type": "Unconfined"}}),
        "seccompProfile",
        id="unconfined",
    ),
    pytest.param(
        deployed(f"{POD}.securityContext", {"windowsOptions": {"hostProcess": True}}), "windows", id="windows"
    ),
    pytest.param(
        deployed(f"{POD}.securityContext", {"seLinuxOptions": {"type": "spc_t"}}), "seLinuxOptions", id="SELinux"
    ),
    pytest.param(
        deployed(
            f"{POD}.affinity",
            {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaceSelector": {}}]}},
        ),
        "its own namespace only",
        id="anti-affinity to live pods",
    ),
    # containers
    pytest.param(deployed(f"{CONTAINER}.securityContext", {"privileged": True}), "privileged", id="privileged"),
    pytest.param(
        deployed(f"{CONTAINER}.securityContext", {"capabilities": {"add": ["SYS_ADMIN"]}}), "SYS_ADMIN", id="capability"
    ),
    pytest.param(deployed(f"{CONTAINER}.securityContext", {"capabilities": {"add": "ALL"}}), "ALL", id="capabilities"),
    pytest.param(deployed(f"{CONTAINER}.securityContext", {"procMount": "Unmasked"}), "procMount", id="procMount"),
    pytest.param(
        deployed(f"{CONTAINER}.securityContext", {"appArmorProfile": {"type": "Unconfined"}}), "appArmor", id="AppArmor"
    ),
    pytest.param(
        deployed(f"{POD}.initContainers", [{"name": "i", "image": "i", "securityContext": {"privileged": True}}]),
        "initContainers[0].securityContext.privileged",
        id="a privileged init container",
    ),
    pytest.param(deployed(f"{CONTAINER}.ports", [{"containerPort": 1, "hostPort": 80}]), "hostPort", id="a host port"),
    pytest.param(
        deployed(f"{CONTAINER}.livenessProbe", {"httpGet": {"host": "10.0.0.1", "port": 80}}),
        "livenessProbe.httpGet.host",
        id="a probe elsewhere",
    ),
    pytest.param(
        deployed(f"{CONTAINER}.lifecycle", {"postStart": {"tcpSocket": {"host": "10.0.0.1", "port": 80}}}),
        "postStart.tcpSocket.host",
        id="a hook elsewhere",
    ),
    pytest.param(deployed(f"{CONTAINER}.volumeDevices", []), "volumeDevices", id="a block device"),
    pytest.param(
        deployed(f"{CONTAINER}.env", [{"name": "A", "valueFrom": {"fileKeyRef": {}}}]), "fileKeyRef", id="an odd source"
    ),
    pytest.param(
        deployed(f"{CONTAINER}.envFrom", [{"secretRef": {"name": "x"}}]), "no Secret x", id="a Secret that is not there"
    ),
    # volumes
    *[
        pytest.param(deployed(VOLUME, [{"name": "v", name: value}]), f"{VOLUME}[0].{name}", id=f"{name} volume")
        for name, value in {
            "hostPath": {"path": "/"},
            "nfs": {"server": "10.0.0.1", "path": "/"},
            "csi": {"driver": "secrets-store.csi.k8s.io"},
            "iscsi": {},
            "image": {"reference": "x"},
            "gitRepo": {"repository": "https://example.com"},
            "flexVolume": {},
        }.items()
    ],
    pytest.param(
        deployed(VOLUME, [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]),
        "serviceAccountToken",
        id="a projected token",
    ),
    pytest.param(deployed(VOLUME, [{"name": "v"}]), "exactly one source", id="a volume without source"),
    pytest.param(
        deployed(VOLUME, [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]), "exactly one", id="two sources"
    ),
    pytest.param(
        deployed(VOLUME, [{"name": "v", "persistentVolumeClaim": {"claimName": "live"}}]),
        "no PersistentVolumeClaim live",
        id="a claim that is not there",
    ),
    pytest.param(
        deployed(VOLUME, [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {"volumeName": "pv-1"}}}}]),
        "volumeName",
        id="an ephemeral claim of a live volume",
    ),
    # services
    pytest.param(service(type="NodePort"), "spec.type", id="NodePort"),
    pytest.param(service(type="LoadBalancer"), "spec.type", id="LoadBalancer"),
    pytest.param(service(type="ExternalName", externalName="live.example.com"), "spec.externalName", id="ExternalName"),
    pytest.param(service(externalIPs=["10.0.0.1"]), "spec.externalIPs", id="external addresses"),
    pytest.param(service(clusterIP="10.96.0.10"), "spec.clusterIP", id="an address of its own choice"),
    pytest.param(service(loadBalancerIP="10.0.0.1"), "spec.loadBalancerIP", id="a balancer's address"),
    pytest.param(service(ports=[{"port": 80, "nodePort": 30080}]), "nodePort", id="a node's port"),
    # claims
    pytest.param(claim(volumeName="pv-1"), "spec.volumeName", id="a live volume"),
    pytest.param(claim(dataSource={"kind": "PersistentVolumeClaim", "name": "live"}), "spec.dataSource", id="a clone"),
    pytest.param(
        claim(dataSourceRef={"kind": "VolumeSnapshot", "name": "x", "namespace": "live"}),
        "dataSourceRef",
        id="snapshot",
    ),
    pytest.param(claim(selector={"matchLabels": {"a": "b"}}), "spec.selector", id="a selected volume"),
    pytest.param(claim(storageClassName=""), "storageClassName", id="the empty class"),
    pytest.param(claim(volumeMode="Block"), "volumeMode", id="a raw device"),
    pytest.param(
        stateful_set(volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {"volumeName": "pv-1"}}]),
        "volumeClaimTemplates[0].spec.volumeName",
        id="a live volume by a template",
    ),
    # the rest
    pytest.param(secret() | {"type": "kubernetes.io/service-account-token"}, "type", id="a token's Secret"),
    pytest.param(secret() | {"type": "bootstrap.kubernetes.io/token"}, "type", id="a bootstrap token"),
    pytest.param(account() | {"secrets": [{"name": "x"}]}, "secrets", id="an account's Secrets"),
    pytest.param(account() | {"automountServiceAccountToken": True}, "automount", id="an account's token"),
    pytest.param(account() | {"imagePullSecrets": [{"name": "x"}]}, "no Secret x", id="an account's pull secret"),
    pytest.param(job(ttlSecondsAfterFinished=0), "ttlSecondsAfterFinished", id="a Job that goes"),
    pytest.param(job(suspend=True), "suspend", id="a suspended Job"),
    pytest.param(job(managedBy="x.io/y"), "managedBy", id="a Job of another controller"),
    pytest.param(deployment(paused=True), "paused", id="a paused Deployment"),
    pytest.param(deployment(replicas=100_000), "spec.replicas", id="too many replicas"),
    pytest.param(deployment(replicas=True), "spec.replicas", id="replicas that are no number"),
    pytest.param(config_map() | {"data": {"a": 1}}, "data.a: must be text", id="data that are a number"),
    pytest.param(config_map() | {"data": ["a"]}, "data: must be an object", id="data that are a list"),
    pytest.param(config_map("kube-root-ca.crt"), "the platform's", id="the cluster's CA"),
]


@pytest.mark.parametrize(("manifest", "words"), REFUSED)
def test_what_reaches_out_of_the_namespace_is_refused(manifest: Json, words: str) -> None:
    said = refusal(manifest)
    assert words in said
    assert said.startswith("app.yaml, document 1")


def test_names_that_the_platform_uses_are_refused() -> None:
    assert "the platform's" in refusal(config_map("our-ca"), reserved=("our-ca",))


def test_all_that_is_wrong_is_told_up_to_a_point() -> None:
    said = refusal(*(service(f"s{number}", type="NodePort") for number in range(9)))
    assert said.count("spec.type") == 5
    assert said.endswith("and 4 more")


def test_one_object_stands_once() -> None:
    assert "stands in app.yaml, document 1 already" in refusal(config_map(), config_map())


def test_references_hold_among_the_manifests() -> None:
    pod = {
        "serviceAccountName": "web",
        "imagePullSecrets": [{"name": "pull"}],
        "containers": [
            {
                "name": "web",
                "image": "x",
                "envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "gone", "optional": True}}],
                "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "password", "key": "password"}}}],
            }
        ],
        "volumes": [
            {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "p", "projected": {"sources": [{"secret": {"name": "password"}}]}},
        ],
    }
    assert manifests.load(files(account(), secret(), secret("pull"), config_map(), claim(), deployment(pod=pod)))


def test_what_is_applied_first_cannot_need_what_comes_after_the_restore() -> None:
    late = spoiled(config_map(), "metadata.annotations", {names.ANNOTATION_APPLY: "AfterRestore"})
    early = deployed(f"{CONTAINER}.envFrom", [{"configMapRef": {"name": "settings"}}])
    assert "is applied after the restore" in refusal(late, early)


def test_what_is_applied_after_the_restore_may_need_what_it_brings() -> None:
    late = deployed(f"{CONTAINER}.envFrom", [{"configMapRef": {"name": "restored"}}])
    assert manifests.load(files(spoiled(late, "metadata.annotations", {names.ANNOTATION_APPLY: "AfterRestore"})))


def test_a_claims_template_stands_in_for_a_volume() -> None:
    pod = {
        "containers": [{"name": "db", "image": "x", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "set by the controller"}}],
    }
    assert manifests.load(files(stateful_set(pod=pod)))


def test_the_same_manifests_are_the_same_whatever_file_they_are_in() -> None:
    one = manifests.load(files(config_map(), deployment()))
    other = manifests.load(
        {"b.json": json.dumps(config_map()).encode(), "a.yml": yaml.safe_dump(deployment()).encode()}
    )
    assert manifests.packed(one) == manifests.packed(other)
