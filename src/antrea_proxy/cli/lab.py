"""`antrea-proxy lab`: make a cluster on this machine, look at it, use it, remove it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from antrea_proxy.lab import control_socket, lifecycle
from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.exec_command import EXAMPLES as EXEC_EXAMPLES
from antrea_proxy.lab.exec_command import host_netns
from antrea_proxy.lab.fault import FORBIDDEN_KIND, Fault
from antrea_proxy.lab.options import Datapath, EncapMode, IPFamily, Tunnel
from antrea_proxy.lab.places import DEFAULT_NAME, Places

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="A whole cluster on this machine: Nodes with their own Open vSwitch and agent, Pods, an API for kubectl.",
)
_USAGE = 2


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  antrea-proxy lab {line}" for line in lines)


@app.callback()
def _lab(
    context: typer.Context,
    name: Annotated[
        str, typer.Option(help="Which lab, where several exist side by side; anywhere before `--`.")
    ] = DEFAULT_NAME,
) -> None:
    with _errors():
        context.obj = Places(name=name)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except LabError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command(
    epilog=_examples(
        "up",
        "up --nodes 5 --encap-mode noEncap --ip-family ipv4",
        "up --tunnel vxlan --config antrea-agent.conf --name other",
    )
)
def up(
    context: typer.Context,
    nodes: Annotated[int | None, typer.Option(help="Number of Nodes, 1 to 99 [3].")] = None,
    encap_mode: Annotated[EncapMode | None, typer.Option(help="How Nodes carry Pods' packets [encap].")] = None,
    tunnel: Annotated[Tunnel | None, typer.Option(help="The tunnel's type with encap [geneve].")] = None,
    ip_family: Annotated[IPFamily | None, typer.Option(help="The cluster's address families [dual].")] = None,
    datapath: Annotated[
        Datapath | None, typer.Option(help="Where switches forward: netdev in userspace, system in the kernel [auto].")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="An antrea-agent.conf for the ConfigMap kube-system/antrea-config.")
    ] = None,
    clients: Annotated[int | None, typer.Option(help="Hosts outside of the cluster, 0 to 99 [1].")] = None,
    subnets: Annotated[int | None, typer.Option(help="Subnets of the underlay [1].")] = None,
    zones: Annotated[int | None, typer.Option(help="Zones that the Nodes are spread over [2; of one Node 1].")] = None,
) -> None:
    """Make a lab; one that is up already is left as it is."""
    places: Places = context.obj
    asked: dict[str, Any] = {
        "nodes": nodes,
        "encap_mode": encap_mode,
        "tunnel": tunnel,
        "ip_family": ip_family,
        "datapath": datapath,
        "clients": clients,
        "subnets": subnets,
        "zones": 1 if zones is None and nodes == 1 else zones,
    }
    asked = {key: value for key, value in asked.items() if value is not None}
    with _errors():
        if config is not None:
            try:
                asked["config"] = config.read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise LabError(f"--config {config} cannot be read: {error}") from error
        with _progress() as progress:
            made = lifecycle.up(places, asked, progress)
        status = control_socket.ask(places, "status")
    state = f"is up: made in {status['upSeconds']:.1f} s" if made else "was up already"
    nodes_up = sum(node["ready"] for node in status["nodes"])
    typer.echo(f"The lab {places.name!r} {state}, {nodes_up} of {len(status['nodes'])} Nodes ready.")
    option = "" if places.name == DEFAULT_NAME else f" --name {places.name}"
    typer.echo(f"  export KUBECONFIG=$(antrea-proxy lab kubeconfig{option})")


@contextmanager
def _progress() -> Iterator[lifecycle.Progress]:
    if not sys.stderr.isatty():
        yield lambda step: typer.echo(f"- {step}", err=True)
        return
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("starting") as status:

        def step(text: str) -> None:
            console.print(f"[green]·[/green] {text}", highlight=False)
            status.update(text)

        yield step


@app.command(epilog=_examples("down", "down --name other"))
def down(context: typer.Context) -> None:
    """Remove the lab, alive, dead or half made: namespaces, processes, files."""
    places: Places = context.obj
    with _errors():
        removed = lifecycle.down(places)
    typer.echo(f"The lab {places.name!r} is gone." if removed else f"There is no lab {places.name!r}.")


@app.command(epilog="\b\nExamples:\n  export KUBECONFIG=$(antrea-proxy lab kubeconfig)")
def kubeconfig(context: typer.Context) -> None:
    """Print the path of the kubeconfig for this machine's kubectl."""
    places: Places = context.obj
    with _errors():
        if not places.kubeconfig.is_file():
            raise LabError(control_socket.no_lab_message(places))
    typer.echo(places.kubeconfig)


@app.command("exec", epilog="\b\n" + EXEC_EXAMPLES)
def exec_() -> None:
    """Run a command in a Pod, on a Node or on a client."""


