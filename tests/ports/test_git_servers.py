"""Git against real servers: HTTPS with and without a login, and OpenSSH."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from bascule_workers.adapters import git
from bascule_workers.prepare import Places, PrepareError, prepare
from tests.support import git_servers
from tests.support.git_servers import PASSWORD, USER, HttpsServer, Origin, SshServer

LOGIN = {"username": USER, "password": PASSWORD}
Fetch = Callable[..., Path]


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsServer]:
    with git_servers.serving_https(tmp_path_factory.mktemp("https")) as server:
        yield server


@pytest.fixture(scope="module")
def redirecting(tmp_path_factory: pytest.TempPathFactory, https: HttpsServer) -> Iterator[HttpsServer]:
    """Another server, which sends everybody on to the first."""
    with git_servers.serving_https(tmp_path_factory.mktemp("redirecting"), elsewhere=https.url) as server:
        yield server


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with git_servers.serving_ssh(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository's name of the test's own."""
    return f"r{abs(hash(request.node.name))}"


@pytest.fixture
def fetch(https: HttpsServer, tmp_path: Path) -> Fetch:
    """Prepare a step's source as its pod does, and return the folder."""

    def fetch(url: str, commit: str, credentials: Mapping[str, str] | None = None, **more: object) -> Path:
        shared, mounted = tmp_path / "shared", tmp_path / "credentials"
        shared.mkdir(exist_ok=True)
        mounted.mkdir(exist_ok=True)
        for key, value in (credentials or {}).items():
            (mounted / key).write_text(value)
        limit = more.pop("limit", 8 << 20)
        assert isinstance(limit, int)
        places = Places(shared, mounted, https.environment, patience=0, source_limit=limit)
        prepare({"source": {"git": {"url": url, "commit": commit, **more}}}, places)
        assert sorted(path.name for path in shared.iterdir()) == ["params", "source"]
        return shared / "source"

    return fetch


def _refused(fetch: Fetch, *arguments: object, **more: object) -> tuple[str, str]:
    with pytest.raises(PrepareError) as raised:
        fetch(*arguments, **more)
    return raised.value.failure, str(raised.value)


# HTTPS


def test_exactly_the_pinned_commit_is_fetched_without_history(https: HttpsServer, fetch: Fetch, name: str) -> None:
    origin = Origin.make(https.root, name, **{"a": "1\n", "folder/b": "2\n"})
    pinned = git_servers.git("rev-parse", "HEAD", cwd=origin.tree)
    origin.commit(a="later\n")

    source = fetch(f"{https.url}/{name}.git", pinned)

    assert {str(path.relative_to(source)) for path in source.rglob("*")} == {"a", "folder", "folder/b"}
    assert (source / "a").read_text() == "1\n"


def test_a_private_repository_wants_the_login(https: HttpsServer, fetch: Fetch, name: str) -> None:
    commit = Origin.make(https.root / "private", name).commit(file="secret\n")
    url = f"{https.url}/private/{name}.git"

    assert (fetch(url, commit, LOGIN) / "file").read_text() == "secret\n"
    assert git.resolve(url, "main", LOGIN, https.environment) == commit
    assert git.resolve(url, commit, LOGIN, https.environment) == commit
    for wrong in ({}, LOGIN | {"password": "wrong horse"}):
        with pytest.raises(git.GitError) as raised:
            git.resolve(url, "main", wrong, https.environment)
        assert raised.value.kind == "refused"
        assert "wrong horse" not in str(raised.value)


def test_a_token_alone_is_a_login(tmp_path: Path) -> None:
    values = git.environment(tmp_path, {"password": "t0k3n"})

    assert (tmp_path / "username").read_text() == "git"
    assert "t0k3n" not in "".join(values.values())


