"""The Procedure `ansible-playbook`: runs a tenant's playbook against one host, over SSH with the tenant's key.

Nothing of it has a right of its own: what it may do at the host is what the key may do. The playbook and its parameters
are the tenant's; the host, its keys and who is asked for come from the run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bascule_workers.in_step import contract
from bascule_workers.in_step.contract import ExitCode, Report, Step, StepError

IDENTITY, KNOWN_HOSTS = "ssh-privatekey", "known_hosts"
"""The keys of the tenant's Secret, and the files that become of them."""
DEFAULT_PLAYBOOK = "playbook.yml"
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_ADDRESS = re.compile(r"[A-Za-z0-9:]([A-Za-z0-9.:_-]{0,251}[A-Za-z0-9:])?")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,63}")
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RECAP = re.compile(r"^(?P<host>\S+)\s+: (?P<counts>(?:\w+=\d+\s*)+)$")
_UNREACHABLE = 4
"""Ansible's exit code."""
_REFUSED = re.compile(
    r"Host key verification failed|Permission denied \(|No [\w-]+ host key is known|REMOTE HOST IDENT"
)
_LINES = 400


@dataclass(frozen=True)
class Host:
    """The one host of the inventory."""

    name: str
    address: str
    port: int
    user: str

    @classmethod
    def of(cls, step: Step) -> Host:
        """Read the host from the environment. Raises StepError for what would be read as something else."""
        name, user = step.variable("BASCULE_TARGET"), step.environment.get("BASCULE_TARGET_USER") or "root"
        address, port = step.variable("BASCULE_TARGET_ADDRESS"), step.environment.get("BASCULE_TARGET_PORT") or "22"
        for variable, value, pattern in (
            ("BASCULE_TARGET", name, _NAME),
            ("BASCULE_TARGET_ADDRESS", address, _ADDRESS),
            ("BASCULE_TARGET_USER", user, _USER),
        ):
            if not pattern.fullmatch(value):
                raise StepError(ExitCode.USAGE, f"{variable} is not of a host: {value!r}")
        if not port.isdecimal() or not 0 < int(port) < 65_536:
            raise StepError(ExitCode.USAGE, f"BASCULE_TARGET_PORT is no port: {port!r}")
        return cls(name, address, int(port), user)


@dataclass(frozen=True)
class Keys:
    """The tenant's key, copied to where ssh takes it, and the keys of hosts that are trusted."""

    identity: Path
    known_hosts: Path

    @classmethod
    def copied(cls, source: Path, work: Path) -> Keys:
        """Raises StepError where the run has no key."""
        made = cls(work / IDENTITY, work / KNOWN_HOSTS)
        for target in (made.identity, made.known_hosts):
            try:
                content = (source / target.name).read_text()
            except OSError:
                raise StepError(
                    ExitCode.INVALID, f"there is no {target.name} to log in with: set targets.inventory.secretRef"
                ) from None
            target.touch(mode=0o600)
            # ssh does not read a key without a newline at its end.
            target.write_text(content.rstrip("\n") + "\n")
        return made

    def options(self) -> list[str]:
        """A host that is not known, or has another key, is never talked to; and nobody is asked anything."""
        settings = {
            "UserKnownHostsFile": self.known_hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no",
            "IdentitiesOnly": "yes",
            "IdentityFile": self.identity,
            "BatchMode": "yes",
            "ConnectTimeout": 20,
            "ServerAliveInterval": 15,
            "ControlMaster": "auto",
            "ControlPersist": "30s",
        }
        return ["-F", "/dev/null", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]


def play(step: Step) -> Report:
    return play_with(step, Path(step.environment.get("BASCULE_SSH_DIR") or "/nowhere"))


def play_with(step: Step, keys: Path) -> Report:
    host = Host.of(step)
    with tempfile.TemporaryDirectory(prefix="play-") as name:
        work = Path(name)
        sources = work / "source"
        # A copy: playbooks write beside themselves.
        shutil.copytree(step.variable("BASCULE_SOURCE_DIR"), sources)
        command = _command(step, sources, work)
        (work / "inventory.json").write_text(inventory(host))
        code, lines = _run(command, sources, _environment(step, work, Keys.copied(keys, work)))
    return _judged(host, code, lines)


