"""The files of an image as a table: what a container would see, made from its layers without writing any of it.

Names come from the image and are hostile until shown otherwise. They are keys of a dictionary here and never paths of
this machine; links are followed within the table only.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_MOST_LINKS = 40
_MOST_DEPTH = 256
ROOT = "/"


class MalformedImageError(Exception):
    """The image is not one that a container runtime would take, or exceeds a bound."""


class Type(Enum):
    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"
    """Devices, pipes and sockets."""


@dataclass(frozen=True, slots=True)
class Entry:
    type: Type
    mode: int
    """Permission bits, with those for setuid, setgid and sticky."""
    uid: int
    gid: int
    layer: int
    target: str = ""
    """Where a symbolic link points."""
    content: bytes | None = None
    """Of the few files whose content is looked at as a whole."""
    private_key: str = ""
    """What kind of private key was seen in it."""
    capabilities: bool = False

    @property
    def world_writable(self) -> bool:
        return bool(self.mode & stat.S_IWOTH)


@dataclass
class FileTable:
    """Layers are applied one after the other; afterwards `files` is the merged view."""

    most_entries: int
    files: dict[str, Entry] = field(default_factory=dict)
    hidden: list[tuple[str, Entry]] = field(default_factory=list)
    """Entries with a private key that a later layer covers: whoever pulls the image still has them."""
    _children: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.files.setdefault(ROOT, Entry(Type.FOLDER, 0o755, 0, 0, -1))

    def add(self, name: str, entry: Entry) -> None:
        """Apply one entry of a layer, whiteouts included. Raises MalformedImageError."""
        parts = _parts(name)
        if not parts:
            if entry.type is Type.FOLDER:
                self.files[ROOT] = entry
            return
        parent, last = self._folder(parts[:-1], entry.layer), parts[-1]
        if last == _OPAQUE:
            for child in list(self._children.get(parent, ())):
                self._remove(_join(parent, child), before=entry.layer)
        elif last.startswith(_WHITEOUT):
            self._remove(_join(parent, last.removeprefix(_WHITEOUT)), before=entry.layer)
        else:
            self._put(_join(parent, last), entry)

    def link(self, name: str, target: str, layer: int) -> None:
        """Apply a hard link: another name of a file that is in the image already. Raises MalformedImageError."""
        parts = _parts(target)
        found = self.files.get(_join(self._folder(parts[:-1], layer), parts[-1])) if parts else None
        if found is None or found.type is Type.FOLDER:
            raise MalformedImageError(f"the hard link {name!r} points to {target!r}, which is no file of the image")
        self.add(name, replace(found, layer=layer))

    def _put(self, path: str, entry: Entry) -> None:
        before = self.files.get(path)
        # A folder over a folder merges; anything else takes the place of what was there, with all that is below.
        if before is not None and not (before.type is entry.type is Type.FOLDER):
            self._remove(path, before=entry.layer + 1)
        if len(self.files) >= self.most_entries:
            raise MalformedImageError(f"the image has more than {self.most_entries} files")
        self.files[path] = entry
        parent, _, last = path.rpartition("/")
        self._children.setdefault(parent or ROOT, set()).add(last)

    def _remove(self, path: str, before: int) -> None:
        """Take away the entry and what is below it, as far as it comes from a layer before that one.

        A whiteout speaks of lower layers; what its own layer brings stays, whatever the order in the archive.
        """
        pending, kept = [path], set[str]()
        visited: list[str] = []
        while pending:
            current = pending.pop()
            visited.append(current)
            pending += [_join(current, child) for child in self._children.get(current, ())]
        for current in reversed(visited):
            entry = self.files.get(current)
            if entry is None:
                continue
            parent = current.rpartition("/")[0] or ROOT
            if entry.layer >= before or current in kept:
                kept.add(parent)
                continue
            if entry.private_key:
                self.hidden.append((current, entry))
            del self.files[current]
            self._children.pop(current, None)
            self._children.get(parent, set()).discard(current.rpartition("/")[2])

    def _folder(self, parts: list[str], layer: int) -> str:
        """The real path of a folder, its links followed as a runtime does while unpacking; made where it is missing."""
        pending, path, links = list(reversed(parts)), ROOT, 0
        while pending:
            part = pending.pop()
            if part == "..":
                path = path.rpartition("/")[0] or ROOT
                continue
            step = _join(path, part)
            entry = self.files.get(step)
            if entry is None:
                self._put(step, Entry(Type.FOLDER, 0o755, 0, 0, layer))
            elif entry.type is Type.LINK:
                links += 1
                if links > _MOST_LINKS:
                    raise MalformedImageError(f"links lead in a circle at {step!r}")
                if entry.target.startswith("/"):
                    path = ROOT
                pending += reversed(_split(entry.target))
                if len(pending) > _MOST_DEPTH:
                    raise MalformedImageError(f"a path through {step!r} is deeper than {_MOST_DEPTH} folders")
                continue
            elif entry.type is not Type.FOLDER:
                raise MalformedImageError(f"{step!r} is used as a folder and is none")
            path = step
        return path

    def resolve(self, path: str) -> Entry | None:
        """What is found at a path when links are followed, its last part included; nothing when there is nothing."""
        pending, current, links = list(reversed(_split(path))), ROOT, 0
        while pending:
            part = pending.pop()
            if part == "..":
                current = current.rpartition("/")[0] or ROOT
                continue
            step = _join(current, part)
            entry = self.files.get(step)
            if entry is None:
                return None
            if entry.type is not Type.LINK:
                current = step
                continue
            links += 1
            if links > _MOST_LINKS or len(pending) > _MOST_DEPTH:
                return None
            current = ROOT if entry.target.startswith("/") else current
            pending += reversed(_split(entry.target))
        return self.files.get(current)

    def of(self, kind: Type) -> Iterator[tuple[str, Entry]]:
        return ((path, entry) for path, entry in self.files.items() if entry.type is kind)


def _join(parent: str, name: str) -> str:
    return f"/{name}" if parent == ROOT else f"{parent}/{name}"


def _split(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _parts(name: str) -> list[str]:
    """The parts of an entry's name. Raises MalformedImageError for one that would lead out of the image."""
    parts = _split(name)
    if ".." in parts:
        raise MalformedImageError(f"the entry {name[:200]!r} leads out of its folder")
    if len(parts) > _MOST_DEPTH or len(name) > 4096:
        raise MalformedImageError(f"the entry {name[:200]!r}… is deeper or longer than a path may be")
    return parts