def test_a_redirect_to_another_host_is_refused_and_gets_no_login(
    https: HttpsServer, redirecting: HttpsServer, name: str, tmp_path: Path
) -> None:
    Origin.make(https.root / "private", name)
    https.seen.clear()
    trust = tmp_path / "trust.pem"
    trust.write_text(https.ca_file.read_text() + redirecting.ca_file.read_text())
    environment = https.environment | {"SSL_CERT_FILE": str(trust)}

    with pytest.raises(git.GitError, match="redirects are not followed") as raised:
        git.resolve(f"{redirecting.url}/elsewhere/private/{name}.git", "main", LOGIN, environment)

    assert raised.value.kind == "refused"
    assert https.seen == []
    assert base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode() not in str(redirecting.seen)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        pytest.param("/none.git", "absent", id="no such repository"),
        pytest.param("http://127.0.0.1:9/x.git", "unreachable", id="without TLS"),
        pytest.param("file:///etc", "unreachable", id="a folder"),
        pytest.param("ext::sh -c touch% executed", "unreachable", id="a command"),
        pytest.param("https://127.0.0.1:9/x.git", "unreachable", id="nobody there"),
    ],
)
def test_what_cannot_be_asked(https: HttpsServer, url: str, kind: str) -> None:
    with pytest.raises(git.GitError) as raised:
        git.resolve(f"{https.url}{url}" if url.startswith("/") else url, "main", {}, https.environment)

    assert raised.value.kind == kind


@pytest.mark.parametrize(
    ("revision", "kind"),
    [pytest.param("no-branch", "absent", id="a branch"), pytest.param("0" * 39 + "1", "absent", id="a commit")],
)
def test_a_revision_that_is_not_there(https: HttpsServer, name: str, revision: str, kind: str) -> None:
    Origin.make(https.root, name)

    with pytest.raises(git.GitError) as raised:
        git.resolve(f"{https.url}/{name}.git", revision, {}, https.environment)

    assert raised.value.kind == kind


# Trees that are not taken


def test_a_folder_of_the_repository(https: HttpsServer, fetch: Fetch, name: str) -> None:
    origin = Origin.make(https.root, name, **{"image/a": "1\n", "other": "2\n"})
    (origin.tree / "way").symlink_to("image")
    (origin.tree / "out").symlink_to("../../..")
    commit = origin.commit()
    url = f"{https.url}/{name}.git"

    assert [path.name for path in fetch(url, commit, path="image").iterdir()] == ["a"]
    assert [path.name for path in fetch(url, commit, path="way").iterdir()] == ["a"]
    for path in ("../..", "/etc", "out", "image/../.."):
        assert _refused(fetch, url, commit, path=path)[0] == "SourceNotFound"
    assert "no folder 'none'" in _refused(fetch, url, commit, path="none")[1]


@pytest.mark.parametrize(
    "target", [pytest.param("/etc/passwd", id="absolute"), pytest.param("../../params", id="relative")]
)
def test_a_link_that_points_outside_is_refused(https: HttpsServer, fetch: Fetch, name: str, target: str) -> None:
    origin = Origin.make(https.root, name)
    (origin.tree / "inside").symlink_to("file")
    (origin.tree / "link").symlink_to(target)

    failure, message = _refused(fetch, f"{https.url}/{name}.git", origin.commit())

    assert (failure, "the link link, which points outside" in message) == ("SourceRefused", True)


def test_a_link_out_of_the_chosen_folder_is_refused(https: HttpsServer, fetch: Fetch, name: str) -> None:
    origin = Origin.make(https.root, name, **{"image/a": "1\n", "other": "2\n"})
    (origin.tree / "image" / "b").symlink_to("../other")

    assert _refused(fetch, f"{https.url}/{name}.git", origin.commit(), path="image")[0] == "SourceRefused"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: os.urandom(3 << 20), id="as it is sent"),
        pytest.param(lambda: bytes(40 << 20), id="as it would be written"),
    ],
)
def test_a_source_that_is_too_large_ends_early(
    https: HttpsServer, fetch: Fetch, name: str, content: Callable[[], bytes]
) -> None:
    origin = Origin.make(https.root, name)
    (origin.tree / "large").write_bytes(content())

    failure, message = _refused(fetch, f"{https.url}/{name}.git", origin.commit(), limit=2 << 20)

    assert failure == "SourceRefused"
    assert "2 MiB" in message


def test_neither_hooks_nor_filters_of_a_repository_run(
    https: HttpsServer, fetch: Fetch, name: str, tmp_path: Path
) -> None:
    origin = Origin.make(https.root, name, **{".gitattributes": "*.bin filter=lfs diff=lfs\n*.txt filter=evil\n"})
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 3\n"
    mark = tmp_path / "executed"
    (origin.tree / ".gitconfig").write_text(f'[filter "evil"]\n\tsmudge = touch {mark}\n')
    commit = origin.commit(
        **{"a.bin": pointer, "b.txt": "text\n", ".githooks/post-checkout": f"#!/bin/sh\ntouch {mark}\n"}
    )

    source = fetch(f"{https.url}/{name}.git", commit)

    assert (source / "a.bin").read_text() == pointer
    assert not mark.exists()