def _command(step: Step, sources: Path, work: Path) -> list[str]:
    playbook = step.text("playbook", DEFAULT_PLAYBOOK).strip()
    if not _PATH.fullmatch(playbook) or not (sources / playbook).is_file():
        there = ", ".join(sorted(path.name for path in sources.iterdir())) or "nothing"
        raise StepError(ExitCode.INVALID, f"there is no playbook {playbook!r} in the files; there is: {there}")
    (work / "variables.yml").write_text(variables(step.items("variables")))
    options = ["--check", "--diff"] if step.flag("check") else []
    arguments = ["--inventory", str(work / "inventory.json"), "--extra-vars", f"@{work / 'variables.yml'}"]
    return ["ansible-playbook", *arguments, *options, "--", playbook]


def inventory(host: Host) -> str:
    """The inventory of one host, as Ansible reads JSON."""
    settings = {"ansible_host": host.address, "ansible_port": host.port, "ansible_user": host.user}
    return json.dumps({"all": {"hosts": {host.name: settings}}})


def variables(items: Iterable[str]) -> str:
    """Extra variables as YAML, whose values stay text: `!unsafe` keeps Ansible from reading templates in them."""
    lines = []
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not _VARIABLE.fullmatch(name):
            raise StepError(ExitCode.INVALID, f"the parameter variables wants items of NAME=VALUE, not {item!r}")
        lines.append(f"{name}: !unsafe {json.dumps(value)}\n")
    return "".join(lines) or "{}\n"


def _environment(step: Step, work: Path, keys: Keys) -> dict[str, str]:
    """Ansible's settings are ours: a configuration file among the tenant's files would be taken otherwise."""
    configuration = work / "ansible.cfg"
    configuration.write_text("[defaults]\n")
    (work / "home").mkdir()
    kept = {name: value for name, value in step.environment.items() if name in ("PATH", "PYTHONPATH")}
    return kept | {
        "HOME": str(work / "home"),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(configuration),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_SSH_ARGS": " ".join(keys.options()),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(work / "c"),
        "ANSIBLE_LOCAL_TEMP": str(work / "local"),
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_STDOUT_CALLBACK": "default",
        "ANSIBLE_PYTHON_INTERPRETER": "auto_silent",
        "ANSIBLE_LOCALHOST_WARNING": "False",
    }


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, list[str]]:
    """Run it with its output in the log. Returns the exit code and the end of the output."""
    kept: deque[str] = deque(maxlen=_LINES)
    with subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout or ():
                print(line.rstrip("\n"), flush=True)
                kept.append(line.rstrip("\n"))
            code = process.wait()
        finally:
            # Connections that stay open for the next task, and, when we are told to stop, Ansible itself.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
    return code, list(kept)


def recap(lines: Iterable[str], name: str) -> dict[str, int]:
    """Ansible's count of the host's tasks: ok, changed, unreachable, failed, skipped, rescued, ignored."""
    for line in reversed(list(lines)):
        found = _RECAP.match(line)
        if found and found["host"] == name:
            pairs = (word.split("=") for word in found["counts"].split())
            return {key: int(value) for key, value in pairs}
    return {}


def _judged(host: Host, code: int, lines: list[str]) -> Report:
    counts = recap(lines, host.name)
    results = {"changed": str(counts.get("changed", 0)), "rebootRequired": "false"}
    if code == 0 and counts:
        told = ", ".join(f"{number} {word}" for word, number in counts.items() if number)
        return Report(f"{host.name}: {told or 'nothing to do'}", results)
    if code == 0:
        raise StepError(ExitCode.INVALID, f"no play of the playbook is about {host.name}: say `hosts: all`", results)
    reason = next((line for line in reversed(lines) if line.startswith(("fatal:", "ERROR", "[ERROR]"))), "")
    words = (reason or (lines[-1] if lines else f"ansible-playbook ended with {code}"))[:1500]
    if code != _UNREACHABLE:
        raise StepError(ExitCode.INVALID, f"the playbook failed on {host.name}: {words}", results)
    refused = _REFUSED.search("\n".join(lines)) is not None
    said = "refused us, or has another key than known_hosts says" if refused else "does not answer"
    exit_code = ExitCode.REFUSED if refused else ExitCode.UNAVAILABLE
    raise StepError(exit_code, f"{host.name} {said}: {words}", results)


if __name__ == "__main__":
    sys.exit(contract.main(play))
