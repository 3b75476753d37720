"""The command line: `bascule`, and `kubectl bascule` when it is installed as a plugin."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from bascule_api import names
from bascule_cli import tenants

app = typer.Typer(
    name="bascule",
    help="Golden images, patch campaigns and recovery drills as Kubernetes resources, run by Temporal workflows.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)
app.add_typer(tenants.app, name="tenant")


@app.command()
def version(short: Annotated[bool, typer.Option("--short", help="Only the number.")] = False) -> None:
    """Print the version of this command and of the API it speaks."""
    number = installed_version("bascule")
    typer.echo(number if short else f"bascule {number} ({names.API_VERSION})")


def main() -> None:
    app()


if __name__ == "__main__":
    main()
