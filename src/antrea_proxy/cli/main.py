"""The command `antrea-proxy`: finds the command group by its first word and loads nothing else.

`lab exec` and `pod-server` are started many times, so they take a short way that loads neither typer nor rich.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import typer

COMMANDS: Final = {
    "agent": "Run the agent of one Node.",
    "lab": "Make a whole cluster on this machine, and use it.",
    "get": "Show what a Node's agent holds: Services, endpoints, flows, groups, Nodes, Pods.",
    "trace": "Tell the way of a Pod's packet, stage by stage.",
    "config": "Check an antrea-agent.conf.",
    "doctor": "Find what breaks Service traffic on a Node, and how to mend it.",
    "support-bundle": "Gather in one file what somebody else needs to see of a Node.",
    "cleanup": "Take off this Node what kube-proxy left there.",
    "install-cni": "Put the CNI plugin on this Node.",
    "windows-steps": "Write the PowerShell of a Windows Node's network stack.",
    "pod-server": "Answer over HTTP, UDP and SCTP: the lab's default container.",
}
"""Each is a module of this package (`-` as `_`) with a typer app `app`, or a function of the command's name."""

SHORT_WAYS: Final = frozenset({"pod-server"})
"""Commands that run without typer."""


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


def available() -> list[str]:
    """Give the commands that this installation has."""
    return [name for name in COMMANDS if find_spec(_module(name)) is not None]


def group(name: str) -> typer.Typer:
    """Load a command group."""
    import typer

    module = import_module(_module(name))
    found = getattr(module, "app", None)
    if isinstance(found, typer.Typer):
        return found
    single = typer.Typer(add_completion=False)
    single.command(epilog=getattr(module, "EXAMPLES", None))(getattr(module, name.replace("-", "_")))
    return single


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


def _module(name: str) -> str:
    return f"antrea_proxy.cli.{name.replace('-', '_')}"


def _load(module: str) -> Callable[..., int]:
    main: Callable[..., int] = import_module(module).main
    return main


def _run(command: typer.Typer, arguments: list[str], program: str) -> int:
    result = command(arguments, prog_name=program, standalone_mode=True)
    return result if isinstance(result, int) else 0
