"""The Procedures that the chart ships, against the contract and against the programs that they name."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from bascule_api.parameters import ParameterType, effective_parameters, parameter_errors
from bascule_api.procedures import Placement, Procedure, SecurityProfile
from bascule_workers.image_policy.findings import FailOn
from bascule_workers.image_policy.rules import DEFAULT_SETUID
from bascule_workers.in_step.contract import ExitCode
from bascule_workers.on_node.apt_upgrade import Reboot, Scope
from bascule_workers.packer.publication import Kind

FOLDER = Path(__file__).resolve().parents[3] / "charts/bascule/procedures"
NODES = ("apt-upgrade", "apt-rollback", "node-reboot", "node-script", "node-check")
RESTORES = ("postgres-restore", "files-restore")
OURS = ("packer", "packer-artifact-delete", "image-policy", "ansible-playbook", *RESTORES, *NODES)


def shipped(name: str) -> Procedure:
    """The Procedure without what Helm fills in: that is labels, and the names of images and addresses."""
    text = (FOLDER / f"{name}.yaml").read_text()
    text = text.replace("  labels:\n", "").replace("{{ .Values.procedures.submodules }}", "Refuse")
    text = text.replace("{{ .Values.procedures.nodes.tenants | toJson }}", '["*"]')
    text = text.replace("{{ .Values.procedures.nodes.scripts | quote }}", "bascule-node-scripts")
    text = re.sub(r"^\s*\{\{-.*\}\}\n", "", text, flags=re.MULTILINE)
    return Procedure.model_validate(yaml.safe_load(re.sub(r"\{\{.*?\}\}", "https://example.com/x", text)))


def choices(name: str, parameter: str) -> list[str]:
    return next(found.enum for found in shipped(name).spec.parameters if found.name == parameter)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_every_shipped_procedure_follows_the_contract(name: str) -> None:
    procedure = shipped(name)
    assert procedure.metadata.name == name
    assert procedure.spec.description
    assert all(parameter.description for parameter in procedure.spec.parameters)
    defaults = effective_parameters(procedure.spec.parameters, {})
    assert not [
        problem for problem in parameter_errors(procedure.spec.parameters, defaults) if problem.message != "is required"
    ]


@pytest.mark.parametrize("name", [*OURS, "sql-probe"])
def test_the_program_that_a_procedure_starts_is_there(name: str) -> None:
    python, option, module = shipped(name).spec.template.container.command
    assert (python, option) == ("python3", "-m")
    assert find_spec(module) is not None


@pytest.mark.parametrize("name", OURS)
def test_only_a_server_that_does_not_answer_is_tried_again(name: str) -> None:
    final = set(shipped(name).spec.retry.non_retryable_exit_codes)
    assert ExitCode.UNAVAILABLE not in final
    assert {ExitCode.REFUSED, ExitCode.USAGE} <= final


@pytest.mark.parametrize("name", NODES)
def test_what_runs_with_a_nodes_rights_runs_there_and_takes_typed_parameters_only(name: str) -> None:
    spec = shipped(name).spec
    assert (spec.placement, spec.security_profile) == (Placement.ON_TARGET, SecurityProfile.HOST)
    assert all(use.startswith("PatchCampaign/") for use in spec.uses)
    assert [volume.host_path for volume in spec.template.volumes if volume.host_path] == ["/"]
    strings = (ParameterType.STRING, ParameterType.ARRAY)
    assert [
        found.name for found in spec.parameters if found.type in strings and not (found.enum or found.pattern)
    ] == []


@pytest.mark.parametrize("package", ["web-", "-web", "../x", "web;reboot", "web web", "web=", "Web", "w", "web=1.0-"])
def test_a_package_is_neither_an_option_nor_a_removal(package: str) -> None:
    (problem,) = parameter_errors(shipped("apt-upgrade").spec.parameters, {"packages": [package]})
    assert problem.name == "packages"


@pytest.mark.parametrize("script", ["../x", "a/b", ".x", "", "a b", "a\n"])
def test_a_script_is_a_key_of_the_platforms(script: str) -> None:
    (problem,) = parameter_errors(shipped("node-script").spec.parameters, {"script": script})
    assert problem.name == "script"


def test_the_choices_are_those_of_the_programs() -> None:
    assert choices("apt-upgrade", "scope") == [scope.value for scope in Scope]
    assert choices("apt-upgrade", "reboot") == choices("apt-rollback", "reboot") == [kind.value for kind in Reboot]
    assert choices("packer", "artifact") == [kind.value for kind in Kind]
    assert choices("image-policy", "failOn") == [level.value for level in FailOn]


def test_the_default_list_of_setuid_programs_is_the_programs_own() -> None:
    assert effective_parameters(shipped("image-policy").spec.parameters, {})["allowedSetuid"] == list(DEFAULT_SETUID)


@pytest.mark.parametrize(
    "template", ["../x.json", "a/../b", "-x", "/etc/x", ".git/config", "a//b", "a/", "a\nb", "~/x"]
)
def test_a_template_stays_within_the_sources(template: str) -> None:
    (problem,) = parameter_errors(shipped("packer").spec.parameters, {"template": template})
    assert problem.name == "template"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("packer", {"variables": ["a=$(reboot)\n{{ x }}", "b-c=", 'd="']}),
        ("packer", {"template": "images/web.pkr.hcl", "artifact": "record"}),
        ("packer-artifact-delete", {"artifacts": ["mitchellh.amazonebs eu-west-1:ami-1,us-east-1:ami-2"]}),
        ("packer-artifact-delete", {"artifacts": ["packer.azure /subscriptions/1/images/x", "a b"]}),
        ("ansible-playbook", {"variables": ["a={{ x }}\n$(id)"], "playbook": "roles/web.yml", "check": True}),
        ("apt-upgrade", {"packages": ["g++", "libc6:i386", "linux-image-amd64=6.1.119-1", "a1=2:1.0~rc1+b1"]}),
        ("node-script", {"script": "20-firmware.sh"}),
        (
            "postgres-restore",
            {"artifact": f"registry:5000/acme/dump@sha256:{'a' * 64}", "service": "db", "database": "shop"},
        ),
        (
            "files-restore",
            {"claim": "data", "endpoint": "https://s3:9000", "bucket": "backups", "key": "web/2026-11-22.tar"},
        ),
        ("sql-probe", {"query": "SELECT 'a|$b'\n", "expect": "a|$b", "service": "db", "port": 6432}),
        ("node-check", {"services": ["ssh.service", "getty@tty1.service"], "minFreePercent": 10}),
        ("image-policy", {"ignore": ["*:/usr/share/doc/*", "root-user:/"], "allowedSetuid": [], "allowRoot": True}),
    ],
)
def test_what_is_meant_to_be_given_may_be_given(name: str, given: dict[str, str | list[str] | bool]) -> None:
    assert parameter_errors(shipped(name).spec.parameters, given) == []


@pytest.mark.parametrize("name", RESTORES)
@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("key", "../other/x"),
        ("key", "a/../b"),
        ("key", "a/.b"),
        ("key", "/a"),
        ("key", "a?versionId=1"),
        ("endpoint", "https://user@s3"),
        ("endpoint", "file:///etc/passwd"),
        ("endpoint", "https://s3/prefix"),
        ("bucket", "../x"),
        ("artifact", "registry/x --insecure"),
        ("artifact", "docker-archive:/x"),
    ],
)
def test_a_backup_is_named_plainly(name: str, parameter: str, value: str) -> None:
    given = {"claim": "c", "service": "db", "database": "d", parameter: value}
    known = {found.name for found in shipped(name).spec.parameters}
    problems = parameter_errors(shipped(name).spec.parameters, {key: given[key] for key in given if key in known})
    assert [problem.name for problem in problems] == [parameter]


@pytest.mark.parametrize("name", ["postgres-restore", "sql-probe"])
@pytest.mark.parametrize("service", ["db.acme-dev.svc", "10.0.0.1", "db host=live", ""])
def test_a_database_is_a_service_of_the_drills_own_namespace(name: str, service: str) -> None:
    given = {"service": service, "database": "d", "query": "SELECT 1"}
    known = {found.name for found in shipped(name).spec.parameters}
    problems = parameter_errors(shipped(name).spec.parameters, {key: given[key] for key in given if key in known})
    assert [problem.name for problem in problems] == ["service"]


def test_the_example_of_a_drill_gives_the_shipped_procedures_what_they_take() -> None:
    text = (FOLDER.parents[2] / "examples/dr-drill.yaml").read_text()
    spec = next(yaml.safe_load_all(text))["spec"]
    named = [(spec["restore"]["procedure"], spec["restore"]["parameters"])]
    named += [
        (probe["procedure"]["name"], probe["procedure"]["parameters"])
        for probe in spec["probes"]
        if "procedure" in probe
    ]
    assert [name for name, _ in named] == ["postgres-restore", "sql-probe"]
    assert [
        problem for name, given in named for problem in parameter_errors(shipped(name).spec.parameters, given)
    ] == []
