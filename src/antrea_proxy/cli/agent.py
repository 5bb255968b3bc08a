"""`antrea-proxy agent`: the Node's agent, and the removal of all that it put on the Node."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated

import typer

from antrea_proxy.cni.pod_ports import PodPorts

EXAMPLES = """
Examples:

  antrea-proxy agent --config /etc/antrea/antrea-agent.conf --kubeconfig /etc/kubernetes/agent.conf

  antrea-proxy agent --config antrea-agent.conf --node-name node-1 --manifests ./cluster

  antrea-proxy agent --cleanup --config /etc/antrea/antrea-agent.conf
"""


def agent(
    config: Annotated[Path, typer.Option(help="antrea-agent.conf", exists=True, dir_okay=False)],
    node_name: Annotated[
        str, typer.Option(envvar="NODE_NAME", help="This Node's name in the cluster; by default the host name.")
    ] = "",
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="How to reach the API server; by default the Pod's ServiceAccount.", dir_okay=False),
    ] = None,
    manifests: Annotated[
        Path | None, typer.Option(help="A directory of YAML instead of an API server.", exists=True, file_okay=False)
    ] = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Remove flows and groups of others from the bridge.")
    ] = False,
    pod_ports: Annotated[
        PodPorts,
        typer.Option(
            envvar="ANTREA_PROXY_POD_PORTS",
            help="How the userspace datapath reads new Pods' interfaces: afpacket, or afxdp (experimental).",
        ),
    ] = PodPorts.AF_PACKET,
    cleanup: Annotated[
        bool, typer.Option("--cleanup", help="Remove all that the agent put on this Node, and end.")
    ] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error")] = "info",
) -> None:
    """Run the agent of one Node: Services from the API server, balanced by the Node's Open vSwitch."""
    from antrea_proxy.cli.logs import configure_logs, fail
    from antrea_proxy.cli.settings_file import settings_of

    configure_logs(log_level)
    if kubeconfig is not None and manifests is not None:
        fail("--kubeconfig and --manifests exclude each other: give one of them", code=2)

    settings = settings_of(config)

    from antrea_proxy import main

    if cleanup:
        work = main.clean_up(settings)
    else:
        work = main.run_agent(
            main.AgentOptions(
                settings=settings,
                node_name=node_name or socket.gethostname().lower(),
                kubeconfig=kubeconfig,
                manifests=manifests,
                environment=dict(os.environ),
                take_over=take_over,
                pod_ports=pod_ports,
            )
        )
    try:
        asyncio.run(_until_terminated(work))
    except main.STARTING_ERRORS as error:
        fail(str(error))


async def _until_terminated(work: Coroutine[object, object, None]) -> None:
    """Run until the work ends or the process is asked to; what the agent put into the switch stays there."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a task group: its other tasks only ended because of it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
