"""The work tree of exactly one commit: without history, hooks and filters, within a bound, with or without submodules.

Only the standard library, as `git` itself.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from bascule_workers.adapters import git

FETCH_SECONDS = 1800.0
MAX_FILES = 200_000
LIST_LIMIT = 64 << 20
"""Bytes of a commit's list of files: a small one can name the same folder again and again."""
MAX_SUBMODULES = 32
MAX_DEPTH = 4
_SUBMODULE = "160000"
_FILES = ("100644", "100755")
_ALLOWED = re.compile(r"^(https|ssh)://[^\s@/:]*@?[^\s@/]+/.+$")


class CheckoutError(Exception):
    """The commit cannot be had: `kind` is one of GitError's, or `refused` for a tree that is not taken."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


TOO_MANY = CheckoutError("refused", f"the source has more than {MAX_FILES} files")


@dataclass(frozen=True)
class Entry:
    """What a commit holds at a path."""

    mode: str
    object: str
    size: int
    path: str


@dataclass
class Checkout:
    """One source, with all its submodules. The limits hold for all of them together."""

    url: str
    credentials: Mapping[str, str]
    inherited: Mapping[str, str]
    submodules: bool
    limit: int
    """Bytes of the files, at most; what the server sends may have as many again."""
    patience: float
    """Seconds for which a server that does not answer is asked again."""
    folder: Path
    """An existing, empty folder for repositories and credentials, removed by the caller."""
    seconds: float = FETCH_SECONDS
    """How long one command of git may take."""
    _used: int = 0
    _files: int = 0
    _repositories: int = 0

    def tree(self, commit: str) -> Path:
        """The folder that holds the commit's files. Raises CheckoutError."""
        return self._tree(self.url, commit, 0)

    def files(
        self, commit: str, path: str, suffixes: tuple[str, ...], *, most: int, most_bytes: int
    ) -> dict[str, bytes]:
        """The files directly in a folder of the commit that end so, by name; nothing is checked out.

        Raises CheckoutError, also for a link or submodule among them, and beyond `most` files or `most_bytes`.
        """
        if not git.COMMIT.match(commit):
            raise CheckoutError("absent", f"{commit!r} is no commit")
        repository = _Repository(self, self.url, 0)
        repository.fetch(commit)
        where = path or "the repository"
        entries = [entry for entry in repository.folder(commit, path) if entry.path.endswith(suffixes)]
        for entry in entries:
            if entry.mode not in _FILES:
                raise CheckoutError("refused", f"{where} has {entry.path}, which is no plain file: put the file there")
        if len(entries) > most or sum(entry.size for entry in entries) > most_bytes:
            raise CheckoutError("refused", f"{where} has more than {most} files, or {most_bytes >> 10} KiB of them")
        return {entry.path: repository.content(entry) for entry in entries}

    def _tree(self, url: str, commit: str, depth: int) -> Path:
        if not git.COMMIT.match(commit):
            raise CheckoutError("absent", f"{commit!r} is no commit")
        repository = _Repository(self, url, self._repositories)
        self._repositories += 1
        repository.fetch(commit)
        entries = repository.entries(commit)
        self._count(entries)
        modules = [entry for entry in entries if entry.mode == _SUBMODULE]
        if modules and not self.submodules:
            raise CheckoutError(
                "refused",
                f"the source has the submodule {modules[0].path}, and the Procedure takes none: "
                "the platform allows them with spec.source.submodules: Allow",
            )
        urls = repository.module_urls(commit) if modules else {}
        repository.check_out(commit)
        shutil.rmtree(repository.tree / ".git")
        for module in modules:
            self._add_module(repository, module, urls.get(module.path), depth)
        return repository.tree

    def _count(self, entries: list[Entry]) -> None:
        self._files += len(entries)
        self._used += sum(entry.size for entry in entries)
        if self._files > MAX_FILES:
            raise TOO_MANY
        if self._used > self.limit:
            raise CheckoutError("refused", f"the source is larger than {self.limit >> 20} MiB")

    def _add_module(self, parent: _Repository, module: Entry, url: str | None, depth: int) -> None:
        if url is None:
            raise CheckoutError("refused", f".gitmodules has no url of the submodule {module.path}")
        if self._repositories > MAX_SUBMODULES or depth >= MAX_DEPTH:
            raise CheckoutError("refused", f"the source has more than {MAX_SUBMODULES} submodules, or too deep ones")
        place = parent.tree / module.path
        # Git leaves an empty folder there; a link on the way to it would lead elsewhere.
        if place.resolve() != parent.tree.resolve() / module.path or not place.is_dir():
            raise CheckoutError("refused", f"the submodule {module.path} is not at its place")
        try:
            tree = self._tree(joined(parent.url, url), module.object, depth + 1)
        except CheckoutError as error:
            raise CheckoutError(error.kind, f"submodule {module.path}: {error}") from None
        place.rmdir()
        shutil.move(tree, place)


