"""What is handed to Ansible is taken literally, and what it answers is judged rightly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from bascule_workers.in_step.contract import ExitCode, Step, StepError
from bascule_workers.playbook import Host, Keys, inventory, recap, variables

TARGET = {
    "BASCULE_TARGET": "web-1",
    "BASCULE_TARGET_ADDRESS": "10.0.0.5",
    "BASCULE_TARGET_PORT": "2222",
    "BASCULE_TARGET_USER": "patcher",
}


def test_the_inventory_holds_the_one_host() -> None:
    settings = {"ansible_host": "10.0.0.5", "ansible_port": 2222, "ansible_user": "patcher"}
    assert json.loads(inventory(Host.of(Step(TARGET)))) == {"all": {"hosts": {"web-1": settings}}}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BASCULE_TARGET", "web[1:3]"),
        ("BASCULE_TARGET", "{{ x }}"),
        ("BASCULE_TARGET", "-x"),
        ("BASCULE_TARGET_ADDRESS", "-oProxyCommand=reboot"),
        ("BASCULE_TARGET_ADDRESS", "a b"),
        ("BASCULE_TARGET_USER", "-x"),
        ("BASCULE_TARGET_USER", "{{ x }}"),
        ("BASCULE_TARGET_PORT", "0"),
        ("BASCULE_TARGET_PORT", "22 -x"),
        ("BASCULE_TARGET_PORT", "65536"),
    ],
)
def test_a_host_that_would_be_read_as_something_else_is_refused(variable: str, value: str) -> None:
    with pytest.raises(StepError) as raised:
        Host.of(Step(TARGET | {variable: value}))
    assert raised.value.report.exit_code is ExitCode.USAGE


def test_the_values_of_variables_stay_text() -> None:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!unsafe", lambda loader, node: ("unsafe", loader.construct_scalar(node)))
    text = variables(["a={{ lookup('pipe', 'id') }}", 'b=x"\n  c: d', "e=", "f=x=y"])
    assert yaml.load(text, Loader) == {  # noqa: S506 - a safe loader with one tag more
        "a": ("unsafe", "{{ lookup('pipe', 'id') }}"),
        "b": ("unsafe", 'x"\n  c: d'),
        "e": ("unsafe", ""),
        "f": ("unsafe", "x=y"),
    }
    assert yaml.safe_load(variables([])) == {}


@pytest.mark.parametrize("item", ["a", "=b", "a b=c", "1a=b", "a-b=c"])
def test_a_variable_without_a_name_is_refused(item: str) -> None:
    with pytest.raises(StepError, match="NAME=VALUE"):
        variables([item])


def test_the_recap_of_the_host_is_the_last_one() -> None:
    lines = [
        "web-1                      : ok=9    changed=9    unreachable=0    failed=0",
        "PLAY RECAP *********************************************************************",
        "web-1                      : ok=2    changed=1    unreachable=0    failed=0    skipped=3",
        "other                      : ok=7    changed=7    unreachable=0    failed=0",
    ]
    assert recap(lines, "web-1") == {"ok": 2, "changed": 1, "unreachable": 0, "failed": 0, "skipped": 3}
    assert recap(lines, "web") == {}


def test_a_key_is_copied_for_our_eyes_only_and_a_missing_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "ssh").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "ssh/ssh-privatekey").write_text("key")
    with pytest.raises(StepError, match="known_hosts"):
        Keys.copied(tmp_path / "ssh", tmp_path / "work")
    (tmp_path / "ssh/known_hosts").write_text("web-1 ssh-ed25519 AAAA\n")
    keys = Keys.copied(tmp_path / "ssh", tmp_path / "work")
    assert keys.identity.read_text() == "key\n"
    assert keys.identity.stat().st_mode & 0o777 == 0o600
    assert "StrictHostKeyChecking=yes" in keys.options()
    assert f"UserKnownHostsFile={keys.known_hosts}" in keys.options()
