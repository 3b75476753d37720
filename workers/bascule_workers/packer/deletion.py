"""The Procedure `packer-artifact-delete`: has deleted what a run's template made elsewhere.

Deleting at a provider takes rights that no build should have. So a service of the platform does it, and this step asks
it: DELETE <api>/<builder>/<artifact id> for each artifact that is known, then DELETE <api>/runs/<run> for whatever else
bears the run's name; and GET of each until the answer is 404. Every call may be repeated.
"""

from __future__ import annotations

import http.client
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

from bascule_workers.in_step import contract
from bascule_workers.in_step.contract import ExitCode, Report, Step, StepError

_GONE = (404, 410)
_SECONDS = 30
_PATIENCE = 600.0
RUNS = "runs"
"""In the place of a builder: everything of a run."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the credential to whoever is named there."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> None:
        return None


@dataclass(frozen=True)
class ArtifactApi:
    """The platform's service that deletes artifacts."""

    address: str
    run: str
    token: str = ""

    def ask(self, method: str, builder: str, artifact: str) -> int:
        """The status of the answer. Raises StepError: UNAVAILABLE without one, or for one that says try again."""
        # `safe` is empty so that an id with slashes or dots stays one part of the path.
        address = f"{self.address.rstrip('/')}/{_part(builder)}/{_part(artifact)}"
        request = urllib.request.Request(address, method=method)  # noqa: S310 - the scheme is checked in delete()
        request.add_header("Bascule-Run", self.run)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.build_opener(_NoRedirects).open(request, timeout=_SECONDS) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return _judged(error.code, method, artifact)
        except (OSError, http.client.HTTPException) as error:
            raise StepError(ExitCode.UNAVAILABLE, f"the artifact API does not answer: {error}") from None


def _part(text: str) -> str:
    encoded = quote(text, safe="")
    # Dots alone would be read as a step up in the path.
    return encoded.replace(".", "%2E") if set(encoded) == {"."} else encoded


def _judged(status: int, method: str, artifact: str) -> int:
    if status in _GONE:
        return status
    if status in (408, 409, 425, 429) or status >= 500:
        raise StepError(ExitCode.UNAVAILABLE, f"the artifact API answered {status} to {method} of {artifact}")
    raise StepError(ExitCode.REFUSED, f"the artifact API refused {method} of {artifact} with status {status}")


def delete(step: Step, sleep: Callable[[float], None] = time.sleep) -> Report:
    address = step.variable("BASCULE_ARTIFACT_API")
    if urlsplit(address).scheme not in ("http", "https"):
        raise StepError(ExitCode.USAGE, "BASCULE_ARTIFACT_API must be an http or https address")
    token_file = step.environment.get("BASCULE_ARTIFACT_API_TOKEN_FILE", "")
    token = Path(token_file).read_text().strip() if token_file else ""
    run = step.variable("BASCULE_RUN")
    api = ArtifactApi(address, run, token)
    told = []
    for item in step.items("artifacts"):
        builder, _, artifact = item.partition(" ")
        if not builder or not artifact:
            raise StepError(ExitCode.USAGE, f"the parameter artifacts wants items of builder and id, not {item!r}")
        told.append(f"{item} {_gone(api, builder, artifact, sleep)}")
    # A build that was stopped or lost could not tell all that it made: the service knows what bears the run's name.
    told.append(f"whatever else bears the run's name {_gone(api, RUNS, run, sleep)}")
    return Report("; ".join(told))


def _gone(api: ArtifactApi, kind: str, name: str, sleep: Callable[[float], None]) -> str:
    """Delete, and wait until it is gone. Returns what became of it."""
    if api.ask("DELETE", kind, name) in _GONE:
        return "was gone already"
    # An accepted deletion is no deletion yet: providers take minutes for large images.
    deadline, pause = time.monotonic() + _PATIENCE, 1.0
    while api.ask("GET", kind, name) not in _GONE:
        if time.monotonic() > deadline:
            raise StepError(ExitCode.UNAVAILABLE, f"{kind} {name} is still there after {_PATIENCE:.0f} s")
        sleep(pause)
        pause = min(pause * 2, 15)
    return "is deleted"


if __name__ == "__main__":
    sys.exit(contract.main(delete))
