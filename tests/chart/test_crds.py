"""The real API server accepts what is right, and says what is wrong with the rest."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from bascule_api.base import DIGEST, REPOSITORY, TAG
from bascule_api.image_builds import ImageBuild, ImageBuildStatus
from hack.cluster.handle import Cluster
from hack.generated import ROOT
from tests.support.requests import ADMIN_GROUP, OPERATOR, as_user, creation

pytestmark = pytest.mark.cluster

API = "bascule.dev/v1alpha1"
Spec = dict[str, Any]
Change = Callable[[Spec], Any]

IMAGE_BUILD: Spec = {
    "source": {"configMap": {"name": "files"}},
    "sign": {"keySecretRef": {"name": "signing-key"}},
    "publish": {"repository": "registry.example.com/acme/web", "tags": ["v1"]},
}
EXACTLY_ONE = "set exactly one of source.git and source.configMap"
GIT: Spec = {"git": {"url": "https://git.example.com/acme/web.git"}}
PROCEDURE: Spec = {"uses": ["ImageBuild/test"], "template": {"container": {"image": "registry.example.com/tool:1"}}}
TENANT: Spec = {"namespaces": ["acme-dev"]}


def resource(kind: str, spec: Spec, name: str = "web") -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def changed(spec: Spec, change: Change) -> Spec:
    result = copy.deepcopy(spec)
    change(result)
    return result


def examples() -> Iterator[Any]:
    for path in sorted((ROOT / "examples").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document and document["kind"] != "Approval":
                # Names that nobody has: a cluster may have the real ones.
                document["metadata"] |= {"name": f"example-{document['metadata']['name']}", "namespace": "default"}
                yield pytest.param(document, id=f"{path.stem}: {document['kind']}")


@pytest.mark.parametrize("document", list(examples()))
def test_examples_are_accepted(bascule: Cluster, document: dict[str, Any]) -> None:
    assert creation(bascule, document) == ""


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda s: s.update(source=GIT), id="a git source"),
        pytest.param(lambda s: s.update(source={"git": {"url": "ssh://git@git.example.com/acme/web.git"}}), id="ssh"),
        pytest.param(lambda s: s.update(timeout="1d2h3m4s"), id="a long duration"),
        pytest.param(lambda s: s.update(timeout="9999d99999h9999999m999999999s"), id="the longest numbers"),
        pytest.param(lambda s: s.update(timeout="1s", compensation={"timeout": "1s"}), id="the shortest durations"),
        pytest.param(lambda s: s.update(timeout="0h0m1s"), id="a duration with zeros in it"),
        pytest.param(lambda s: s["publish"].update(tags=["A_b.c-1", "_x", "latest"]), id="odd tags"),
        pytest.param(lambda s: s["publish"].update(repository="localhost:5000/a__b/c.d-e"), id="an odd repository"),
        pytest.param(
            lambda s: s.update(build={"parameters": {"a": "x", "b": 1, "c": True, "d": ["y", ""]}}),
            id="parameters of every type",
        ),
        pytest.param(
            lambda s: s.update(tests=[{"name": f"t{n}"} for n in range(16)]), id="as many tests as there may be"
        ),
    ],
)
def test_an_image_build_is_accepted_with(bascule: Cluster, change: Change) -> None:
    assert creation(bascule, resource("ImageBuild", changed(IMAGE_BUILD, change))) == ""


def test_names_of_253_characters_are_legal(bascule: Cluster) -> None:
    spec = changed(IMAGE_BUILD, lambda s: s.update(source={"configMap": {"name": "c" * 253}}))
    assert creation(bascule, resource("ImageBuild", spec, "n" * 253)) == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda s: s.update(source={}), "set exactly one of source.git and source.configMap", id="none"),
        pytest.param(
            lambda s: s["source"].update(GIT), "set exactly one of source.git and source.configMap", id="both"
        ),
        pytest.param(
            lambda s: s["publish"].update(candidateRepository=s["publish"]["repository"]),
            "candidateRepository must differ from repository",
            id="candidates where the tags are",
        ),
        pytest.param(lambda s: s.update(timeout="90"), "spec.timeout", id="a duration without a unit"),
        pytest.param(lambda s: s.update(timeout="1.5h"), "spec.timeout", id="a broken duration"),
        pytest.param(lambda s: s.update(timeout="0s"), "must be longer than 0s", id="no time"),
        pytest.param(lambda s: s.update(timeout="0d0h"), "must be longer than 0s", id="no time in two units"),
        pytest.param(lambda s: s.update(timeout="10000d"), "is too long: at most 9999d", id="more than 9999 days"),
        pytest.param(lambda s: s.update(timeout="1000000000s"), "is too long", id="more than 999999999 seconds"),
        pytest.param(lambda s: s.update(timeout="9" * 31 + "h"), "is too long", id="a number past all bounds"),
        pytest.param(lambda s: s.update(timeout="1s" * 17), "Too long", id="more than 32 characters"),
        pytest.param(lambda s: s.update(compensation={"timeout": "0s"}), "must be longer", id="no compensation"),
        pytest.param(
            lambda s: s["publish"].update(approval={"required": True, "timeout": "0m"}),
            "spec.publish.approval.timeout",
            id="no time to approve",
        ),
        pytest.param(lambda s: s["publish"].update(tags=[]), "at least 1 items", id="no tags"),
        pytest.param(lambda s: s["publish"].update(tags=["-x"]), "spec.publish.tags[0]", id="a tag with a dash first"),
        pytest.param(lambda s: s["publish"].update(tags=["a b"]), "spec.publish.tags[0]", id="a tag with a space"),
        pytest.param(lambda s: s["publish"].update(tags=["a", "a"]), "Duplicate value", id="a tag twice"),
        pytest.param(lambda s: s["publish"].update(repository="web"), "spec.publish.repository", id="no host"),
        pytest.param(lambda s: s["publish"].update(repository="r.io/Web"), "spec.publish.repository", id="capitals"),
        pytest.param(lambda s: s.update(tests=[{"name": "a"}, {"name": "a"}]), "Duplicate value", id="a test twice"),
        pytest.param(
            lambda s: s.update(tests=[{"name": f"t{n}"} for n in range(17)]),
            "must have at most 16 items",
            id="too many",
        ),
        pytest.param(lambda s: s.update(tests=[{"name": "A"}]), "spec.tests[0].name", id="a test's name in capitals"),
        pytest.param(lambda s: s.pop("sign"), "spec.sign", id="no key"),
        pytest.param(lambda s: s.update(signn={}), "unknown field", id="a misspelt field"),
        pytest.param(lambda s: s.update(compensation={"onDelete": "Maybe"}), "Unsupported value", id="no such choice"),
        pytest.param(
            lambda s: s.update(source={"git": {"url": "http://git.example.com/a"}}), "source.git.url", id="plain http"
        ),
        pytest.param(
            lambda s: s.update(source={"git": {"url": "https://me:secret@git.example.com/a"}}),
            "put them into a Secret",
            id="credentials in the url",
        ),
        pytest.param(
            lambda s: s.update(source={"git": GIT["git"] | {"path": "a/../../b"}}),
            "must stay within the repository",
            id="a path that leads out",
        ),
        pytest.param(
            lambda s: s.update(source={"git": GIT["git"] | {"revision": "--upload-pack=x"}}),
            "source.git.revision",
            id="a revision that looks like an option",
        ),
        pytest.param(
            lambda s: s.update(build={"parameters": {f"p{n}": "x" for n in range(33)}}),
            "must have at most 32 items",
            id="too many parameters",
        ),
    ],
)
def test_a_wrong_image_build_is_told_what_is_wrong(bascule: Cluster, change: Change, message: str) -> None:
    assert message in creation(bascule, resource("ImageBuild", changed(IMAGE_BUILD, change)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda s: s["template"].update(volumes=[{"name": "root", "hostPath": "/"}]),
            "hostPath needs securityProfile Host",
            id="hostPath without Host",
        ),
        pytest.param(
            lambda s: s.update(securityProfile="Host"),
            "securityProfile Host needs placement OnTarget",
            id="Host on any node",
        ),
        pytest.param(
            lambda s: s.update(securityProfile="Host", placement="OnTarget", parameters=[{"name": "script"}]),
            "every parameter needs an enum or a pattern",
            id="Host with a free parameter",
        ),
        pytest.param(
            lambda s: s["template"]["container"].update(imageFrom="Candidate"),
            "set exactly one of image and imageFrom",
            id="two images",
        ),
        pytest.param(lambda s: s.update(uses=[]), "at least 1 items", id="no use"),
        pytest.param(lambda s: s.update(uses=["ImageBuild/paint"]), "Unsupported value", id="no such use"),
        pytest.param(lambda s: s.update(retry={"attempts": 0}), "greater than or equal to 1", id="no attempt"),
    ],
)
def test_a_wrong_procedure_is_told_what_is_wrong(bascule: Cluster, change: Change, message: str) -> None:
    assert message in creation(bascule, resource("Procedure", changed(PROCEDURE, change)))


def test_a_host_procedure_with_typed_parameters_is_accepted(bascule: Cluster) -> None:
    def host(spec: Spec) -> None:
        spec["template"]["volumes"] = [{"name": "root", "hostPath": "/"}]
        spec |= {"securityProfile": "Host", "placement": "OnTarget"}
        spec["parameters"] = [{"name": "package", "pattern": "[a-z]+"}]

    assert creation(bascule, resource("Procedure", changed(PROCEDURE, host))) == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("t" * 40, ""),
        ("t" * 41, "at most 40 characters"),
        ("acme.example", "consists of a-z, 0-9 and -"),
    ],
)
def test_namespaces_and_queues_are_named_after_a_tenant(bascule: Cluster, name: str, message: str) -> None:
    said = creation(bascule, resource("Tenant", TENANT, name))
    assert message in said
    assert bool(said) is bool(message)


def test_an_image_build_is_in_progress_before_anybody_has_seen_it(bascule: Cluster, namespace: str) -> None:
    document = resource("ImageBuild", IMAGE_BUILD) | {"status": {"phase": "Succeeded", "observedGeneration": 1}}
    made = json.loads(
        bascule.kubectl(
            "create", "-n", namespace, "--dry-run=server", "-o", "json", "-f", "-", input=json.dumps(document)
        )
    )
    # A status that comes with the resource is dropped: nobody arrives with a history.
    assert made["status"] == {"observedGeneration": -1}


def test_the_api_servers_defaults_are_the_models_and_change_no_revision(bascule: Cluster, namespace: str) -> None:
    document = resource("ImageBuild", changed(IMAGE_BUILD, lambda s: s.update(tests=[{"name": "a"}])))
    text = bascule.kubectl(
        "create", "-n", namespace, "--dry-run=server", "-o", "json", "-f", "-", input=json.dumps(document)
    )
    served = ImageBuild.parse(json.loads(text))
    assert served.spec == ImageBuild.parse(document).spec
    assert served.revision == ImageBuild.parse(document).revision
    assert json.loads(text)["spec"]["timeout"] == "2h"


def sample(schema: dict[str, Any]) -> Any:
    """A value with everything in it that the schema knows."""
    match schema:
        case {"properties": properties}:
            return {name: sample(child) for name, child in properties.items()}
        case {"items": items}:
            return [sample(items)]
        case {"enum": [first, *_]}:
            return first
        case {"format": "date-time"}:
            return "2026-01-02T03:04:05Z"
        case {"pattern": pattern}:
            return {DIGEST: "sha256:" + "0" * 64, TAG: "v1", REPOSITORY: "r.example.com/a"}.get(pattern, "Reason")
        case {"type": "integer"}:
            return 1
        case {"type": "boolean"}:
            return True
    return "text"


def test_every_field_that_the_models_write_into_a_status_is_kept(bascule: Cluster, namespace: str) -> None:
    """Server-side apply refuses a field that the schema does not know."""
    bascule.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(resource("ImageBuild", IMAGE_BUILD, "kept")))
    definition = yaml.safe_load((ROOT / "crds" / "imagebuilds.yaml").read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    written = ImageBuildStatus.model_validate(sample(schema)).to_wire()
    apply = ["apply", "-n", namespace, "--server-side", "--force-conflicts", "--subresource=status"]
    kept = bascule.kubectl(
        *as_user(OPERATOR, ADMIN_GROUP),
        *apply,
        *("--dry-run=server", "-o", "json", "-f", "-"),
        input=json.dumps({"apiVersion": API, "kind": "ImageBuild", "metadata": {"name": "kept"}, "status": written}),
    )
    served = json.loads(kept)["status"]
    # The operator runs here as well; conditions of its own stand beside ours, by their types.
    served["conditions"] = [item for item in served["conditions"] if item["type"] == "text"]
    assert served == written


PROMETHEUS = {"address": "http://prometheus.monitoring:9090", "query": "errors"}
GATE: Spec = {"name": "errors", "prometheus": PROMETHEUS, "successCondition": "result < 0.05"}
WINDOW: Spec = {"start": "22:00", "end": "06:00"}
CAMPAIGN: Spec = {
    "targets": {"nodes": {"selector": {"matchLabels": {"role": "web"}}}},
    "patch": {"procedure": "apt-upgrade"},
    "waves": [{"name": "fleet"}],
    "gates": [GATE],
    "windows": [WINDOW],
}


def gate(**fields: Any) -> Change:
    """Changes the gate; None takes a field away."""
    return lambda s: s.update(gates=[{key: value for key, value in {**GATE, **fields}.items() if value is not None}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(gate(), "", id="a sound gate"),
        pytest.param(gate(successCondition=None), "a Prometheus query needs a successCondition", id="no condition"),
        pytest.param(gate(successCondition=""), "at least 1 chars", id="an empty condition"),
        pytest.param(gate(http={"url": "http://web/"}), "set exactly one of http, prometheus", id="two kinds"),
        pytest.param(gate(prometheus=None, successCondition=None), "set exactly one of http", id="no kind"),
        pytest.param(gate(prometheus=PROMETHEUS | {"address": "http://a:b/"}), "must be a URL", id="no port"),
        pytest.param(
            gate(prometheus=PROMETHEUS | {"address": "http://u:p@a/"}), "should match", id="a password in a URL"
        ),
        pytest.param(
            gate(prometheus=PROMETHEUS | {"address": "file:///etc/passwd"}), "should match", id="another scheme"
        ),
        pytest.param(
            gate(prometheus=PROMETHEUS | {"query": "x" * 4097}), "may not be more than 4096", id="a long query"
        ),
        pytest.param(gate(timeout="0s"), "must be longer than 0s", id="no time"),
        pytest.param(gate(count=0), "greater than or equal to 1", id="no measurement"),
        pytest.param(
            gate(prometheus=None, procedure={"name": "smoke"}),
            "successCondition is for http",
            id="a condition too many",
        ),
        pytest.param(
            gate(prometheus=None, procedure={"name": "smoke"}, successCondition=None, count=60, failureLimit=41),
            "each measurement of a Procedure is a Job",
            id="too many Jobs",
        ),
        pytest.param(lambda s: s.update(gates=[GATE, GATE]), "Duplicate value", id="two of one name"),
        pytest.param(
            lambda s: s.update(gates=[{**GATE, "name": f"g{n}"} for n in range(9)]), "must have at most 8", id="9"
        ),
        pytest.param(
            lambda s: s.update(windows=[WINDOW | {"end": "22:00"}]), "start and end must differ", id="no length"
        ),
        pytest.param(lambda s: s.update(windows=[WINDOW | {"end": "24:00"}]), "should match", id="midnight as 24:00"),
        pytest.param(
            lambda s: s.update(windows=[WINDOW | {"days": ["Monday"]}]), "Unsupported value", id="no such day"
        ),
    ],
)
def test_gates_and_windows(bascule: Cluster, change: Change, message: str) -> None:
    said = creation(bascule, resource("PatchCampaign", changed(CAMPAIGN, change)))
    assert message in said if message else said == ""
