"""Which agent a command asks, and how a command ends when it cannot."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from antrea_proxy.cli.api_client import (
    DEFAULT_SOCKET,
    SOCKET_VARIABLE,
    AgentApi,
    AgentRefusedError,
    AgentUnreachableError,
    socket_path,
)
from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.places import DEFAULT_NAME, Places

API_SOCKET: Final = "api.sock"

SocketOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--socket", help=f"The agent's socket [${SOCKET_VARIABLE}, {DEFAULT_SOCKET}].", show_default=False),
]
NodeOption: TypeAlias = Annotated[
    str | None, typer.Option("--node", help="Ask the agent of this Node of a lab on this machine.", show_default=False)
]
LabOption: TypeAlias = Annotated[str, typer.Option("--lab", help="Which lab --node is of.")]


def examples(*lines: str) -> str:
    """Write examples for a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  antrea-proxy {line}" for line in lines)


def agent_api(socket: Path | None, node: str | None, lab: str) -> AgentApi:
    """Return the API of the agent that was asked for; --socket and --node exclude each other."""
    if node is None:
        return AgentApi(socket_path=socket_path(socket))
    if socket is not None:
        raise typer.BadParameter("give --socket or --node, not both")
    try:
        places = Places(name=lab)
    except LabError as error:
        raise typer.BadParameter(str(error)) from error
    found = _lab_socket(places, node)
    if not found.exists() and node not in lab_nodes(places):
        there = ", ".join(lab_nodes(places))
        hint = f"it has {there}" if there else "it is not up (antrea-proxy lab up)"
        raise AgentUnreachableError(f"the lab {lab!r} has no Node {node!r}: {hint}")
    return AgentApi(socket_path=found)


def possible_apis(socket: Path | None, node: str | None, lab: str) -> tuple[AgentApi, ...]:
    """Return the agents to ask one after the other: of a lab on this machine all, where no agent was named or runs."""
    named = socket is not None or node is not None or SOCKET_VARIABLE in os.environ
    if not named and not DEFAULT_SOCKET.exists():
        places = Places(name=DEFAULT_NAME)
        found = tuple(AgentApi(socket_path=_lab_socket(places, name)) for name in lab_nodes(places))
        if found:
            return found
    return (agent_api(socket, node, lab),)


def lab_nodes(places: Places) -> list[str]:
    """Return the names of a lab's Nodes; none where no lab is up."""
    try:
        folders = list(places.directory.iterdir())
    except OSError:
        return []
    return sorted(folder.name for folder in folders if (folder / "agent").is_dir())


@contextmanager
def answered() -> Iterator[None]:
    """Turn what keeps a command from its answer into a message and an exit code: 1, or 130 for Ctrl-C."""
    try:
        yield
    except AgentUnreachableError as error:
        nodes = lab_nodes(Places())
        hint = f"; a lab is up here: --node {nodes[0]} asks its agent" if nodes and "--node" not in sys.argv else ""
        typer.echo(f"error: {error}{hint}", err=True)
        raise typer.Exit(1) from None
    except AgentRefusedError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _lab_socket(places: Places, node: str) -> Path:
    return places.node(node).cni_socket.parent / API_SOCKET
