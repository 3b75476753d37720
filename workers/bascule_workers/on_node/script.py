"""The Procedure `node-script`: runs a script of the platform's on the node, in the node's own namespaces.

The script comes from a ConfigMap that the Procedure names. A tenant chooses one of its keys, and nothing else of it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from bascule_workers.in_step import contract
from bascule_workers.in_step.contract import ExitCode, Report, Step, StepError
from bascule_workers.on_node import boots
from bascule_workers.on_node.host import Host, Outcome, host_of
from bascule_workers.on_node.records import Records, records_of, step_name

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TRY_AGAIN = 75
"""sysexits' EX_TEMPFAIL."""
_LIMIT = 1000


def run_script(step: Step) -> Report:
    return run_on_node(step, host_of(step))


def run_on_node(step: Step, host: Host) -> Report:
    records, script = records_of(step, host), _script(step)
    name = step_name(step, script.name)
    done = _run(step, host, records, script)
    last = next((line.strip() for line in reversed(done.output.splitlines()) if line.strip()), "")[:_LIMIT]
    results = {"rebootRequired": "false", "changes": last}
    if done.code == _TRY_AGAIN:
        raise StepError(ExitCode.UNAVAILABLE, f"{script.name} asks to be tried again: {last}", results)
    if done.code != 0:
        raise StepError(ExitCode.INVALID, f"{script.name} ended with {done.code}: {last}", results)
    message = last or f"{script.name} is through"
    needed = boots.required(host)
    if needed or records.asked_to_reboot(name):
        asked = boots.ask_once(host, records, name, again=needed)
        return Report(f"{message}; {asked}", results | {"rebootRequired": "true"})
    return Report(message, results)


def _script(step: Step) -> Path:
    """The file of the chosen key. Raises StepError with the keys that there are."""
    folder, name = Path(step.variable("BASCULE_SCRIPTS_DIR")), step.text("script").strip()
    keys = sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    if not _NAME.fullmatch(name) or name not in keys:
        raise StepError(ExitCode.INVALID, f"there is no script {name!r}; there are: {', '.join(keys) or 'none'}")
    return folder / name


def _run(step: Step, host: Host, records: Records, script: Path) -> Outcome:
    """Copy the script to the node, run it there with the parameters in its environment, and remove it again."""
    records.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    copy = records.folder / f"script-{script.name}"
    copy.write_bytes(script.read_bytes())
    copy.chmod(0o700)
    wanted = ("BASCULE_RUN", "BASCULE_STEP_NAME", "BASCULE_TARGET")
    environment = {key: value for key, value in step.environment.items() if key in wanted or key.startswith("PARAM_")}
    try:
        # By its own first line, and no shell reads the parameters.
        return host.run([f"{records.place}/{copy.name}"], environment)
    finally:
        copy.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(contract.main(run_script))
