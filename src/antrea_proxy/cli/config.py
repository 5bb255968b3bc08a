"""`antrea-proxy config`: an antrea-agent.conf checked without an agent, and the one that an agent runs with."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from antrea_proxy.cli.agents import LabOption, NodeOption, SocketOption, agent_api, answered, examples

if TYPE_CHECKING:
    from antrea_proxy.settings import Problem

_STDIN: Final = "-"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="An antrea-agent.conf: checked without an agent, or as a running agent has it.",
)


class Format(StrEnum):
    """How settings are written."""

    YAML = "yaml"
    JSON = "json"


@app.command(
    epilog=examples(
        "config check antrea-agent.conf",
        "config check antrea.yml          # the ConfigMap antrea-config, or a manifest that holds it",
        "kubectl get configmap antrea-config -n kube-system -o yaml | antrea-proxy config check -",
    ).replace("antrea-proxy kubectl", "kubectl")
)
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="antrea-agent.conf, or its ConfigMap; - reads stdin.")],
) -> None:
    """Tell all that is wrong with an antrea-agent.conf at once, and which of its keys decide nothing here.

    Exit code: 0 if an agent would start with it, 1 if not.
    """
    from antrea_proxy import settings

    shown = "stdin" if file == _STDIN else file
    try:
        parsed = settings.parse(_read(file))
    except settings.SettingsError as error:
        _end_with(shown, error.problems)
    except OSError as error:
        _fail(f"{shown}: {error.strerror}")
    except UnicodeDecodeError:
        _fail(f"{shown}: it is not UTF-8")
    if parsed.not_used:
        typer.echo(f"{shown}: not used here: {', '.join(parsed.not_used)}")
    typer.echo(f"{shown}: ok")


@app.command(epilog=examples("config show", "config show -o json", "config show --node node-2"))
def show(
    *,
    output: Annotated[Format, typer.Option("--output", "-o", help="How to write it.")] = Format.YAML,
    socket: SocketOption = None,
    node: NodeOption = None,
    lab: LabOption = None,
) -> None:
    """Show the settings that a running agent has, defaults too, as antrea-agent.conf writes them."""
    with answered():
        found = agent_api(socket, node, lab).get("/v1/config")
        if output is Format.JSON:
            typer.echo(json.dumps(found["settings"], indent=2))
            return
        import yaml

        typer.echo(yaml.safe_dump(found["settings"], sort_keys=False), nl=False)
        for key in found["notUsed"]:
            typer.echo(f"# not used: {key}")


def _read(file: str) -> str:
    """Read the file. An empty one sets nothing, which is fine; of a pipe, it is what a command that failed leaves."""
    if file != _STDIN:
        return Path(file).read_text(encoding="utf-8")
    text = sys.stdin.read()
    if not text.strip():
        _fail("stdin: nothing came in; see what the command before it says")
    return text


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)


def _end_with(shown: str, problems: Sequence[Problem]) -> NoReturn:
    for problem in problems:
        typer.echo(f"{shown}: {problem}", err=True)
    count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    typer.echo(f"{shown}: {count}: an agent does not start with it", err=True)
    raise typer.Exit(1)
