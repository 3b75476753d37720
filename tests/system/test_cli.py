"""`bascule` and `kubectl bascule` as people use them: real users, real terminals, a real cluster."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hack.cluster.handle import Cluster
from hack.installation import ROOT, TenantHandle
from hack.people import Person, grant, make_person
from tests.support.builds import ImageBuildBuilder, condition, digest_of, steps_of
from tests.support.terminals import Terminal

Builder = Callable[[str], ImageBuildBuilder]
TOOLS = ROOT / ".venv" / "bin"


@dataclass(frozen=True)
class User:
    """A person at a shell."""

    person: Person
    cluster: Cluster

    @property
    def environment(self) -> dict[str, str]:
        base = {**os.environ, **self.cluster.environment}
        return base | {"KUBECONFIG": str(self.person.kubeconfig), "PATH": f"{TOOLS}:{base['PATH']}", "COLUMNS": "200"}

    def runs(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def bascule(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.runs("bascule", *arguments)


@pytest.fixture
def user(bascule: Cluster, tenant: TenantHandle, tmp_path: Path) -> Callable[..., User]:
    """`user("ada", "bascule-approve")`: somebody with these ClusterRoles in the tenant's namespace."""

    def made(name: str, *roles: str) -> User:
        person = make_person(bascule, f"{name}-{tenant.name}", tenant.namespace, tmp_path, "acme")
        for role in roles:
            grant(bascule, person, role)
        return User(person, bascule)

    return made


@pytest.fixture
def dora(user: Callable[..., User]) -> User:
    return user("dora", "edit")


@pytest.fixture
def nobody(user: Callable[..., User]) -> User:
    return user("nobody")


@pytest.fixture
def ada(user: Callable[..., User]) -> Iterator[User]:
    return user("ada", "bascule-approve")  # type: ignore[return-value]


def waiting(image_build: Builder) -> tuple[ImageBuildBuilder, str]:
    """A build that waits for an approval, and the digest that it waits for."""
    made = image_build("web").with_publish(approval={"required": True, "timeout": "1h"})
    body = made.apply().until_phase("Waiting")
    return made, body["status"]["waitingFor"]["subject"]


@pytest.mark.smoke
def test_who_may_approves_and_that_is_what_gets_published(
    image_build: Builder, bascule: Cluster, dora: User, ada: User
) -> None:
    made, subject = waiting(image_build)

    explained = dora.runs("kubectl", "bascule", "explain", "web")
    assert explained.returncode == 0, explained.stderr
    assert "kubectl bascule approve web" in explained.stdout
    assert subject in explained.stdout

    refused = dora.bascule("approve", "web", "--yes")
    assert refused.returncode == 4
    assert f"{dora.person.name} may not create approvals.bascule.dev in the namespace" in refused.stderr
    assert "bascule-approve" in refused.stderr

    asked = ada.bascule("approve", "web")
    assert (asked.returncode, "say --yes" in asked.stderr) == (2, True)
    other = ada.bascule("approve", "web", "--yes", "--subject", "sha256:" + "0" * 64)
    assert (other.returncode, subject in other.stderr) == (1, True)

    approved = ada.bascule("approve", "web", "--yes", "--reason", "tested on staging")
    assert approved.returncode == 0, approved.stderr
    assert f"approved at publish by {ada.person.name}" in approved.stdout

    from_status = json.loads(dora.bascule("get", "ib/web", "-o", "json").stdout)
    assert "managedFields" not in from_status["metadata"]
    made.apply().until_phase("Succeeded")
    assert digest_of(bascule, f"{made.repository}:v1") == subject
    again = ada.bascule("approve", "web", "--yes")
    assert (again.returncode, "does not wait for an approval" in again.stderr) == (1, True)


