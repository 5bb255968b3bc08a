"""The command `antrea-proxy`: finds the command group by its first word and loads nothing else.

`lab exec` and `pod-server` are started many times, so they take a short way that loads neither typer nor rich.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from antrea_proxy.cli.groups import available, group

if TYPE_CHECKING:
    import typer


def app() -> int:
    """Run the command line of this process; returns the exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["lab"]:
        name, arguments = hoist_name(arguments[1:])
        if arguments[:1] == ["exec"]:
            return _load("antrea_proxy.lab.exec_command")(arguments[1:], name)
        arguments = ["lab", *(["--name", name] if name is not None else []), *arguments]
    if arguments[:1] == ["pod-server"]:
        return _load("antrea_proxy.cli.pod_server")(arguments[1:])
    if arguments and arguments[0] in available():
        return _run(group(arguments[0]), arguments[1:], f"antrea-proxy {arguments[0]}")
    overview: Callable[[list[str]], int] = import_module("antrea_proxy.cli.overview").run
    return overview(arguments)


def hoist_name(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Take `--name NAME` out of the words before `--`, wherever it stands; the last one counts."""
    name = None
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += ["--", *words]
        elif word == "--name":
            name = next(words, "")
        elif word.startswith("--name="):
            name = word.removeprefix("--name=")
        else:
            rest.append(word)
    return name, rest


def _load(module: str) -> Callable[..., int]:
    main: Callable[..., int] = import_module(module).main
    return main


def _run(command: typer.Typer, arguments: list[str], program: str) -> int:
    result = command(arguments, prog_name=program, standalone_mode=True)
    return result if isinstance(result, int) else 0
