"""Ending the cluster's processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hack.cluster.paths import Paths
from hack.cluster.processes import end

# Its first thread ends at the signal, as every process's may; another still holds the port.
LINGERING = """
import ctypes, os, signal, socket, threading, time
listening = socket.create_server(("127.0.0.1", 0))
told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: told.set())
def linger():
    told.wait()
    time.sleep(0.5)
    os._exit(0)
threading.Thread(target=linger).start()
print(listening.getsockname()[1], flush=True)
signal.pause()
ctypes.CDLL(None).syscall(60, 0)
"""


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("BASCULE_STATE", str(tmp_path))
    made = Paths("ended")
    made.pids.mkdir(parents=True)
    return made


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_the_end_of_a_process_is_that_of_all_its_threads(paths: Paths, how: signal.Signals) -> None:
    component = {"BASCULE_CLUSTER": paths.name, "BASCULE_COMPONENT": "server"}
    argv = [sys.executable, "-c", LINGERING]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=os.environ | component) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        (paths.pids / "server").write_text(str(server.pid))

        end(paths, "server", how)

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_what_never_ran_has_ended(paths: Paths) -> None:
    end(paths, "server")
