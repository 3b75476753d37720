"""`bascule logs`: what the steps of a run wrote, from the best place that the user may read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from bascule_api import dr_drills, names, tenants
from bascule_api.conditions import StepState
from bascule_api.runs import StepStatus
from bascule_cli import kept_logs, live_logs, terminal
from bascule_cli.cluster import Cluster, Json
from bascule_cli.errors import CliError, ExitCode, ForbiddenError, NotFoundError
from bascule_cli.options import NameArgument, complete_steps, verb
from bascule_cli.resources import Item, find
from bascule_cli.views.logs import chosen

RepositoryOption = Annotated[
    str,
    typer.Option(
        "--repository",
        envvar="BASCULE_ARTIFACTS",
        help="Where whole logs are kept, for those who may not read the Tenant, which says so.",
    ),
]


def register(app: typer.Typer) -> None:
    verb(app, "logs")(logs)


@dataclass(frozen=True)
class Wish:
    """How much of the logs, and how."""

    follow: bool
    tail: int | None
    raw: bool
    repository: str
    target: str = ""


def logs(
    cluster: Cluster,
    name: NameArgument,
    step: Annotated[
        str | None, typer.Argument(metavar="[STEP]", help="Name of a step.", autocompletion=complete_steps)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what a running step writes.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="Only so many last lines.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="As written, control characters included.")] = False,
    repository: RepositoryOption = "",
    target: Annotated[
        str, typer.Option("--target", metavar="NAME", help="Of a campaign: what was done at this node or host.")
    ] = "",
) -> None:
    """Print what steps of the last run wrote, and say on stderr where that comes from.

    Without STEP: those that run, else those that failed, else all. A step that runs is read from its pod, which only
    the platform team may; one that is over from the log that the Tenant's `spec.artifacts` kept, with your own registry
    login (`docker login`); and what the status keeps, the last lines of a failure, is there for everybody.

    Control characters are written out (`\\x1b`), since nobody knows what a build prints; `--raw` leaves them.

    A campaign's wave has a pod per target: the latest is shown, or that of `--target`.

    **Examples:** `bascule logs web` · `bascule logs web test-smoke` · `bascule logs web build -f` ·
    `bascule logs nodes wave-canary --target node-07`
    """
    item = find(cluster, name)
    wish = Wish(follow, tail, raw, repository, target)
    steps = chosen(item.status, step)
    if not steps:
        known = ", ".join(found.name for found in item.status.steps) or "none yet"
        nothing = f"has no step {step}; steps are: {known}" if step else "has no logs"
        raise NotFoundError(f"{item.reference} {nothing}")
    place = _Place.of(cluster, item, wish)
    silent = 0
    for found in steps:
        if len(steps) > 1:
            typer.echo(f"==> {terminal.clean(found.name)} <==")
        try:
            _print(_lines(cluster, item, found, place, wish), wish)
        except NotFoundError as error:
            silent += 1
            terminal.note(error.message)
    if silent == len(steps):
        raise typer.Exit(ExitCode.NOT_FOUND)


@dataclass(frozen=True)
class _Place:
    """Where a tenant's logs are."""

    steps_namespace: str
    repository: str
    tenant_unread: bool = False

    @classmethod
    def of(cls, cluster: Cluster, item: Item, wish: Wish) -> _Place:
        tenant = item.status.run.tenant if item.status.run else ""
        body: Json = {}
        unread = False
        try:
            body = cluster.get(tenants.KIND, "", tenant) if tenant else {}
        except (ForbiddenError, NotFoundError):
            unread = True
        spec = body.get("spec") or {}
        steps = (spec.get("steps") or {}).get("namespace") or names.steps_namespace(tenant)
        if item.kind.kind == dr_drills.KIND.kind and item.status.run:
            # A drill's steps run where they restore, as long as that is there.
            steps = names.drill_namespace(item.meta.uid, item.status.run.number)
        return cls(steps, wish.repository or (spec.get("artifacts") or {}).get("repository") or "", unread)


def _lines(cluster: Cluster, item: Item, step: StepStatus, place: _Place, wish: Wish) -> Iterator[bytes]:
    """The lines of a step's log, from the first place that has it. Raises NotFoundError when none has."""
    missing: list[str] = []
    sources = [_live, _kept] if step.state is StepState.RUNNING else [_kept, _live]
    if wish.target:
        # What is kept is kept of steps, not of targets.
        sources = [_live]
    for source in sources:
        try:
            return source(cluster, item, step, place, wish)
        except CliError as error:
            missing.append(error.message)
    if step.message and not wish.target:
        _tell(step, "the last lines, as the status keeps them", *missing)
        return _last(step.message, wish)
    why = "; ".join(missing)
    raise NotFoundError(f"{step.name} ({step.state}): nothing to read: {why}")


def _live(cluster: Cluster, item: Item, step: StepStatus, place: _Place, wish: Wish) -> Iterator[bytes]:
    assert item.status.run is not None  # noqa: S101 - what has steps has a run
    pod = live_logs.pod_of(
        cluster, place.steps_namespace, item.meta.uid, item.status.run.number, step.name, wish.target
    )
    if pod is None:
        at = f" at {wish.target}" if wish.target else ""
        raise NotFoundError(f"no pod of it{at} is there")
    lines = live_logs.lines(cluster, pod, follow=wish.follow, tail=wish.tail)
    # The first line now: where it may not be read, another place is asked.
    first = next(lines, None)
    _tell(step, f"live from the pod {pod.name} in {pod.namespace}")
    return _chained(first, lines)


def _chained(first: bytes | None, lines: Iterator[bytes]) -> Iterator[bytes]:
    if first is not None:
        yield first
        yield from lines


def _kept(cluster: Cluster, item: Item, step: StepStatus, place: _Place, wish: Wish) -> Iterator[bytes]:
    if step.log is None:
        raise NotFoundError("its log was not kept as an artifact")
    if not place.repository:
        why = "you may not read the Tenant: say where with --repository" if place.tenant_unread else "nobody says where"
        raise NotFoundError(f"its log is kept as {step.log}, {why}")
    text = kept_logs.fetch(place.repository, step.log)
    _tell(step, f"the whole log, kept as {place.repository}@{step.log}")
    return _last(text, wish)


def _last(text: str, wish: Wish) -> Iterator[bytes]:
    lines = text.encode().splitlines()
    return iter(lines if wish.tail is None else lines[len(lines) - wish.tail if wish.tail < len(lines) else 0 :])


def _tell(step: StepStatus, source: str, *missing: str) -> None:
    terminal.note("; ".join([f"» {step.name}: {source}", *missing]))


def _print(lines: Iterable[bytes], wish: Wish) -> None:
    for line in lines:
        if wish.raw:
            sys.stdout.buffer.write(line + b"\n")
            sys.stdout.flush()
        else:
            typer.echo(terminal.clean_lines(line.decode(errors="replace")))
