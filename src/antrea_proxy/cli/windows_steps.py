"""`antrea-proxy windows-steps`: what a Windows Node's network stack must hold for a cluster, as PowerShell."""

from __future__ import annotations

import asyncio
from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from antrea_proxy.cli.logs import fail
from antrea_proxy.cli.settings_file import settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antrea_proxy.host.windows.desired import WindowsState
    from antrea_proxy.kubernetes.cluster import ClusterState
    from antrea_proxy.kubernetes.kinds import Kind, ObjectT
    from antrea_proxy.settings import Settings
    from antrea_proxy.sources.manifests import ManifestSource

EXAMPLES = """
Examples:

  antrea-proxy windows-steps --node-name win-1 --manifests ./cluster

  antrea-proxy windows-steps --node-name win-1 --manifests ./cluster --since ./cluster-before --config antrea-agent.conf
"""


def windows_steps(
    node_name: Annotated[str, typer.Option(help="The Windows Node.")],
    manifests: Annotated[
        Path, typer.Option(help="A directory of YAML: Nodes and Services.", exists=True, file_okay=False)
    ],
    since: Annotated[
        Path | None,
        typer.Option(
            help="What the Node holds already, as such a directory: only what differs is written.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    mtu: Annotated[int, typer.Option(help="Of the interface with the Node's own address, in bytes.", min=1280)] = 1500,
    config: Annotated[
        Path | None,
        typer.Option(
            help="antrea-agent.conf; by default, proxyAll is on.", exists=True, dir_okay=False, readable=False
        ),
    ] = None,
) -> None:
    """Write the PowerShell of a Windows Node's stack: gateway, routes, neighbours, and NetNat for NodePorts.

    What Windows cannot do, and what is wrong with a Service, is told on stderr. Exit code: 0, or 1, without any step,
    if the configuration or a part of the manifests cannot be used, or if the Node has no network.
    """
    from antrea_proxy.host.windows.powershell import first_steps, steps
    from antrea_proxy.settings import parse

    settings = parse("antreaProxy: {proxyAll: true}\n") if config is None else settings_of(config)
    after, problems = asyncio.run(_state(manifests, node_name, mtu, settings))
    before = None if since is None else asyncio.run(_state(since, node_name, mtu, settings))[0]
    for text in (*problems, *(f"left out: {each}" for each in after.left_out)):
        typer.echo(f"antrea-proxy: {text}", err=True)
    for step in first_steps(after) if before is None else steps(before, after):
        typer.echo(step)


async def _state(manifests: Path, node_name: str, mtu: int, settings: Settings) -> tuple[WindowsState, Sequence[str]]:
    """Give what the Node must hold, and what is wrong with Services."""
    from antrea_proxy.host.services import Demands
    from antrea_proxy.host.windows.desired import desired_windows
    from antrea_proxy.network.desired import desired_network
    from antrea_proxy.network.values import Network, Uplink
    from antrea_proxy.proxy.frontends import Rules
    from antrea_proxy.proxy.selection import parse_address
    from antrea_proxy.proxy.service_ports import service_ports

    cluster = await _cluster(manifests)
    node = cluster.nodes.get(node_name)
    texts = [item.address for item in node.status.addresses if item.type == "InternalIP"] if node is not None else []
    addresses = tuple(ip_interface(address) for text in texts if (address := parse_address(text)) is not None)
    uplinks = [Uplink(name="Ethernet", mtu=mtu, addresses=addresses)]
    network = desired_network(cluster.nodes.values(), node_name, settings, uplinks, ())
    if not isinstance(network, Network):
        fail(*(f"{manifests}: {problem}" for problem in network.problems))
    rules, demands = Rules.of(settings), Demands()
    ports = {name: service_ports(name, cluster, rules) for name in cluster.services}
    demands.take(ports)
    problems = [problem.text for item in ports.values() for problem in item.problems]
    return desired_windows(network, demands.wanted), problems


async def _cluster(manifests: Path) -> ClusterState:
    from antrea_proxy.kubernetes.cluster import ClusterState
    from antrea_proxy.kubernetes.kinds import NODES, SERVICES
    from antrea_proxy.sources.manifests import ManifestSource
    from antrea_proxy.sources.status import SourceStatus

    problems: dict[str, None] = {}  # each once: what is wrong with a file comes with either kind

    def note(status: SourceStatus) -> None:
        problems.update(dict.fromkeys(f"{manifests}: {each}" for each in (*status.problems, *status.undecodable)))
        if problems and status.connected_since is None:  # the directory itself, for which the source would wait
            fail(*problems)

    source = ManifestSource(directory=manifests, on_status=note)
    cluster = ClusterState()
    cluster.list_nodes(await _listed(source, NODES))
    cluster.list_services(await _listed(source, SERVICES))
    if problems:
        fail(*problems)
    return cluster


async def _listed(source: ManifestSource, kind: Kind[ObjectT]) -> Sequence[ObjectT]:
    """Give what a watch begins with."""
    from antrea_proxy.kubernetes.events import Listed

    first, *_ = await anext(source.watch(kind))
    assert isinstance(first, Listed)  # noqa: S101 - as every Source
    return first.objects