def test_a_person_at_a_terminal_sees_what_is_decided_and_is_asked(image_build: Builder, ada: User) -> None:
    made, subject = waiting(image_build)

    terminal = Terminal.run(["bascule", "reject", "web"], ada.environment, {"[y/N]": "y\n", "Why": "wrong base\n"})

    assert terminal.code == 0, terminal.text
    assert subject in terminal.text
    assert "the run fails and takes back what it did" in terminal.text
    assert "rejected at publish by" in terminal.text
    body = made.apply().until_phase("Failed")
    assert body["status"]["failure"]["type"] == "ApprovalRejected"
    assert "wrong base" in body["status"]["failure"]["message"]


def test_at_a_terminal_no_is_the_default(image_build: Builder, ada: User) -> None:
    made, _ = waiting(image_build)

    terminal = Terminal.run(["bascule", "approve", "web"], ada.environment, {"[y/N]": "\n"})

    assert (terminal.code, "nothing was decided" in terminal.text) == (1, True)
    body = made.apply().get()
    assert body is not None
    assert body["status"]["phase"] == "Waiting"


def test_a_run_is_suspended_and_resumed(image_build: Builder, dora: User) -> None:
    build = image_build("paused").with_test("slow", "sleep", "25").apply()
    build.until_step("test-slow", "Running")

    assert dora.bascule("suspend", "paused").returncode == 0
    body = build.until_phase("Suspended")
    assert steps_of(body)["test-slow"] == "Succeeded"
    waits = dora.bascule("explain", "paused", "-o", "json")
    assert json.loads(waits.stdout)["verdict"] == "Waits"
    assert dora.bascule("suspend", "paused").stdout.strip().endswith("is suspended already")
    assert dora.bascule("resume", "paused").returncode == 0
    assert build.until_phase("Succeeded")["status"]["run"]["number"] == 1


def test_a_run_is_cancelled_and_run_again(image_build: Builder, dora: User) -> None:
    build = image_build("slow").with_test("soak", "sleep", "3600").apply()
    build.until_step("test-soak", "Running")

    cancelled = dora.bascule("cancel", "slow", "--reason", "wrong branch", "--wait", "--timeout", "240")
    assert cancelled.returncode == 0, cancelled.stderr
    body = build.until_phase("Cancelled")
    assert "wrong branch" in condition(body, "Ready")["message"]
    assert dora.bascule("explain", "slow").returncode == 1
    assert dora.bascule("cancel", "slow", "--reason", "wrong branch").returncode == 1

    assert dora.bascule("rerun", "slow").returncode == 0
    build.until(lambda found: found["status"]["run"]["number"] == 2, "at run 2")
    build.until_step("test-soak", "Running")
    # The annotation of the first time is still there, with the same words.
    assert dora.bascule("cancel", "slow", "--reason", "wrong branch").returncode == 0
    assert build.until_phase("Cancelled")["status"]["run"]["number"] == 2
    history = dora.bascule("history", "slow").stdout.splitlines()
    assert [line.split()[0] for line in history] == ["RUN", "2", "1"]


def test_a_rerun_that_fails_says_so_by_its_exit_code(image_build: Builder, dora: User) -> None:
    image_build("broken").with_test("no", "sh", "-c", "echo port 8080 is silent; exit 3").apply().until_phase("Failed")

    failed = dora.bascule("rerun", "broken", "--wait", "--timeout", "240")

    assert failed.returncode == 1
    assert "run 2 failed" in failed.stderr
    assert "bascule explain broken" in failed.stderr
    explained = dora.bascule("explain", "broken")
    assert (explained.returncode, "bascule logs broken test-no" in explained.stdout) == (1, True)


