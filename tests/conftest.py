"""Fixtures of the real parts: one cluster per run, the chart installed in it, a tenant per test.

With pytest-xdist every worker process shares the cluster; the controlling process removes it at the end, unless it
was running before.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from hack import installation
from hack.cluster import handle
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support.builds import ImageBuildBuilder

# How long an example takes is the machine's affair.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")

CLUSTER_NAME = os.environ.get("BASCULE_TEST_CLUSTER", "bascule-test")
_SHARED = Path(tempfile.gettempdir(), f"bascule-tests-{CLUSTER_NAME}")

_RUN = "BASCULE_TEST_RUN"
_BEGUN = pytest.StashKey[float]()


@contextmanager
def _alone() -> Iterator[None]:
    """One test process at a time makes what all of them share."""
    _SHARED.mkdir(exist_ok=True)
    with (_SHARED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The real cluster, made by the first test that wants it."""
    with _alone():
        found = handle.running(CLUSTER_NAME)
        if found is None:
            found = handle.up(CLUSTER_NAME)
            (_SHARED / "made").write_text(os.environ[_RUN])
        return found


@pytest.fixture(scope="session")
def bascule(cluster: Cluster) -> Cluster:
    """The cluster with the chart of this checkout installed: operator and workers run as pods."""
    with _alone():
        marker = _SHARED / "installed"
        if not marker.exists() or marker.read_text() != os.environ[_RUN]:
            installation.install(cluster.refresh_images())
            marker.write_text(os.environ[_RUN])
    # Looked at anew: its images are those that were just published.
    return handle.running(CLUSTER_NAME) or cluster


@pytest.fixture
def tenant(bascule: Cluster) -> Iterator[TenantHandle]:
    """A tenant of the test's own, with a namespace, a signing key and a Temporal namespace."""
    made = installation.make_tenant(bascule, f"t-{secrets.token_hex(4)}")
    yield made
    bascule.kubectl("delete", "imagebuilds,patchcampaigns", "--all", "-n", made.namespace, "--wait=false")


@pytest.fixture
def image_build(bascule: Cluster, tenant: TenantHandle) -> Callable[[str], ImageBuildBuilder]:
    """`image_build("web").with_test(…).apply()`"""
    return lambda name: ImageBuildBuilder(name, bascule, tenant)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--session-budget", type=float, help="begin no new case after that many seconds")
    parser.addoption("--fault", default="", help="the one case of tests/faults/test_every_call.py to live again")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_BEGUN] = time.monotonic()
    # Inherited by the worker processes: one name for the whole run.
    os.environ.setdefault(_RUN, uuid.uuid4().hex)


def pytest_runtest_setup(item: pytest.Item) -> None:
    budget = item.config.getoption("--session-budget")
    if budget and time.monotonic() - item.config.stash[_BEGUN] > budget:
        pytest.skip(f"the budget of {budget:.0f} s is spent; `make system` runs all")


@pytest.fixture(scope="session")
def time_left(request: pytest.FixtureRequest) -> Callable[[], float | None]:
    """What is left of the session's budget in seconds, for tests that share it out among many cases."""
    budget: float | None = request.config.getoption("--session-budget")
    begun = request.config.stash[_BEGUN]
    return lambda: None if budget is None else budget - (time.monotonic() - begun)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the cases of one slice: BASCULE_SLICE=i/n, by a hash of their names so that a new case moves no other."""
    if not (chosen := os.environ.get("BASCULE_SLICE")):
        return
    index, _, of = chosen.partition("/")
    kept = [item for item in items if zlib.crc32(item.nodeid.encode()) % int(of) == int(index) - 1]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Modules of one `xdist_group` go to one process, each of the other cases to whichever is free.

    So says `--dist loadgroup`; but pytest-xdist 3.8 notes the group where pytest 9.2 does not look any more.
    """
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class Grouped(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return _group_of(nodeid.partition("::")[0]) or nodeid

    return Grouped(config, log) if config.getvalue("dist") == "loadgroup" else None


@cache
def _group_of(module: str) -> str:
    """The group that a module names in its `pytestmark`, or nothing."""
    found = re.search(r'xdist_group\("([^"]+)"\)', (Path(__file__).parents[1] / module).read_text())
    return found.group(1) if found else ""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the cluster that this run made; never one that was there before."""
    if hasattr(session.config, "workerinput") or os.environ.get("BASCULE_KEEP_CLUSTER"):
        return
    made = _SHARED / "made"
    if made.exists() and made.read_text() == os.environ[_RUN]:
        made.unlink()
        (_SHARED / "installed").unlink(missing_ok=True)
        handle.down(CLUSTER_NAME)
