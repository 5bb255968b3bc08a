"""The command line as a whole: `antrea-proxy --help`, `--version`, completion, and the complaint about a word."""

from __future__ import annotations

from typing import Annotated

import typer
import typer.core
import typer.main

from antrea_proxy import __version__
from antrea_proxy.cli.groups import COMMANDS, SHORT_WAYS, available, group

EXAMPLES = """
Examples:

  antrea-proxy lab up

  antrea-proxy get services --node node-1

  antrea-proxy trace shell-1 10.96.1.1:80 --node node-1

  antrea-proxy --install-completion
"""

_app = typer.Typer(no_args_is_help=True, epilog=EXAMPLES, rich_markup_mode=None)


def _tell_version(asked: bool) -> None:  # noqa: FBT001 - typer hands it over so
    if asked:
        typer.echo(f"antrea-proxy {__version__}")
        raise typer.Exit


@_app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None:
    """Kubernetes Service load balancing in Open vSwitch."""


def _named(name: str) -> typer.Typer:
    """The command group; a short way of main's, which has no typer app, stands here by its name alone."""
    if name not in SHORT_WAYS:
        return group(name)
    stand_in = typer.Typer(add_completion=False)
    stand_in.command(help=COMMANDS[name])(lambda: None)
    return stand_in


def run(arguments: list[str]) -> int:
    """Run the whole command, all of its groups loaded; returns the exit code."""
    root = typer.main.get_command(_app)
    assert isinstance(root, typer.core.TyperGroup)  # noqa: S101 - an app with a callback is one
    for name in available():
        root.add_command(typer.main.get_command(_named(name)), name)
    result = root.main(arguments, prog_name="antrea-proxy", standalone_mode=True)
    return result if isinstance(result, int) else 0
