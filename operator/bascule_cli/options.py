"""What verbs share: the options that say which cluster, completion of names, and how a command ends."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import typer
from rich.text import Text

from bascule_api.base import Kind
from bascule_cli import kinds
from bascule_cli.cluster import Cluster, Where
from bascule_cli.errors import CliError, ExitCode, ForbiddenError, NotFoundError
from bascule_cli.resources import Reference
from bascule_cli.terminal import clean, error_console
from bascule_cli.views.wording import Speech

_PANEL = "Which cluster"
_COMPLETION_LIMIT = 500

NamespaceOption = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Namespace; default: that of the context.", rich_help_panel=_PANEL),
]
ContextOption = Annotated[str | None, typer.Option("--context", help="Context.", rich_help_panel=_PANEL)]
KubeconfigOption = Annotated[
    str | None,
    typer.Option("--kubeconfig", help="Path of a kubeconfig; default: as kubectl.", rich_help_panel=_PANEL),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
TimeoutOption = Annotated[int, typer.Option("--timeout", min=1, help="Seconds to wait at most; then exit code 5.")]


class Output(StrEnum):
    """Formats of `-o`."""

    JSON = "json"
    YAML = "yaml"
    WIDE = "wide"


class Document(StrEnum):
    """Formats of `-o` where there is nothing wider to show."""

    JSON = "json"
    YAML = "yaml"


Verb = Callable[..., None]


def verb(app: typer.Typer, name: str | None = None, **settings: Any) -> Callable[[Verb], Verb]:
    """Register a verb. Its first parameter, the Cluster, becomes the options that say which cluster."""

    def register(function: Verb) -> Verb:
        @wraps(function)
        def run(**values: Any) -> None:
            where = Where(*(values.pop(option) for option in ("namespace", "context", "kubeconfig")))
            with ending():
                function(Cluster.connect(where), **values)

        hints = get_type_hints(function, include_extras=True)
        _, *own = inspect.signature(function).parameters.values()
        options = {"namespace": NamespaceOption, "context": ContextOption, "kubeconfig": KubeconfigOption}
        parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
        parameters += [
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for option, annotation in options.items()
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, **settings)(run)
        return function

    return register


@contextmanager
def ending() -> Iterator[None]:
    """Turn errors into words on stderr and an exit code."""
    try:
        yield
    except CliError as error:
        complain(error)
        raise typer.Exit(error.code) from None
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except BrokenPipeError:
        # The reader has seen enough, as `head` does.
        with suppress(OSError):
            sys.stdout.close()
        raise typer.Exit(ExitCode.OK) from None


def complain(error: CliError) -> None:
    console = error_console()
    console.print(Text("error: ", "bold red").append(clean(error.message), "default"))
    for hint in error.hints:
        if hint:
            console.print(Text(f"  {clean(hint)}", "dim"))


def done(code: ExitCode) -> NoReturn:
    """End the command with an exit code that is no error."""
    raise typer.Exit(code)


def speech(cluster: Cluster) -> Speech:
    """How the commands that we print are to be typed here."""
    program = "kubectl bascule" if Path(sys.argv[0]).name.startswith("kubectl-bascule") else "bascule"
    return Speech(program, cluster.where.context or "", cluster.where.kubeconfig or "")


def complete_names(context: typer.Context, incomplete: str) -> list[str]:
    """Names of resources that begin like this: `web`, or `ib/web` once a kind is typed."""
    with suppress(CliError, OSError):
        where = Where(*(context.params.get(option) for option in ("namespace", "context", "kubeconfig")))
        cluster = Cluster.connect(where)
        word, slash, _ = incomplete.rpartition("/")
        kind = kinds.named(word) if slash else None
        return [
            f"{word}{slash}{name}"
            for each in ([kind] if kind else [] if slash else list(kinds.RUN_KINDS))
            for name in _names(cluster, each)
            if f"{word}{slash}{name}".startswith(incomplete)
        ]
    return []


def complete_kind(kind: Kind) -> Callable[[typer.Context, str], list[str]]:
    """Completion of the names of one kind's resources."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        with suppress(CliError, OSError):
            where = Where(*(context.params.get(option) for option in ("namespace", "context", "kubeconfig")))
            cluster = Cluster.connect(where)
            return [name for name in _names(cluster, kind) if name.startswith(incomplete)]
        return []

    return complete


def _names(cluster: Cluster, kind: Any) -> list[str]:
    with suppress(NotFoundError, ForbiddenError):
        found = cluster.list(kind, cluster.namespace, {"limit": str(_COMPLETION_LIMIT)})
        return [str(item["metadata"]["name"]) for item in found["items"]]
    return []


def complete_steps(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the steps of the resource that was typed before."""
    with suppress(CliError, OSError):
        where = Where(*(context.params.get(option) for option in ("namespace", "context", "kubeconfig")))
        cluster = Cluster.connect(where)
        reference = Reference.parse(str(context.params.get("name") or ""))
        for kind in [reference.kind] if reference.kind else kinds.RUN_KINDS:
            with suppress(NotFoundError, ForbiddenError):
                steps = cluster.get(kind, cluster.namespace, reference.name).get("status", {}).get("steps", [])
                return [step["name"] for step in steps if step["name"].startswith(incomplete)]
    return []


NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Name of the resource: `web`, or `ib/web` to say the kind.", autocompletion=complete_names
    ),
]
