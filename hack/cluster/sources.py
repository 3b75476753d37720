"""Git repositories on the cluster's git server."""

import os
import re
import shutil
import tempfile
from pathlib import Path

from hack.cluster.addresses import GIT_HOST
from hack.cluster.paths import Paths
from hack.cluster.shell import ClusterError, run

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_IDENTITY = {
    "GIT_AUTHOR_NAME": "bascule",
    "GIT_AUTHOR_EMAIL": "bascule@bascule.test",
    "GIT_COMMITTER_NAME": "bascule",
    "GIT_COMMITTER_EMAIL": "bascule@bascule.test",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


def make_git_repository(paths: Paths, name: str, directory: Path, *, private: bool) -> str:
    """Publish a folder's content as a repository's next commit on `main`, and return the repository's address.

    A repository of that name gets another commit, so that calling this again is how a source changes. Nothing is
    committed when nothing changed. Private ones ask for TENANT_USER and TENANT_PASSWORD.
    """
    if not _NAME.fullmatch(name):
        raise ClusterError(f"{name!r} is no name for a repository: letters, digits, dots, dashes and underscores")
    area = "private/" if private else ""
    repository = paths.state / "git" / f"{area}{name}.git"
    if not (repository / "HEAD").exists():
        _git("init", "--quiet", "--bare", "--initial-branch=main", str(repository))
        # Builds fetch one commit by its id, not branches.
        _git("--git-dir", str(repository), "config", "uploadpack.allowAnySHA1InWant", "true")
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        shutil.copytree(directory, tree, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        _commit(repository, tree)
    return f"https://{GIT_HOST}/{area}{name}.git"


def _commit(repository: Path, tree: Path) -> None:
    here = ("--git-dir", str(repository), "--work-tree", str(tree))
    _git(*here, "add", "--all", "--force")
    has_commit = _git("--git-dir", str(repository), "for-each-ref", "refs/heads/main").strip()
    if not has_commit or _git(*here, "status", "--porcelain").strip():
        _git(*here, "commit", "--quiet", "--allow-empty", "--message", "the folder's content")


def _git(*arguments: str) -> str:
    return run(["git", *arguments], env={**os.environ, **_IDENTITY})