class _Repository:
    """One repository of a checkout."""

    def __init__(self, checkout: Checkout, url: str, number: int) -> None:
        self.url = url
        self._checkout = checkout
        self._home = checkout.folder / f"home{number}"
        self.tree = checkout.folder / f"tree{number}"
        self._home.mkdir(mode=0o700)
        self.tree.mkdir()
        # Credentials are for the host of the source, and for no other that one of its submodules names.
        ours = _host(url) == _host(checkout.url)
        self._values = git.environment(self._home, checkout.credentials if ours else {})

    def _git(self, *arguments: str, limit: int = 0) -> str:
        try:
            return git.git(
                self._home,
                self._values,
                ["-C", str(self.tree), *arguments],
                self._checkout.inherited,
                limit_bytes=limit or self._checkout.limit,
                limit_seconds=self._checkout.seconds,
            )
        except git.GitError as error:
            raise CheckoutError(error.kind, str(error)) from None

    def fetch(self, commit: str) -> None:
        """Get the commit, patiently. Raises CheckoutError."""
        self._git(*git.init(commit))
        deadline = time.monotonic() + self._checkout.patience
        while True:
            try:
                return self._fetch(commit)
            except CheckoutError as error:
                if error.kind != "unreachable" or time.monotonic() >= deadline:
                    raise
            time.sleep(3)

    def _fetch(self, commit: str) -> None:
        options = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules")
        try:
            self._git(*options, "--depth=1", "--", self.url, commit)
        except CheckoutError as error:
            if error.kind != "unadvertised":
                raise
        else:
            return
        # This server hands out branches and tags only: one that is this commit, else all of them.
        listed = [line.partition("\t") for line in self._git("ls-remote", "--quiet", "--", self.url).splitlines()]
        names = [name.removesuffix("^{}") for found, _, name in listed if found == commit and name != "HEAD"]
        if names:
            self._git(*options, "--depth=1", "--", self.url, names[0])
        if not names or not self._has(commit):
            self._git(*options, "--", self.url, "+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*")
        if not self._has(commit):
            raise CheckoutError("absent", "no branch or tag leads to it, and the server hands out nothing else")

    def _has(self, commit: str) -> bool:
        try:
            self._git("cat-file", "-e", f"{commit}^{{commit}}")
        except CheckoutError:
            return False
        return True

    def entries(self, commit: str) -> list[Entry]:
        """All files, links and submodules of a commit."""
        try:
            listed = self._git("ls-tree", "-r", "-z", "-l", commit, limit=LIST_LIMIT)
        except CheckoutError as error:
            raise (TOO_MANY if error.kind == "large" else error) from None
        return [_entry(line) for line in listed.split("\0") if line]

    def folder(self, commit: str, path: str) -> list[Entry]:
        """What lies directly in a folder of the commit. Raises CheckoutError where there is none."""
        place = str(PurePosixPath(path)) if PurePosixPath(path).parts else ""
        try:
            tree = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}:{place}").strip()
            listed = self._git("ls-tree", "-z", "-l", tree, limit=LIST_LIMIT)
        except CheckoutError as error:
            if error.kind == "large":
                raise TOO_MANY from None
            raise CheckoutError("absent", f"the repository has no folder {path!r}") from None
        return [_entry(line) for line in listed.split("\0") if line]

    def content(self, entry: Entry) -> bytes:
        return self._git("cat-file", "blob", entry.object).encode(errors="surrogateescape")

    def module_urls(self, commit: str) -> dict[str, str]:
        """The submodules' addresses by path, as `.gitmodules` has them."""
        pattern = r"^submodule\..*\.(path|url)$"
        try:
            listed = self._git(
                "config", "--no-includes", "--blob", f"{commit}:.gitmodules", "-z", "--get-regexp", pattern
            )
        except CheckoutError:
            return {}
        found = dict(line.partition("\n")[::2] for line in listed.split("\0") if line)
        paths = {key.removesuffix(".path"): value for key, value in found.items() if key.endswith(".path")}
        return {path: found[f"{name}.url"] for name, path in paths.items() if f"{name}.url" in found}

    def check_out(self, commit: str) -> None:
        """Write the commit's files, byte for byte but for the line ends that its attributes ask for."""
        self._git("checkout", "--quiet", "--force", "--detach", commit, "--")


def _entry(line: str) -> Entry:
    described, _, path = line.partition("\t")
    mode, _, name, size = described.split()
    return Entry(mode, name, int(size) if size.isdigit() else 0, path)


def _host(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2]


def joined(parent: str, url: str) -> str:
    """A submodule's address; one that begins with ./ or ../ is meant from its parent's. Raises CheckoutError."""
    if url.startswith(("./", "../")):
        parts = urlsplit(parent)
        path = PurePosixPath(parts.path)
        while url.startswith(("./", "../")):
            path = path.parent if url.startswith("../") else path
            url = url.partition("/")[2]
        url = parts._replace(path=str(path / url)).geturl()
    if not _ALLOWED.match(url):
        raise CheckoutError("refused", f"{url} is neither https:// nor ssh:// without credentials in it")
    return url
