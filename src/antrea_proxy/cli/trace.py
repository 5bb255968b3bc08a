"""`antrea-proxy trace`: the way of a Pod's packet, in words."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

import typer

from antrea_proxy.cli.agents import LabOption, NodeOption, SocketOption, answered, examples, possible_apis
from antrea_proxy.cli.api_client import AgentApi, AgentRefusedError
from antrea_proxy.cli.get import DEFAULT_NAMESPACE

_TARGET: Final = re.compile(r"(?:\[([^\]]+)\]|([^\[\]:/]+)):([^:/]+)(?:/([A-Za-z]+))?")
_SHOWN: Final = 10
"""As many endpoints are named of a long choice."""

_NOT_FOUND: Final = 404
_INDENT: Final = 11

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Format(StrEnum):
    """How a trace is written."""

    WIDE = "wide"
    JSON = "json"


class Target(NamedTuple):
    """Where a connection is to go: `host` is an address or a Service, `namespace` is only of a Service."""

    host: str
    namespace: str
    port: str
    protocol: str


def parse_target(text: str) -> Target:
    """Read ADDRESS:PORT[/PROTOCOL] or SERVICE[.NAMESPACE]:PORT[/PROTOCOL]; an IPv6 address stands in brackets.

    Raises ValueError.
    """
    found = _TARGET.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r}: write ADDRESS:PORT, [IPV6-ADDRESS]:PORT or SERVICE[.NAMESPACE]:PORT, then perhaps /UDP"
        )
    bracketed, plain, port, protocol = found.groups()
    host, namespace = bracketed or plain, ""
    if bracketed is None and not re.fullmatch(r"[0-9.]+", host):
        host, _, namespace = host.partition(".")
        namespace = namespace.removesuffix(".cluster.local").removesuffix(".svc")
    return Target(host, namespace, port, (protocol or "").upper())


@app.command(
    epilog=examples(
        "trace client 10.96.0.10:80",
        "trace client web.shop:http -n default",
        "trace client '[fd00:10:96::a]:53/UDP'",
        "trace client web:80 -o wide          # table by table, and the switch's own words",
        "trace client web:80 --choice 7       # another value of the hash: perhaps another endpoint",
    )
)
def trace(
    pod: Annotated[str, typer.Argument(metavar="POD", help="Where the connection begins.")],
    target: Annotated[
        str, typer.Argument(metavar="ADDRESS:PORT[/PROTOCOL]", help="Where it goes; also SERVICE[.NAMESPACE]:PORT.")
    ],
    *,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The Pod's.")] = DEFAULT_NAMESPACE,
    output: Annotated[Format | None, typer.Option("--output", "-o", help="Table by table, or all there is.")] = None,
    choice: Annotated[int, typer.Option(min=1, max=0xFFFFFFFF, help="Stands for the hash of the connection.")] = 1,
    socket: SocketOption = None,
    node: NodeOption = None,
    lab: LabOption = None,
) -> None:
    """Tell the way of a connection's first packet: Service, choice, endpoint, NAT, output, reply.

    It is worked out from the compiled tables, and compared with the switch's own ofproto/trace.
    """
    try:
        wanted = parse_target(target)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    body = {
        "namespace": namespace,
        "pod": pod,
        "address": wanted.host,
        "serviceNamespace": wanted.namespace,
        "port": wanted.port,
        "protocol": wanted.protocol,
        "choice": choice,
    }
    with answered():
        found = _first_answer(possible_apis(socket, node, lab), body)
        if output is Format.JSON:
            typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
            return
        _write(found)
        if output is Format.WIDE:
            _write_steps("The packet, table by table:", found["steps"])
            _write_steps("Its reply:", found["reply"])
            if found["switchTrace"]:
                typer.echo(f"\nThe switch's own words (ofproto/trace):\n{found['switchTrace']}")


def _first_answer(apis: tuple[AgentApi, ...], body: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Ask one agent after the other: the Pod's own Node alone knows it."""
    for api in apis[:-1]:
        try:
            return api.post("/v1/trace", body)
        except AgentRefusedError as error:
            if error.status != _NOT_FOUND:
                raise
    return apis[-1].post("/v1/trace", body)


def _write(found: dict[str, Any]) -> None:
    for stage in found["stages"]:
        typer.echo(f"{stage['title']:<{_INDENT}}{stage['text']}")
        if stage["title"] == "Choice":
            _write_choices(found["choices"])
    typer.echo("")
    if found["switch"] == "agrees":
        typer.echo(f"The switch's own trace agrees, table by table ({len(found['steps'])} tables).")
    elif found["switch"] != "differs":
        typer.echo(f"The switch's own trace could not be compared: {found['switch']}.")
    for warning in found["warnings"]:
        typer.secho(f"WARNING: {warning}", fg=typer.colors.YELLOW, bold=True)


def _write_choices(choices: list[dict[str, Any]]) -> None:
    followed = [choice for choice in choices if choice["followed"]]
    others = [choice for choice in choices if not choice["followed"]]
    for choice in (followed + others)[:_SHOWN]:
        address = f"[{choice['address']}]" if ":" in choice["address"] else choice["address"]
        where = f"{choice['target']} on {choice['node']}" if choice["node"] else choice["target"]
        mark = "   (followed here)" if choice["followed"] else ""
        end = f"{address}:{choice['port']}"
        typer.echo(f"{'':<{_INDENT}}{choice['share']:>6.1%}  {end:<24}{where}{mark}".rstrip())
    if len(choices) > _SHOWN:
        typer.echo(f"{'':<{_INDENT}}        and {len(choices) - _SHOWN} more")


def _write_steps(title: str, steps: list[dict[str, Any]]) -> None:
    if not steps:
        return
    typer.echo(f"\n{title}")
    for step in steps:
        flow = f"priority {step['priority']}, {step['match']} ({step['owner']})" if step["owner"] else "no flow"
        typer.echo(f"  {step['table']:>3} {step['tableName']:<15} {flow}")
        for event in step["events"]:
            typer.echo(f"{'':<22}{event}")