@app.command(epilog=_examples("status", "status --check", "status -o json | jq '.problems'"))
def status(
    context: typer.Context,
    output: Annotated[str, typer.Option("-o", "--output", help="`json`, or nothing for people.")] = "",
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Also ask the CNI plugin whether each Pod is still wired as it was.")
    ] = False,
) -> None:
    """Show Nodes, agents, Pods, addresses, and what is not healthy and why; exit code 1 where something is not."""
    if output not in {"", "json"}:
        typer.echo(f"error: -o {output}: there is json, or leave it out", err=True)
        raise typer.Exit(_USAGE)
    with _errors():
        found = control_socket.ask(context.obj, "status", check=check)
    if output == "json":
        typer.echo(json.dumps(found, indent=2))
    else:
        from antrea_proxy.cli.lab_status import show

        show(found)
    if not found["healthy"]:
        raise typer.Exit(1)


@app.command(epilog=_examples("logs node-1", "logs node-2 -f"))
def logs(
    context: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE", help="The Node's name, such as node-1.")],
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines are written.")] = False,
) -> None:
    """Print the log of a Node's agent."""
    places: Places = context.obj
    with _errors():
        host_netns(places, node, "Node")
        log = places.node(node).agent_log
        if not follow:
            with log.open("rb") as lines:
                shutil.copyfileobj(lines, sys.stdout.buffer)
            return
        subprocess.run(["tail", "-n", "+1", "-F", str(log)], check=False)


@app.command(
    epilog=_examples(
        "restart agent node-1",
        "restart agent node-1 --program /opt/antrea-proxy-0.2/bin/antrea-proxy",
        "restart switch node-2 --kill",
        "restart node node-2",
    )
)
def restart(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="agent|switch|node", help="The agent, ovs-vswitchd, or all of it.")],
    node: Annotated[str, typer.Argument(metavar="NODE", help="The Node's name, such as node-1.")],
    *,
    kill: Annotated[bool, typer.Option("--kill", help="With SIGKILL instead of SIGTERM, as a Node always is.")] = False,
    program: Annotated[
        Path | None,
        typer.Option(help="The antrea-proxy that runs as this Node's agent from now on: an upgrade [this one]."),
    ] = None,
) -> None:
    """Restart a Node's agent (it reads the ConfigMap kube-system/antrea-config as it is now) or its switch.

    A Node restarts as by its reset button: all its processes and its network go, Pods come back with new addresses, and
    only the switch's database stays.
    """
    if what not in {"agent", "switch", "node"}:
        typer.echo(f"error: {what!r} is neither agent nor switch nor node", err=True)
        raise typer.Exit(_USAGE)
    if program is not None:
        if what != "agent":
            typer.echo("error: --program is for the agent; the switch is the machine's own", err=True)
            raise typer.Exit(_USAGE)
        if not os.access(program, os.X_OK) or program.is_dir():
            typer.echo(f"error: --program {program}: there is no such program, or it may not be run", err=True)
            raise typer.Exit(_USAGE)
    given = {} if program is None else {"program": str(program.absolute())}
    with _errors():
        answer = control_socket.ask(context.obj, "restart", what=what, node=node, kill=kill, **given)
    for overridden in answer.get("overridden", ()):
        typer.echo(f"note: the lab overrides antrea-agent.conf: {overridden}", err=True)
    typer.echo(f"{node} runs again." if what == "node" else f"The {what} of {node} runs again.")


@app.command(epilog=_examples("route client-1 --via node-1", "route client-1 --via node-1,node-3"))
def route(
    context: typer.Context,
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="The client's name, such as client-1.")],
    via: Annotated[str, typer.Option(metavar="NODE[,NODE…]", help="The Nodes, by ECMP.")],
) -> None:
    """Choose the Nodes by which a client reaches load-balancer and external addresses."""
    nodes = [name.strip() for name in via.split(",") if name.strip()]
    if not nodes:
        typer.echo("error: --via names no Node", err=True)
        raise typer.Exit(_USAGE)
    with _errors():
        control_socket.ask(context.obj, "route", client=client, via=nodes)
    typer.echo(f"{client} reaches load-balancer and external addresses via {', '.join(nodes)}.")


@app.command(
    epilog=_examples("fault drop-watches", "fault off", "fault busy --for 30", "fault forbid --kind services")
    + "\n\n\b\nFaults:\n"
    + "\n".join(f"  {fault.value:<13} {fault.meaning}" for fault in Fault)
)
def fault(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="FAULT|off", help="What goes wrong, or `off`.")],
    seconds: Annotated[
        float | None, typer.Option("--for", min=0, help="Wait so many seconds and switch it off again.")
    ] = None,
    kind: Annotated[
        str, typer.Option(metavar="PLURAL", help="Of what `forbid` refuses lists and watches, such as `services`.")
    ] = FORBIDDEN_KIND,
) -> None:
    """Have the API server fail the agents, until the fault is switched off; kubectl goes on as before."""
    if what not in {*Fault, "off"}:
        typer.echo(f"error: {what!r} is no fault: choose {', '.join(Fault)} or off", err=True)
        raise typer.Exit(_USAGE)
    with _errors():
        control_socket.ask(context.obj, "fault", fault=None if what == "off" else what, kind=kind)
        if what != "off" and seconds is not None:
            try:
                time.sleep(seconds)
            finally:
                control_socket.ask(context.obj, "fault", fault=None)
            what = "off"
    typer.echo(
        "The API server answers the agents again." if what == "off" else f"For the agents, {Fault(what).meaning}."
    )