# Submodules


def _with_module(https: HttpsServer, name: str, url: str, root: Path | None = None) -> str:
    """A repository with a submodule at `lib/part` that is said to be at the url."""
    part = Origin.make(https.root if root is None else root, f"{name}-part", deep="module\n")
    origin = Origin.make(https.root, name)
    git_servers.git("submodule", "--quiet", "add", str(part.bare), "lib/part", cwd=origin.tree)
    modules = origin.tree / ".gitmodules"
    modules.write_text(modules.read_text().replace(str(part.bare), url))
    return origin.commit()


def test_submodules_are_refused_unless_the_procedure_allows_them(https: HttpsServer, fetch: Fetch, name: str) -> None:
    commit = _with_module(https, name, f"../{name}-part.git")
    url = f"{https.url}/{name}.git"

    failure, message = _refused(fetch, url, commit)
    assert (failure, "lib/part" in message, "submodules: Allow" in message) == ("SourceRefused", True, True)

    source = fetch(url, commit, submodules=True)
    assert (source / "lib/part/deep").read_text() == "module\n"
    assert list(source.rglob(".git")) == []


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("file:///etc", id="a folder"),
        pytest.param("git@host:team/x.git", id="neither https nor ssh"),
        pytest.param("https://name:word@host/x.git", id="with a login in it"),
        pytest.param("--upload-pack=touch executed", id="an option"),
    ],
)
def test_a_submodule_that_is_elsewhere(https: HttpsServer, fetch: Fetch, name: str, url: str) -> None:
    commit = _with_module(https, name, url)

    failure, message = _refused(fetch, f"{https.url}/{name}.git", commit, submodules=True)

    assert (failure, "lib/part" in message) == ("SourceRefused", True)


def test_a_submodule_of_another_host_gets_no_login(
    https: HttpsServer, redirecting: HttpsServer, fetch: Fetch, name: str
) -> None:
    commit = _with_module(https, name, f"{redirecting.url}/private/{name}-part.git", redirecting.root / "private")
    redirecting.seen.clear()

    _refused(fetch, f"{https.url}/{name}.git", commit, LOGIN, submodules=True)

    assert [authorization for _, authorization in redirecting.seen if authorization] == []


# SSH: this server hands out branches and tags only


def test_ssh_with_key_and_known_host(ssh: SshServer, fetch: Fetch, name: str) -> None:
    origin = Origin.make(ssh.root, name)
    first = origin.commit(file="first\n")
    last = origin.commit(file="last\n")
    url = f"{ssh.url}{origin.bare}"

    assert git.resolve(url, "main", ssh.credentials, os.environ) == last
    assert git.resolve(url, first, ssh.credentials, os.environ) == first
    assert (fetch(url, last, ssh.credentials) / "file").read_text() == "last\n"
    assert (fetch(url, first, ssh.credentials) / "file").read_text() == "first\n"
    assert _refused(fetch, url, "0" * 39 + "1", ssh.credentials)[0] == "SourceNotFound"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"known_hosts": ""}, "host key", id="unknown host"),
        pytest.param({"ssh-privatekey": "no key"}, "Permission denied", id="no key"),
    ],
)
def test_ssh_refuses(ssh: SshServer, name: str, change: dict[str, str], words: str) -> None:
    origin = Origin.make(ssh.root, name)

    with pytest.raises(git.GitError, match=words) as raised:
        git.resolve(f"{ssh.url}{origin.bare}", "main", ssh.credentials | change, os.environ)

    assert raised.value.kind == "refused"


def test_a_host_that_has_another_key_is_refused(ssh: SshServer, name: str) -> None:
    origin = Origin.make(ssh.root, name)
    host = ssh.credentials["known_hosts"].split()[0]
    other = " ".join((ssh.root.parent / "user.pub").read_text().split()[:2])

    changed = ssh.credentials | {"known_hosts": f"{host} {other}\n"}

    with pytest.raises(git.GitError, match="Host key verification failed") as raised:
        git.resolve(f"{ssh.url}{origin.bare}", "main", changed, os.environ)

    assert raised.value.kind == "refused"
