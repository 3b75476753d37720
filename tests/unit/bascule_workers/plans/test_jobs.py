"""The Job of a step: what it may do, what it is given, and that nothing given is ever executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule_api.base import ParameterValue
from bascule_api.procedures import PinnedProcedure
from bascule_workers.errors import StepFailedError
from bascule_workers.messages import GitPin, JobRequest, SourcePin
from bascule_workers.plans import image_builds
from bascule_workers.plans.jobs import JobSettings, environment, escaped, job_name, render_job, spec_hash
from tests.support.runs import BUILDAH, RUN_IMAGE, image_build, procedure

SETTINGS = JobSettings("registry.example.com/bascule/worker@sha256:1", "bascule-ca")
GOLDEN = Path(__file__).parent / "golden_jobs"
UID = "3f1c5a8e-0000-4000-8000-000000000001"
IMAGE = f"registry.example.com/acme/web-candidates@sha256:{'a' * 64}"


def request(pinned: PinnedProcedure = RUN_IMAGE, **fields: Any) -> JobRequest:
    given: dict[str, Any] = {
        **image_builds.common(image_build(UID), "test-smoke"),
        "procedure": pinned,
        "parameters": {},
        "source": SourcePin(revision="sha256:1"),
        "candidate": f"registry.example.com/acme/web-candidates:r-{UID}-1",
        "image": IMAGE,
        "timeout_seconds": 900,
        "keep_seconds": 10_800,
    }
    return JobRequest(**(given | fields))


def pod(of: JobRequest) -> dict[str, Any]:
    spec: dict[str, Any] = render_job(of, SETTINGS, image_builds.job_traits(of))["spec"]["template"]["spec"]
    return spec


CASES = {
    "restricted-config-map": request(parameters={"command": ["cat", "/greeting"], "retries": 3, "strict": True}),
    "build-git-private": request(
        BUILDAH,
        step="build",
        image="",
        source=SourcePin(
            revision="c" * 40,
            git=GitPin(url="https://git.example.com/web.git", commit="c" * 40, path="image", login=True),
        ),
        registry_login=True,
    ),
    "test-private-registry": request(registry_login=True, job_attempt=2),
}


@pytest.mark.parametrize("name", CASES)
def test_a_job_is_rendered_as_agreed(name: str) -> None:
    """The golden file is the review: delete it and run once to write it anew."""
    rendered = (
        json.dumps(render_job(CASES[name], SETTINGS, image_builds.job_traits(CASES[name])), indent=1, sort_keys=True)
        + "\n"
    )
    golden = GOLDEN / f"{name}.json"
    if not golden.exists():
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(rendered)
    assert golden.read_text() == rendered


def test_a_restricted_pod_meets_pod_security_restricted() -> None:
    spec = pod(request())
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["initContainers"] + spec["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False


def test_a_build_pod_names_no_seccomp_profile_and_is_not_privileged() -> None:
    spec = pod(CASES["build-git-private"])
    [main] = spec["containers"]
    assert "seccompProfile" not in spec["securityContext"]
    assert main["securityContext"] == {"runAsUser": 0}


def test_a_host_procedure_is_refused() -> None:
    host = procedure("host", "ImageBuild/test", securityProfile="Host")
    with pytest.raises(StepFailedError, match="securityProfile Host"):
        render_job(request(host), SETTINGS)


def test_tests_get_no_credentials_but_those_that_the_kubelet_pulls_with() -> None:
    spec = pod(CASES["test-private-registry"])
    assert [volume["name"] for volume in spec["volumes"] if "secret" in volume or "projected" in volume] == []
    assert len(spec["imagePullSecrets"]) == 1


def test_git_credentials_are_mounted_into_the_prepare_container_only() -> None:
    spec = pod(CASES["build-git-private"])
    mounted = [
        container["name"]
        for container in spec["initContainers"] + spec["containers"]
        if any(mount["name"] == "bascule-git" for mount in container["volumeMounts"])
    ]
    assert mounted == ["bascule-prepare"]


def test_the_candidate_is_run_by_digest() -> None:
    assert pod(request())["containers"][0]["image"] == IMAGE
    with pytest.raises(StepFailedError, match="there is none yet"):
        render_job(request(image=""), SETTINGS)


def kubelet_expands(value: str) -> str:
    """What the kubelet makes of a value that refers to no variable that there is; from k8s.io/kubernetes expansion."""
    out, i = "", 0
    while i < len(value):
        if value[i] == "$" and i + 1 < len(value):
            if value[i + 1] == "$":
                out, i = out + "$", i + 2
                continue
            if value[i + 1] == "(" and ")" in value[i:]:
                i = value.index(")", i) + 1
                out += "EXPANDED"
                continue
        out, i = out + value[i], i + 1
    return out


@given(st.text(alphabet=st.sampled_from("$(){}AB`'\"\n -"), max_size=30))
def test_whatever_a_value_is_the_kubelet_hands_it_on_unchanged(value: str) -> None:
    assert kubelet_expands(escaped(value)) == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("$(id)", "$$(id)", id="a reference"),
        pytest.param("quo'te\"\n", "quo'te\"\n", id="quotes and newlines"),
        pytest.param("--flag", "--flag", id="a leading dash"),
        pytest.param("{{ .Values }}", "{{ .Values }}", id="a template"),
        pytest.param(True, "true", id="a boolean"),
        pytest.param(7, "7", id="a number"),
        pytest.param(["a", "b c"], "a\nb c", id="a list"),
    ],
)
def test_parameters_are_in_the_environment(value: ParameterValue, shown: str) -> None:
    env = {entry["name"]: entry["value"] for entry in environment(request(parameters={"buildArgs": value}), SETTINGS)}
    assert env["PARAM_BUILD_ARGS"] == shown
    assert env["BASCULE_RUN"] == f"{UID}/1"


def test_what_no_container_could_be_started_with_is_refused() -> None:
    with pytest.raises(StepFailedError, match="NUL"):
        render_job(request(parameters={"a": "\0"}), SETTINGS)
    with pytest.raises(StepFailedError, match="larger than"):
        render_job(request(parameters={"a": "x" * 200_000}), SETTINGS)


def test_a_repeated_step_has_the_same_name_and_a_new_attempt_another() -> None:
    assert job_name(request()) == job_name(request(note="waiting"))
    assert job_name(request()) != job_name(request(job_attempt=2))
    assert len(job_name(request(step="test-" + "x" * 200))) <= 63


def test_the_spec_hash_follows_what_is_done_and_not_how_it_is_rendered() -> None:
    assert spec_hash(request()) == spec_hash(request(note="waiting", keep_seconds=1))
    assert spec_hash(request()) != spec_hash(request(parameters={"command": ["other"]}))


@pytest.mark.parametrize(
    ("template", "registry_login", "mounted"),
    [
        pytest.param({"container": {"image": "tools"}}, True, True, id="a program that attaches something"),
        pytest.param({"container": {"image": "tools"}}, False, False, id="another program"),
        pytest.param({"container": {"imageFrom": "Candidate"}}, True, False, id="never the candidate itself"),
    ],
)
def test_a_test_gets_the_registrys_login_where_the_platform_says_so(
    template: dict[str, Any], registry_login: bool, mounted: bool
) -> None:
    pinned = procedure("policy", "ImageBuild/test", template=template, registryLogin=registry_login)

    [container] = pod(request(pinned, registry_login=True))["containers"]

    assert ("/run/bascule/registry" in [mount["mountPath"] for mount in container["volumeMounts"]]) is mounted
    assert ("REGISTRY_AUTH_FILE" in [variable["name"] for variable in container["env"]]) is mounted
