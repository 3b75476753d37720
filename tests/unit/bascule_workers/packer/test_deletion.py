"""Deleting an artifact through the platform's API; a small stand-in answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bascule_workers.in_step.contract import ExitCode, Step, StepError
from bascule_workers.packer import deletion

ARTIFACT = "mitchellh.amazonebs eu-west-1:ami-1/../x,us-east-1:ami-2"
PATH = "/v1/mitchellh.amazonebs/eu-west-1%3Aami-1%2F..%2Fx%2Cus-east-1%3Aami-2"


@dataclass
class StandIn:
    """Holds artifacts by path; takes `slow` further requests until a deletion is through."""

    address: str = ""
    held: set[str] = field(default_factory=set)
    slow: int = 0
    answer: int = 0
    """Answers with this status instead, when set."""
    seen: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)

    def status(self, method: str, path: str) -> int:
        if self.answer:
            return self.answer
        if path not in self.held:
            return 404
        if method == "DELETE":
            self.slow += 1
            self.deleting = True
            return 202
        self.slow -= 1
        if self.slow <= 0:
            self.held.discard(path)
        return 200


@pytest.fixture
def api() -> Iterator[StandIn]:
    stand_in = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            headers = self.headers
            stand_in.seen.append((self.command, self.path, headers["Authorization"], headers["Bascule-Run"]))
            status = stand_in.status(self.command, self.path)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_DELETE = do_GET = answer  # noqa: N815 - names that http.server wants

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stand_in.address = f"http://127.0.0.1:{server.server_port}/v1"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield stand_in
        server.shutdown()


RUN_PATH = "/v1/runs/uid%2F1"
NOTHING_ELSE = "whatever else bears the run's name was gone already"


def delete(api: StandIn, tmp_path: Path, *artifacts: str) -> str:
    (tmp_path / "artifacts").mkdir(exist_ok=True)
    for number, artifact in enumerate(artifacts):
        (tmp_path / "artifacts" / str(number)).write_text(artifact)
    (tmp_path / "token").write_text("secret\n")
    environment = {
        "BASCULE_PARAMS_DIR": str(tmp_path),
        "BASCULE_RUN": "uid/1",
        "BASCULE_ARTIFACT_API": api.address,
        "BASCULE_ARTIFACT_API_TOKEN_FILE": str(tmp_path / "token"),
    }
    return deletion.delete(Step(environment), sleep=lambda seconds: None).message


def test_an_artifact_is_deleted_and_seen_to_be_gone(api: StandIn, tmp_path: Path) -> None:
    api.held, api.slow = {PATH, "/v1/mitchellh.amazonebs/other"}, 3
    assert delete(api, tmp_path, ARTIFACT) == f"{ARTIFACT} is deleted; {NOTHING_ELSE}"
    assert api.held == {"/v1/mitchellh.amazonebs/other"}
    assert api.seen[0] == ("DELETE", PATH, "Bearer secret", "uid/1")
    assert [method for method, *_ in api.seen[1:]] == ["GET"] * 5 + ["DELETE"]


def test_a_second_deletion_does_nothing(api: StandIn, tmp_path: Path) -> None:
    api.held = {PATH}
    delete(api, tmp_path, ARTIFACT)
    assert delete(api, tmp_path, ARTIFACT) == f"{ARTIFACT} was gone already; {NOTHING_ELSE}"


def test_without_any_id_whatever_bears_the_runs_name_is_deleted(api: StandIn, tmp_path: Path) -> None:
    api.held = {RUN_PATH, PATH}
    assert delete(api, tmp_path) == "whatever else bears the run's name is deleted"
    assert api.held == {PATH}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, ExitCode.REFUSED),
        (403, ExitCode.REFUSED),
        (302, ExitCode.REFUSED),
        (409, ExitCode.UNAVAILABLE),
        (429, ExitCode.UNAVAILABLE),
        (503, ExitCode.UNAVAILABLE),
    ],
)
def test_answers_say_whether_to_try_again(api: StandIn, tmp_path: Path, status: int, expected: ExitCode) -> None:
    api.answer = status
    with pytest.raises(StepError, match=str(status)) as raised:
        delete(api, tmp_path, ARTIFACT)
    assert raised.value.report.exit_code is expected
    assert len(api.seen) == 1  # a redirect is not followed: it would take the token elsewhere


def test_an_api_that_does_not_answer_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="does not answer") as raised:
        delete(StandIn("http://127.0.0.1:9/v1"), tmp_path, ARTIFACT)
    assert raised.value.report.exit_code is ExitCode.UNAVAILABLE


@pytest.mark.parametrize("artifact", [".", ".."])
def test_dots_are_no_steps_in_the_path(api: StandIn, tmp_path: Path, artifact: str) -> None:
    delete(api, tmp_path, f"mitchellh.amazonebs {artifact}")
    assert api.seen[0][1] == f"/v1/mitchellh.amazonebs/{'%2E' * len(artifact)}"


def test_an_address_that_is_no_http_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="must be an http or https address"):
        delete(StandIn("file:///etc"), tmp_path, ARTIFACT)


@pytest.mark.parametrize("item", ["mitchellh.amazonebs", "mitchellh.amazonebs ", " ami-1"])
def test_nothing_is_deleted_without_builder_and_id(api: StandIn, tmp_path: Path, item: str) -> None:
    with pytest.raises(StepError, match="wants items of builder and id"):
        delete(api, tmp_path, item)
    assert api.seen == []