def test_logs_come_from_the_best_place_that_one_may_read(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle, dora: User
) -> None:
    repository = f"{bascule.registry}/{tenant.name}/artifacts"
    patch = json.dumps({"spec": {"artifacts": {"repository": repository}}})
    bascule.kubectl("patch", "tenant", tenant.name, "--type=merge", "-p", patch)
    hostile = "echo begin; printf '\\033[2Jcleared\\n'; echo '[red]end[/red]'; exit 3"
    body = image_build("noisy").with_test("noise", "sh", "-c", hostile).apply().until_phase("Failed")
    (digest,) = [step["log"] for step in body["status"]["steps"] if step["name"] == "test-noise"]

    # Who may read the Tenant gets the whole log; the registry's name is known inside the cluster's network only.
    admin = ["bascule", "logs", "noisy", "test-noise", "-n", tenant.namespace]
    whole = bascule.exec([str(TOOLS / admin[0]), *admin[1:]])
    assert whole.returncode == 0, whole.stderr
    assert f"kept as {repository}@{digest}" in whole.stderr
    assert "begin\n\\x1b[2Jcleared\n[red]end[/red]\n" in whole.stdout

    # Who may not is told where to look, and gets what the status keeps.
    last = dora.bascule("logs", "noisy")
    assert last.returncode == 0, last.stderr
    assert "the last lines, as the status keeps them" in last.stderr
    assert "you may not read the Tenant: say where with --repository" in last.stderr
    assert "may not list pods in the namespace" in last.stderr
    assert "[red]end[/red]" in last.stdout
    assert "\x1b" not in last.stdout
    named = bascule.exec(
        [str(TOOLS / "bascule"), "logs", "noisy", "test-noise", "--tail", "1"],
        env={"KUBECONFIG": str(dora.person.kubeconfig), "BASCULE_ARTIFACTS": repository},
    )
    assert (named.returncode, named.stdout) == (0, "[red]end[/red]\n")


def test_a_running_step_is_read_from_its_pod(image_build: Builder, bascule: Cluster, tenant: TenantHandle) -> None:
    script = "i=0; while [ $i -lt 40 ]; do echo tick $i; i=$((i+1)); sleep 0.5; done; echo that was all"
    build = image_build("ticking").with_test("ticks", "sh", "-c", script).apply()
    build.until_step("test-ticks", "Running")

    followed = bascule.exec([str(TOOLS / "bascule"), "logs", "ticking", "-f", "-n", tenant.namespace], timeout=240)

    assert followed.returncode == 0, followed.stderr
    assert "live from the pod" in followed.stderr
    assert next(line for line in followed.stdout.splitlines() if line.startswith("tick")) == "tick 0"
    assert followed.stdout.splitlines()[-1] == "that was all"


