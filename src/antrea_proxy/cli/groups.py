"""The command groups by their names. Imports none of them, nor typer, before one is asked for."""

from __future__ import annotations

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


def _module(name: str) -> str:
    return f"antrea_proxy.cli.{name.replace('-', '_')}"
