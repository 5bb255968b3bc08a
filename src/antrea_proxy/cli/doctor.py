"""`antrea-proxy doctor`: what breaks Service traffic on a Node, and how to mend it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from antrea_proxy.cli.agents import LabOption, NodeOption, SocketOption, agent_api, examples, node_of_lab
from antrea_proxy.cli.api_client import AgentApi, AgentRefusedError, AgentUnreachableError
from antrea_proxy.cli.logs import fail
from antrea_proxy.cli.settings_file import settings_of

if TYPE_CHECKING:
    from antrea_proxy.doctor.facts import AgentFacts
    from antrea_proxy.doctor.findings import Finding
    from antrea_proxy.settings import Settings

DEFAULT_CONFIG: Final = Path("/etc/antrea/antrea-agent.conf")
"""Read where no agent answers and no other file is named."""

_PROBE_SECONDS: Final = 10.0
_WORKED_OUT: Final = ("tunnelPort", "defaultMTU")
"""Keys that a running agent shows as 0 where they are not set; the file leaves them out then."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Format(StrEnum):
    """How findings are written."""

    JSON = "json"


@app.command(
    epilog=examples(
        "doctor",
        "doctor -o json",
        "doctor --node node-1              # a Node of the lab on this machine",
        "doctor --config antrea-agent.conf --kubeconfig agent.conf      # before the agent is started",
    )
)
def doctor(
    *,
    output: Annotated[Format | None, typer.Option("--output", "-o", help="For programs.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Judge by this antrea-agent.conf, not by the running agent's.", exists=True, dir_okay=False),
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="How to reach the API server.", exists=True, dir_okay=False)
    ] = None,
    socket: SocketOption = None,
    node: NodeOption = None,
    lab: LabOption = None,
) -> None:
    """Look at this Node, and tell what breaks Service traffic on it. Changes nothing.

    Exit code: 0 if nothing is wrong (notes aside), 1 if something is.
    """
    from antrea_proxy.doctor.examination import examine
    from antrea_proxy.doctor.facts import Facts
    from antrea_proxy.host.errors import HostError

    try:
        api = agent_api(socket, node, lab)
        if node is not None:
            kubeconfig = _enter(node, lab, kubeconfig)
    except AgentUnreachableError as error:
        fail(str(error))
    told, shown = _ask(api)
    settings = _settings(config, shown)
    try:
        facts, problem = asyncio.run(_look(settings, kubeconfig))
    except HostError as error:
        fail(f"this Node cannot be looked at: {error} (it takes root)")
    findings = examine(Facts(node=facts, agent=told, settings=settings, api_server=problem))
    if output is Format.JSON:
        typer.echo(json.dumps({"findings": [_plain(finding) for finding in findings]}, indent=2))
    else:
        _tell(findings)
    if any(finding.severity.value != "note" for finding in findings):
        raise typer.Exit(1)


def _enter(node: str, lab: str | None, kubeconfig: Path | None) -> Path:
    """Become a process of a lab's Node, as far as its network goes; return the kubeconfig to use."""
    from antrea_proxy.lab import namespaces

    places = node_of_lab(node, lab)
    namespaces.setns(places.netns(node), namespaces.CLONE_NEWNET)
    return kubeconfig or places.node(node).kubeconfig


def _ask(api: AgentApi) -> tuple[AgentFacts | str, dict[str, Any] | None]:
    """What the agent tells, and its settings; in words, if it does not."""
    import msgspec

    from antrea_proxy.doctor import facts

    try:
        status = api.get("/v1/status")
        lists = {name: api.get(f"/v1/{name}")["items"] for name in ("services", "nodes", "pods")}
        shown: dict[str, Any] = api.get("/v1/config")["settings"]
    except (AgentUnreachableError, AgentRefusedError) as error:
        return str(error), None
    return (
        facts.AgentFacts(
            status=msgspec.convert(status, facts.ToldStatus),
            services=msgspec.convert(lists["services"], tuple[facts.ToldService, ...]),
            nodes=msgspec.convert(lists["nodes"], tuple[facts.ToldNode, ...]),
            pods=msgspec.convert(lists["pods"], tuple[facts.ToldPod, ...]),
            now=time.time(),
        ),
        shown,
    )


def _settings(config: Path | None, shown: dict[str, Any] | None) -> Settings:
    """The settings to judge by: of the file that is named, of the agent, of the usual file, or the defaults."""
    from antrea_proxy import settings as room

    if config is None and shown is not None:
        import yaml

        given = {key: value for key, value in shown.items() if value or key not in _WORKED_OUT}
        return room.parse(yaml.safe_dump(given))
    path = config or DEFAULT_CONFIG
    return settings_of(path) if path.exists() else room.Settings()


async def _look(settings: Settings, kubeconfig: Path | None) -> Any:  # noqa: ANN401 - a pair of values of rooms that load late
    from antrea_proxy.host.netlink import Netlink
    from antrea_proxy.host.nft import Nft
    from antrea_proxy.host.node_facts import node_facts
    from antrea_proxy.network.values import REFUSAL_PORT
    from antrea_proxy.ovsdb.datapath import kernel_has_openvswitch

    found = await node_facts(
        Netlink(),
        Nft(),
        ours=frozenset({settings.host_gateway, REFUSAL_PORT}),
        openvswitch=kernel_has_openvswitch(),
    )
    return found, await _api_server_problem(settings.kube_api_server_override, kubeconfig)


async def _api_server_problem(override: str, kubeconfig: Path | None) -> str:
    """Say why the API server cannot be reached, or not be trusted; empty if it can, or nobody knows where it is.

    An answer that refuses us is one: who may do what is not a matter of the way there.
    """
    from antrea_proxy.sources import AccessError, ApiClient, SourceError, cluster_access
    from antrea_proxy.sources.access import ClusterAccess
    from antrea_proxy.sources.client import Request
    from antrea_proxy.sources.errors import RefusedError

    try:
        access = cluster_access(kubeconfig, os.environ)
    except AccessError as error:
        if kubeconfig is not None:
            return str(error)
        if not override:
            return ""
        access = ClusterAccess(server=override, origin="kubeAPIServerOverride", verify="nothing")
    try:
        async with ApiClient(access, server_override=override) as client, asyncio.timeout(_PROBE_SECONDS):
            await client.fetch(Request(path="/version"))
    except RefusedError:
        return ""
    except TimeoutError:
        return f"{override or access.server}: no answer within {_PROBE_SECONDS:g} s"
    except (AccessError, SourceError) as error:
        return str(error)
    return ""


def _tell(findings: tuple[Finding, ...]) -> None:
    if not findings:
        typer.echo("nothing is wrong on this Node")
    for finding in findings:
        typer.echo(f"{finding.severity.value}: {finding.check}: {finding.what}")
        typer.echo(f"    {finding.mend}")


def _plain(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check,
        "severity": finding.severity.value,
        "what": finding.what,
        "mend": finding.mend,
    }
