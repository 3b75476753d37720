"""The hosts of an inventory: a list in YAML that a tenant wrote. Everything in it is hostile until it is read.

Only what the parser reports is looked at, one piece after the other: nothing is built from anchors, tags or nested
lists, so that no text, however clever, becomes larger than itself.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

import yaml

from bascule_api.fleets import Target
from bascule_api.patch_campaign_specs import MAX_TARGETS
from bascule_workers.errors import PlanRefusedError
from bascule_workers.plans import failures

FIELDS = ("name", "address", "port", "user", "zone")
EXAMPLE = "- {name: db-1, address: 10.0.0.1, port: 22, user: admin, zone: a}"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,251}[A-Za-z0-9])?")
_USER = re.compile(r"[A-Za-z_][-A-Za-z0-9_.]{0,31}")
_ZONE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_PORT = re.compile(r"[0-9]{1,5}")


def hosts(text: str) -> list[Target]:
    """The hosts of an inventory, in its order. Raises PlanRefusedError naming the line and what is wrong there."""
    found: list[Target] = []
    lines: dict[str, int] = {}
    places: dict[tuple[str, int], str] = {}
    for line, entry in _entries(text):
        host = _host(line, entry)
        if host.name in lines:
            raise _refused(line, f"the host {host.name} is in line {lines[host.name]} already")
        place = (host.address.lower(), host.port)
        if place in places:
            raise _refused(line, f"the host {host.name} is at {host.address}:{host.port}, as {places[place]} is")
        lines[host.name], places[place] = line, host.name
        found.append(host)
        if len(found) > MAX_TARGETS:
            raise _refused(line, f"there are more than {MAX_TARGETS} hosts")
    return found


def _host(line: int, entry: dict[str, str]) -> Target:
    if "name" not in entry:
        raise _refused(line, f"a host without a name; such as: {EXAMPLE}")
    name = entry["name"]
    _demand(line, _NAME, name, "name")
    shown = f"the host {name}: "
    address = entry.get("address") or name
    if not _is_address(address):
        raise _refused(line, f"{shown}{_quoted(address)} is neither a host's name nor an IP address")
    port = entry.get("port", "22")
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65_535:
        raise _refused(line, f"{shown}{_quoted(port)} is no port")
    user, zone = entry.get("user", ""), entry.get("zone", "")
    if user:
        _demand(line, _USER, user, "user", shown)
    _demand(line, _ZONE, zone, "zone", shown)
    return Target(name=name, zone=zone, address=address, port=int(port), user=user)


def _is_address(text: str) -> bool:
    # What begins with a dash would be an option of ssh's: neither form allows it.
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _NAME.fullmatch(text) is not None
    return "%" not in text


def _demand(line: int, pattern: re.Pattern[str], value: str, field: str, shown: str = "") -> None:
    if not pattern.fullmatch(value):
        raise _refused(line, f"{shown}{_quoted(value)} is no {field}")


def _entries(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and fields of each host."""
    events = _events(text)
    event = next(events)
    if isinstance(event, yaml.StreamEndEvent):
        return
    if not isinstance(event, yaml.SequenceStartEvent):
        raise _refused(_line(event), f"the inventory is no list of hosts; such as: {EXAMPLE}")
    for event in events:
        match event:
            case yaml.SequenceEndEvent():
                break
            case yaml.MappingStartEvent():
                yield _line(event), _fields(events)
            case _:
                raise _refused(_line(event), f"this is no host; such as: {EXAMPLE}")
    for event in events:
        if not isinstance(event, yaml.StreamEndEvent):
            raise _refused(_line(event), "there is more than one list")


def _fields(events: Iterator[yaml.Event]) -> dict[str, str]:
    entry: dict[str, str] = {}
    for key in events:
        if isinstance(key, yaml.MappingEndEvent):
            break
        if not isinstance(key, yaml.ScalarEvent) or key.value not in FIELDS:
            shown = _quoted(key.value) if isinstance(key, yaml.ScalarEvent) else "this"
            raise _refused(_line(key), f"{shown} is no field of a host: there are {', '.join(FIELDS)}")
        if key.value in entry:
            raise _refused(_line(key), f"{key.value} is there twice")
        value = next(events)
        if not isinstance(value, yaml.ScalarEvent):
            raise _refused(_line(value), f"{key.value} has to be a plain text or number")
        entry[key.value] = value.value
    return entry


def _events(text: str) -> Iterator[yaml.Event]:
    """What the parser reports, without what only marks documents."""
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                raise _refused(_line(event), "anchors and aliases are not allowed: write it out")
            if getattr(event, "tag", None) is not None:
                raise _refused(_line(event), "tags are not allowed")
            if not isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent | yaml.DocumentEndEvent):
                yield event
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _refused(line, f"this is no YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise PlanRefusedError(f"the inventory is no YAML: {failures.shortened(str(error), 200)}") from None


def _line(event: yaml.Event) -> int:
    return int(event.start_mark.line) + 1 if event.start_mark else 1


def _quoted(text: str) -> str:
    return repr(failures.shortened(text, 64))


def _refused(line: int, why: str) -> PlanRefusedError:
    return PlanRefusedError(f"line {line} of the inventory: {why}")
