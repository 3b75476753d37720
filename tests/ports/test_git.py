"""What `Git` promises, and the fetching of a pinned commit, on a real git server over TLS."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import pytest

from bascule_workers import prepare
from bascule_workers.adapters.git_sources import CommandLineGit
from bascule_workers.errors import SourceNotFoundError, SourceRefusedError, SourceUnreachableError
from bascule_workers.plans.drill_plans import FileLimits
from bascule_workers.prepare import Places, PrepareError
from hack.cluster.handle import Cluster

LOGIN = {"username": "tenant", "password": "tenant-secret"}


@pytest.fixture
def trusting(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(cluster.ca_file))


def repository(cluster: Cluster, folder: Path, *, private: bool = False) -> str:
    """The address of a new repository, as the host reaches it."""
    url = cluster.make_git_repository(f"r{uuid4().hex[:8]}", folder, private=private)
    return url.replace("git.bascule.test", cluster.host_address)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "image").mkdir(parents=True)
    (folder / "image/Containerfile").write_text("FROM scratch\n")
    return folder


@pytest.mark.usefixtures("trusting")
async def test_branches_head_and_commits_resolve(cluster: Cluster, tree: Path) -> None:
    url = repository(cluster, tree)
    commit = await CommandLineGit().resolve(url, "main", {})
    assert len(commit) == 40
    for revision in ("HEAD", "refs/heads/main", commit):
        assert await CommandLineGit().resolve(url, revision, {}) == commit


@pytest.mark.usefixtures("trusting")
async def test_what_is_not_there_is_final(cluster: Cluster, tree: Path) -> None:
    url = repository(cluster, tree)
    for revision in ("no-such-branch", "0" * 40, "abc1234"):
        with pytest.raises(SourceNotFoundError, match=revision):
            await CommandLineGit().resolve(url, revision, {})
    with pytest.raises(SourceNotFoundError):
        await CommandLineGit().resolve(url.replace(".git", "-not.git"), "main", {})


@pytest.mark.usefixtures("trusting")
async def test_a_server_that_does_not_answer_may_be_asked_again(cluster: Cluster) -> None:
    with pytest.raises(SourceUnreachableError):
        await CommandLineGit().resolve(f"https://{cluster.host_address}:9/a.git", "main", {})


@pytest.mark.usefixtures("trusting")
async def test_a_private_repository_wants_the_right_login_and_never_quotes_it(cluster: Cluster, tree: Path) -> None:
    url = repository(cluster, tree, private=True)
    assert await CommandLineGit().resolve(url, "main", LOGIN)
    for login in ({}, LOGIN | {"password": "wrong-password"}):
        with pytest.raises(SourceRefusedError) as refused:
            await CommandLineGit().resolve(url, "main", login)
        assert "wrong-password" not in str(refused.value)


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("url", ["file:///etc", "ext::sh -c touch% /tmp/pwned", "-uhttps://x", "git://127.0.0.1/a"])
async def test_other_protocols_are_never_spoken(url: str) -> None:
    with pytest.raises((SourceUnreachableError, SourceNotFoundError, SourceRefusedError)):
        await CommandLineGit().resolve(url, "main", {})
    assert not os.path.exists("/tmp/pwned")  # noqa: ASYNC240, PTH110 - nothing else runs


@pytest.mark.usefixtures("trusting")
async def test_exactly_the_pinned_commit_is_fetched_although_the_branch_has_moved(
    cluster: Cluster, tree: Path, tmp_path: Path
) -> None:
    name = f"r{uuid4().hex[:8]}"
    url = cluster.make_git_repository(name, tree).replace("git.bascule.test", cluster.host_address)
    pinned = await CommandLineGit().resolve(url, "main", {})
    (tree / "image/Containerfile").write_text("FROM moved\n")
    cluster.make_git_repository(name, tree)

    shared = tmp_path / "shared"
    shared.mkdir()
    source = {"git": {"url": url, "commit": pinned, "path": "image"}}
    prepare.prepare({"parameters": {}, "source": source}, Places(shared=shared))

    assert (shared / "source/Containerfile").read_text() == "FROM scratch\n"
    assert not list(shared.rglob(".git"))


@pytest.mark.usefixtures("trusting")
async def test_a_private_commit_is_fetched_with_mounted_credentials(
    cluster: Cluster, tree: Path, tmp_path: Path
) -> None:
    url = repository(cluster, tree, private=True)
    commit = await CommandLineGit().resolve(url, "main", LOGIN)
    mounted, shared = tmp_path / "git", tmp_path / "shared"
    shared.mkdir()
    mounted.mkdir()
    for key, value in LOGIN.items():
        (mounted / key).write_text(value)

    source = {"git": {"url": url, "commit": commit, "path": ""}}
    prepare.prepare({"parameters": {}, "source": source}, Places(shared=shared, git_credentials=mounted))

    assert (shared / "source/image/Containerfile").exists()
    assert not any("tenant-secret" in path.read_text() for path in shared.rglob("*") if path.is_file())


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    ("path", "said"), [("no/such", "no folder 'no/such'"), ("../..", "leads out"), ("image/Containerfile", "no folder")]
)
async def test_a_folder_that_is_none_is_final(
    cluster: Cluster, tree: Path, tmp_path: Path, path: str, said: str
) -> None:
    url = repository(cluster, tree)
    commit = await CommandLineGit().resolve(url, "main", {})
    with pytest.raises(PrepareError, match=said) as failed:
        prepare.prepare(
            {"parameters": {}, "source": {"git": {"url": url, "commit": commit, "path": path}}}, Places(shared=tmp_path)
        )
    assert failed.value.failure == "SourceNotFound"


@pytest.mark.usefixtures("trusting")
async def test_a_repository_with_a_link_to_the_outside_is_refused(cluster: Cluster, tree: Path, tmp_path: Path) -> None:
    (tree / "image/passwords").symlink_to("/etc/shadow")
    url = repository(cluster, tree)
    commit = await CommandLineGit().resolve(url, "main", {})
    source = {"git": {"url": url, "commit": commit, "path": "image"}}
    with pytest.raises(PrepareError, match="points outside"):
        prepare.prepare({"parameters": {}, "source": source}, Places(shared=tmp_path))


def test_a_server_that_does_not_answer_is_asked_again_and_then_told(tmp_path: Path) -> None:
    source = {"git": {"url": "https://127.0.0.1:9/a.git", "commit": "c" * 40}}
    with pytest.raises(PrepareError) as failed:
        prepare.prepare({"parameters": {}, "source": source}, Places(shared=tmp_path, patience=0))
    assert (failed.value.failure, failed.value.retryable) == ("SourceUnreachable", True)


LIMITS = FileLimits((".yaml", ".json"), files=3, bytes=1000)


async def files_of(cluster: Cluster, tree: Path, path: str = "env", limits: FileLimits = LIMITS) -> dict[str, bytes]:
    git, url = CommandLineGit(), repository(cluster, tree)
    return await git.files(url, await git.resolve(url, "main", {}), path, {}, limits)


@pytest.fixture
def manifests(tree: Path) -> Path:
    folder = tree / "env"
    (folder / "below").mkdir(parents=True)
    (folder / "a.yaml").write_bytes("ü: 1\r\n".encode())
    (folder / "b.json").write_text("{}")
    (folder / "README.md").write_text("x" * 5000)
    (folder / "below/c.yaml").write_text("c: 1")
    return folder


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("path", ["env", "env/", "./env"])
async def test_files_of_a_folder_are_read_byte_for_byte_and_not_those_below(
    cluster: Cluster, tree: Path, manifests: Path, path: str
) -> None:
    assert await files_of(cluster, tree, path) == {"a.yaml": "ü: 1\r\n".encode(), "b.json": b"{}"}


@pytest.mark.usefixtures("trusting", "manifests")
@pytest.mark.parametrize("path", ["other", "env/a.yaml", "../..", "env/../../x", "-p", "env:a"])
async def test_a_folder_that_is_not_there_is_final(cluster: Cluster, tree: Path, path: str) -> None:
    with pytest.raises(SourceNotFoundError, match="no folder"):
        await files_of(cluster, tree, path)


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("target", ["/etc/passwd", "../image/Containerfile", "a.yaml"])
async def test_a_link_among_the_files_is_refused_and_not_followed(
    cluster: Cluster, tree: Path, manifests: Path, target: str
) -> None:
    (manifests / "link.yaml").symlink_to(target)
    with pytest.raises(SourceRefusedError, match=r"link\.yaml, which is no plain file"):
        await files_of(cluster, tree)


@pytest.mark.usefixtures("trusting")
async def test_more_than_the_limits_is_refused(cluster: Cluster, tree: Path, manifests: Path) -> None:
    (manifests / "large.yaml").write_text("x" * 2000)
    with pytest.raises(SourceRefusedError, match="more than 3 files"):
        await files_of(cluster, tree)
