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

ARTIFACT = "eu-west-1:ami-1/../x,us-east-1:ami-2"
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


def delete(api: StandIn, tmp_path: Path, artifact: str = ARTIFACT) -> str:
    (tmp_path / "builder").write_text("mitchellh.amazonebs")
    (tmp_path / "artifact").write_text(artifact)
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
    assert delete(api, tmp_path) == f"deleted mitchellh.amazonebs {ARTIFACT}"
    assert api.held == {"/v1/mitchellh.amazonebs/other"}
    assert api.seen[0] == ("DELETE", PATH, "Bearer secret", "uid/1")
    assert [method for method, *_ in api.seen[1:]] == ["GET"] * 5


def test_a_second_deletion_does_nothing(api: StandIn, tmp_path: Path) -> None:
    api.held = {PATH}
    delete(api, tmp_path)
    assert delete(api, tmp_path) == f"mitchellh.amazonebs {ARTIFACT} was gone already"


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
        delete(api, tmp_path)
    assert raised.value.report.exit_code is expected
    assert len(api.seen) == 1  # a redirect is not followed: it would take the token elsewhere


def test_an_api_that_does_not_answer_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="does not answer") as raised:
        delete(StandIn("http://127.0.0.1:9/v1"), tmp_path)
    assert raised.value.report.exit_code is ExitCode.UNAVAILABLE


@pytest.mark.parametrize("artifact", [".", ".."])
def test_dots_are_no_steps_in_the_path(api: StandIn, tmp_path: Path, artifact: str) -> None:
    delete(api, tmp_path, artifact)
    assert api.seen[0][1] == f"/v1/mitchellh.amazonebs/{'%2E' * len(artifact)}"


def test_an_address_that_is_no_http_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="must be an http or https address"):
        delete(StandIn("file:///etc"), tmp_path)


def test_nothing_is_deleted_without_an_id(api: StandIn, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="are required"):
        delete(api, tmp_path, "")
    assert api.seen == []
