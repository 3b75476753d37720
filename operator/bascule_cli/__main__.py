"""The command line: `bascule`, and `kubectl bascule` when it is installed as a plugin."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from bascule_api import names
from bascule_cli import completion, tenants
from bascule_cli.verbs import approvals, campaigns, drills, explain, get, history, logs, runs

HELP = """Golden images, patch campaigns and recovery drills as Kubernetes resources, run by Temporal workflows.

It acts with your own rights in the cluster of your kubeconfig, as kubectl does; `kubectl bascule` is the same command.
A resource is called by its name, `web`, or by kind and name, `ib/web`.

Exit codes: 0 as asked, or under way; 1 the answer is no (it failed, did not count, there is nothing to decide); 2 wrong
command line; 3 not found; 4 not allowed (the message names the right); 5 not in time; 6 no answer from the cluster.
"""

app = typer.Typer(
    name="bascule",
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)
for group in (get, explain, approvals, campaigns, drills, runs, logs, history, completion):
    group.register(app)
app.add_typer(tenants.app, name="tenant")


@app.command()
def version(short: Annotated[bool, typer.Option("--short", help="Only the number.")] = False) -> None:
    """Print the version of this command and of the API it speaks."""
    number = installed_version("bascule")
    typer.echo(number if short else f"bascule {number} ({names.API_VERSION})")


def main() -> None:
    app()


def complete_for_kubectl() -> None:
    completion.for_kubectl(app)


if __name__ == "__main__":
    main()
