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
LabOption: TypeAlias = Annotated[
    str | None, typer.Option("--lab", help=f"Which lab --node is of [{DEFAULT_NAME}].", show_default=False)
]


def examples(*lines: str) -> str:
    """Write examples for a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  antrea-proxy {line}" for line in lines)


def agent_api(socket: Path | None, node: str | None, lab: str | None) -> AgentApi:
    """Return the API of the agent that was asked for; --socket and --node exclude each other."""
    if socket is not None and (node is not None or lab is not None):
        raise typer.BadParameter("give --socket or --node, not both")
    if node is None and lab is not None:
        raise typer.BadParameter("--lab needs --node: each Node has an agent of its own")
    if node is None:
        return AgentApi(socket_path=socket_path(socket))
    return AgentApi(socket_path=_lab_socket(node_of_lab(node, lab), node))


def node_of_lab(node: str, lab: str | None) -> Places:
    """Return the places of the lab that has the Node.

    Raises AgentUnreachableError where it has none of that name.
    """
    places = _places(lab)
    if node not in lab_nodes(places):
        raise AgentUnreachableError(f"the lab {places.name!r} has no Node {node!r}: {_what_it_has(places)}")
    return places


def possible_apis(socket: Path | None, node: str | None, lab: str | None) -> tuple[AgentApi, ...]:
    """Return the agents to ask in turn: all of a lab, if it was named, or if no agent was and none runs here."""
    if node is None and socket is None:
        places = _places(lab)
        apis = tuple(AgentApi(socket_path=_lab_socket(places, name)) for name in lab_nodes(places))
        if lab is not None and not apis:
            raise AgentUnreachableError(f"the lab {places.name!r} has no Nodes: {_what_it_has(places)}")
        if lab is not None or (apis and SOCKET_VARIABLE not in os.environ and not DEFAULT_SOCKET.exists()):
            return apis
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


def _places(lab: str | None) -> Places:
    try:
        return Places(name=DEFAULT_NAME if lab is None else lab)
    except LabError as error:
        raise typer.BadParameter(str(error)) from error


def _what_it_has(places: Places) -> str:
    there = ", ".join(lab_nodes(places))
    return f"it has {there}" if there else "it is not up (antrea-proxy lab up)"


def _lab_socket(places: Places, node: str) -> Path:
    return places.node(node).cni_socket.parent / API_SOCKET
