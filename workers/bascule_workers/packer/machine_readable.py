"""What `packer -machine-readable` prints: lines of comma-separated values, one fact each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

# Packer's own escapes (packer/ui.go, MachineReadableUi). A backslash is not escaped, so a text with a literal `\n`
# cannot be told from a line break; names of files are therefore left as they are but for the comma.
_COMMA = "%!(PACKER_COMMA)"
_TYPES = frozenset({"ui", "error", "artifact-count", "artifact", "template-variable", "version", "version-commit"})
NOTHING = "fnoeding.null"
"""Builder id of the builder `null`, whose artifact is the absence of one."""


class IncompleteError(ValueError):
    """Packer's report breaks off, or contradicts itself."""


@dataclass(frozen=True)
class Line:
    target: str
    """Name of the build; empty for what concerns all."""
    type: str
    data: tuple[str, ...]


@dataclass(frozen=True)
class Artifact:
    """What one builder or post-processor made."""

    build: str
    builder: str
    """Packer's id of the kind of artifact, such as `packer.file` or `mitchellh.amazonebs`."""
    id: str
    text: str = ""
    files: tuple[str, ...] = ()

    @property
    def elsewhere(self) -> bool:
        """Whether it lies outside this container, such as an image at a cloud provider."""
        return not self.files and self.builder != NOTHING and bool(self.id)


@dataclass
class _Open:
    """An artifact whose lines are still being read."""

    values: dict[str, str] = field(default_factory=dict)
    files: dict[int, str] = field(default_factory=dict)
    ended: bool = False


def parse_line(text: str) -> Line | None:
    """One line of the output, or nothing where it is none of Packer's."""
    fields = text.rstrip("\n").split(",")
    # Commas are escaped in data but not in the name of a build, which is the second field.
    known = next((n for n in range(2, len(fields)) if fields[n] in _TYPES), 0)
    if not known or not fields[0].isdecimal():
        return None
    data = tuple(value.replace(_COMMA, ",") for value in fields[known + 1 :])
    return Line(",".join(fields[1:known]), fields[known], data)


def readable(text: str) -> str:
    """A text meant for people, with its line breaks."""
    return text.replace("\\r", "").replace("\\n", "\n")


def says(line: Line) -> str:
    """What the line tells people; empty for a bare fact."""
    match line.type, line.data:
        case "ui", (_, text, *_):
            return readable(text).strip("\n")
        case "error", (text, *_):
            return f"{line.target}: {readable(text)}".strip()
        case _:
            return ""


def errors(lines: Iterable[Line]) -> list[str]:
    """The errors, each once, in their order."""
    found = [
        says(line).strip()
        for line in lines
        if line.type == "error" or (line.type == "ui" and line.data[:1] == ("error",))
    ]
    return list(dict.fromkeys(text for text in found if text))


def artifacts(lines: Sequence[Line]) -> list[Artifact]:
    """The artifacts in the order in which they were reported, each once however many post-processors passed it on.

    Raises IncompleteError when announced ones are missing or one does not end.
    """
    announced: dict[str, int] = {}
    opened: dict[tuple[str, int], _Open] = {}
    for line in lines:
        if line.type == "artifact-count":
            announced[line.target] = _number(line.data, 0)
        elif line.type == "artifact":
            _take(opened.setdefault((line.target, _number(line.data, 0)), _Open()), line.data[1:])
    for build, count in announced.items():
        if (found := sum(1 for target, _ in opened if target == build)) != count:
            raise IncompleteError(f"Packer announced {count} artifacts of {build} and reported {found}")
    made = [_finished(build, artifact) for (build, _), artifact in opened.items()]
    return list(dict.fromkeys(artifact for artifact in made if artifact is not None))


def _take(artifact: _Open, data: Sequence[str]) -> None:
    match data:
        case ("end", *_) | ("nil", *_):
            artifact.ended = True
            artifact.values.setdefault("kind", data[0])
        case ("file", number, name, *_):
            artifact.files[_number((number,), 0)] = name
        case (key, value, *_):
            artifact.values[key] = value
        case _:
            raise IncompleteError("Packer reported an artifact without saying what of it")


def _finished(build: str, artifact: _Open) -> Artifact | None:
    if artifact.values.get("kind") == "nil":
        return None
    count = _number((artifact.values.get("files-count", "0"),), 0)
    if not artifact.ended or set(artifact.files) != set(range(count)):
        raise IncompleteError(f"Packer's report on an artifact of {build} breaks off")
    return Artifact(
        build=build,
        builder=artifact.values.get("builder-id", ""),
        id=artifact.values.get("id", ""),
        text=readable(artifact.values.get("string", "")),
        files=tuple(artifact.files[number] for number in range(count)),
    )


def _number(data: Sequence[str], index: int) -> int:
    if index < len(data) and data[index].isdecimal():
        return int(data[index])
    raise IncompleteError(f"Packer reported something else than a number: {list(data)}")
