"""A page as a person sees it: Debian's Chromium without a window, spoken to by a pipe (the DevTools protocol)."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

JsonObject = dict[str, Any]

_PATIENCE = 120.0
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    # Nothing but a page of the test's own is opened, and root may not use the sandbox.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)
# The browser reads commands from descriptor 3 and writes answers to 4.
_CONNECT = 'read=$1 write=$2; shift 2; exec "$@" 3<&"$read" 4>&"$write"'


class BrowserError(Exception):
    """The browser does not start, does not answer, or refuses."""


@dataclass(frozen=True)
class Message:
    """What a page wrote to its console, or what the browser wrote there about it."""

    level: str
    """error, warning, info, log, debug, …; an exception that nobody caught is an error."""
    text: str


@dataclass
class Page:
    """A page that was loaded to its end."""

    _browser: _Browser
    _session: str
    messages: list[Message] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    """Every address that it asked for, its own first; data: addresses ask nobody."""

    @property
    def errors(self) -> list[str]:
        """What should never be there: errors and warnings of the console."""
        self.evaluate("0")  # What was said up to now has arrived.
        return [message.text for message in self.messages if message.level in ("error", "warning", "assert")]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; of a promise what it comes to. Raises BrowserError."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if error := answer.get("exceptionDetails"):
            raise BrowserError(_thrown(error))
        return answer["result"].get("value")

    @property
    def dom(self) -> str:
        """The document as it stands, as HTML."""
        return str(self.evaluate("document.documentElement.outerHTML"))

    @property
    def text(self) -> str:
        """The text that is to be seen."""
        return str(self.evaluate("document.body.innerText"))

    def screenshot(self, scheme: str = "light", width: int = 1280, scale: float = 1.0) -> bytes:
        """A PNG of the whole page for somebody who prefers a colour scheme, `light` or `dark`."""
        self.show(scheme, width)
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": scale}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(shot["data"])

    def show(self, scheme: str = "light", width: int = 1280, media: str = "") -> None:
        """Show the page in a colour scheme and a width; `media`: as if on `screen` or in `print`, whatever it is on."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)

    def pdf(self) -> bytes:
        """The page as it is printed on A4."""
        self.show()
        printed = self.call("Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69)
        return base64.b64decode(printed["data"])

    def call(self, method: str, **parameters: Any) -> JsonObject:
        """A command of the DevTools protocol, for what has no method here. Raises BrowserError."""
        answer = self._browser.call(method, self._session, **parameters)
        for event in self._browser.taken():
            self._hear(event)
        return answer

    def wait_for(self, method: str) -> None:
        """Wait for an event. Raises BrowserError."""
        while True:
            event = self._browser.next_event()
            self._hear(event)
            if event["method"] == method:
                return

    def _hear(self, event: JsonObject) -> None:
        said = event["params"]
        match event["method"]:
            case "Runtime.consoleAPICalled":
                words = " ".join(str(each.get("value", each.get("description", ""))) for each in said["args"])
                self.messages.append(Message(said["type"], words))
            case "Runtime.exceptionThrown":
                self.messages.append(Message("error", _thrown(said["exceptionDetails"])))
            case "Log.entryAdded":
                entry = said["entry"]
                self.messages.append(Message(entry["level"], f"{entry['text']} {entry.get('url', '')}".strip()))
            case "Network.requestWillBeSent" if not said["request"]["url"].startswith("data:"):
                self.requested.append(said["request"]["url"])
            case _:
                pass


def _thrown(details: JsonObject) -> str:
    return str(details.get("exception", {}).get("description") or details.get("text"))


@contextmanager
def opened(file: Path) -> Iterator[Page]:
    """Open a local HTML file in a browser of its own, and wait until it is loaded. Raises BrowserError."""
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as home:
        browser = _Browser(home)
        try:
            target = browser.call("Target.createTarget", url="about:blank")["targetId"]
            session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            page = Page(browser, session)
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.call(f"{domain}.enable")
            if error := page.call("Page.navigate", url=file.resolve().as_uri()).get("errorText"):
                raise BrowserError(f"{file}: {error}")
            while page.evaluate("document.readyState") != "complete":
                page.wait_for("Page.loadEventFired")
            page.evaluate("document.fonts.ready.then(() => 0)")
            page.show()
            yield page
        finally:
            browser.end()


class _Browser:
    """The process, and the conversation with it."""

    def __init__(self, home: str) -> None:
        program = shutil.which("chromium")
        if program is None:
            raise BrowserError("there is no chromium: `make test` installs Debian's")
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        connect = ["bash", "-c", _CONNECT, "connect", str(commands), str(answers)]
        self._log = Path(home, "log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*connect, program, *_OPTIONS, f"--user-data-dir={home}", "about:blank"],
                pass_fds=(commands, answers),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"HOME": home},
                start_new_session=True,
            )
        os.close(commands)
        os.close(answers)
        self._pending = b""
        self._events: list[JsonObject] = []
        self._number = 0

    def call(self, method: str, session: str = "", **parameters: Any) -> JsonObject:
        """Send a command and wait for its answer; events that come before it are kept."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        os.write(self._write, json.dumps(command | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._number:
                if error := message.get("error"):
                    raise BrowserError(f"{method}: {error['message']}")
                return dict(message["result"])
            self._events.append(message)

    def taken(self) -> Sequence[JsonObject]:
        """The events that were kept."""
        events, self._events = self._events, []
        return events

    def next_event(self) -> JsonObject:
        """The next event that arrives."""
        return self._message()

    def _message(self) -> JsonObject:
        deadline = time.monotonic() + _PATIENCE
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(self._read, 1 << 20) if ready else b""
            if not part:
                said = self._log.read_text(errors="replace")[-2000:]
                raise BrowserError(f"chromium {'ended' if ready else 'says nothing'}; its log ends with:\n{said}")
            self._pending += part
        first, _, self._pending = self._pending.partition(b"\0")
        return dict(json.loads(first))

    def end(self) -> None:
        """End it with all its processes."""
        for end in (self._write, self._read):
            os.close(end)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