def test_a_watch_ends_when_what_was_named_is_gone(image_build: Builder, dora: User) -> None:
    build = image_build("leaving").with_test("soak", "sleep", "3600").apply()
    build.until_step("test-soak", "Running")

    with subprocess.Popen(
        ["bascule", "get", "leaving", "--watch"], env=dora.environment, stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        first = watching.stdout.readline()
        build.delete()
        lines = watching.stdout.read().splitlines()

    assert watching.returncode == 0
    assert "Running" in first
    assert lines[-1].endswith("leaving  gone")
    assert any("taken back" in line for line in lines)


def test_force_delete_needs_a_right_of_its_own(image_build: Builder, dora: User) -> None:
    build = image_build("kept").with_spec(suspend=True).apply()
    build.until(lambda body: bool(body.get("status")), "seen")

    refused = dora.bascule("force-delete", "kept", "--yes", "--reason", "impatience")

    assert refused.returncode == 4
    assert "may not force imagebuilds.bascule.dev" in refused.stderr
    body = build.get()
    assert body is not None
    assert "bascule.dev/force-delete" not in body["metadata"].get("annotations", {})
    assert "deletionTimestamp" not in body["metadata"]


FOREIGN = [
    pytest.param(["get"], "list imagebuilds.bascule.dev", "bascule-view", id="get"),
    pytest.param(["get", "web"], "get imagebuilds.bascule.dev", "bascule-view", id="get a name"),
    pytest.param(["explain", "web"], "get imagebuilds.bascule.dev", "bascule-view", id="explain"),
    pytest.param(["get", "-A"], "list imagebuilds.bascule.dev in all namespaces", "bascule-view", id="get everywhere"),
    pytest.param(["approve", "web", "-y"], "get imagebuilds.bascule.dev", "bascule-view", id="approve"),
    pytest.param(["logs", "web"], "get imagebuilds.bascule.dev", "bascule-view", id="logs"),
]


@pytest.mark.parametrize(("command", "right", "role"), FOREIGN)
def test_who_has_no_rights_is_told_which_and_who_grants_it(
    nobody: User, command: list[str], right: str, role: str
) -> None:
    refused = nobody.bascule(*command)
    assert refused.returncode == 4
    assert f"{nobody.person.name} may not {right}" in refused.stderr
    assert role in refused.stderr
    assert refused.stdout == ""


def test_who_may_only_look_changes_nothing(image_build: Builder, user: Callable[..., User]) -> None:
    build = image_build("web").with_spec(suspend=True).apply()
    body = build.until(lambda found: bool(found.get("status")), "seen")
    vera = user("vera", "view")

    for command in (["resume", "web"], ["rerun", "web"]):
        refused = vera.bascule(*command)
        assert refused.returncode == 4
        assert f"{vera.person.name} may not patch imagebuilds.bascule.dev" in refused.stderr
        assert "bascule-edit" in refused.stderr

    after = build.get()
    assert after is not None
    assert after["metadata"]["generation"] == body["metadata"]["generation"]
    assert "annotations" not in after["metadata"]


def test_what_is_not_there_is_not_found(dora: User) -> None:
    missing = dora.bascule("explain", "nope")
    assert (missing.returncode, "not found" in missing.stderr) == (3, True)
    assert dora.bascule("explain", "pod/nope").returncode == 2
    empty = dora.bascule("get")
    assert (empty.returncode, empty.stdout, "no resources" in empty.stderr) == (0, "", True)


def test_a_server_that_does_not_answer_is_said_to_be_one(dora: User, tmp_path: Path) -> None:
    text = dora.person.kubeconfig.read_text().replace(":6443", ":9")
    broken = tmp_path / "broken"
    broken.write_text(text)
    silent = dora.bascule("get", "--kubeconfig", str(broken))
    assert (silent.returncode, "does not answer" in silent.stderr) == (6, True)
    assert "Traceback" not in silent.stderr


def test_names_are_completed_from_the_cluster(image_build: Builder, dora: User) -> None:
    build = image_build("webshop").with_spec(suspend=True).apply()
    build.until(lambda body: bool(body.get("status")), "seen")

    def completed(*words: str) -> list[str]:
        done = dora.runs("kubectl", "__complete", "bascule", *words)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if not line.startswith(":")]

    assert completed("explain", "we") == ["webshop"]
    assert completed("explain", "ib/w") == ["ib/webshop"]
    assert "explain" in [line.split("\t")[0] for line in completed("")]
    script = dora.bascule("completion", "bash")
    assert (script.returncode, "complete" in script.stdout) == (0, True)


def test_the_tree_is_drawn_on_a_terminal_and_plain_in_a_pipe(image_build: Builder, dora: User) -> None:
    body = image_build("drawn").with_test("ok", "true").apply().until_phase("Succeeded")

    plain = dora.bascule("get", "drawn")
    assert "\x1b" not in plain.stdout
    assert [line.split()[2] for line in plain.stdout.splitlines()[2:]] == list(steps_of(body))
    coloured = Terminal.run(["bascule", "get", "drawn"], dora.environment, {})
    assert "\x1b[" in coloured.raw
    assert coloured.code == 0
    quiet = Terminal.run(["bascule", "get", "drawn"], dora.environment | {"NO_COLOR": "1"}, {})
    assert "\x1b[3" not in quiet.raw
    assert body["metadata"]["uid"] in dora.bascule("get", "drawn", "-o", "yaml").stdout
