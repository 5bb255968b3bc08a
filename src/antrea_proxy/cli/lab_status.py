"""`antrea-proxy lab status` for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

JsonObject = dict[str, Any]


def show(status: JsonObject) -> None:
    """Print the answer of the daemon's verb `status`."""
    console = Console(highlight=False)
    options = status["options"]
    mode = options["encap_mode"] + (f" ({options['tunnel']})" if options["encap_mode"] != "noEncap" else "")
    console.print(
        f"Lab {status['name']!r}, antrea-proxy {status['version']}: {mode}, {options['ip_family']}, "
        f"datapath {status['datapath']}, API server {status['apiServer']}",
        soft_wrap=True,
    )
    nodes = _table("NODE", "READY", "ZONE", "ADDRESSES", "POD CIDRS", "PODS", "AGENT", "SWITCH")
    for node in status["nodes"]:
        nodes.add_row(
            node["name"],
            _yes(node["ready"]),
            node["zone"],
            " ".join(node["addresses"]),
            " ".join(node["podCIDRs"]),
            str(node["pods"]),
            _program(node.get("agent")),
            _program(node.get("switch")),
        )
    console.print(nodes)
    if status["clients"]:
        clients = _table("CLIENT", "ADDRESSES", "LOAD BALANCERS VIA")
        for client in status["clients"]:
            clients.add_row(client["name"], " ".join(client["addresses"]), " ".join(client["via"]))
        console.print(clients)
    if status["pods"]:
        pods = _table("NAMESPACE", "POD", "READY", "PHASE", "NODE", "ADDRESSES")
        for pod in status["pods"]:
            pods.add_row(
                pod["namespace"], pod["name"], _yes(pod["ready"]), pod["phase"], pod["node"], " ".join(pod["ips"])
            )
        console.print(pods)
    for note in status["notes"]:
        console.print(f"note: {note}", soft_wrap=True)
    for problem in status["problems"]:
        console.print(Text(f"problem: {problem}", style="red"), soft_wrap=True)
    if not status["problems"]:
        console.print("Everything is healthy.")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _yes(value: object) -> Text:
    return Text("yes", style="green") if value else Text("no", style="red")


def _program(program: JsonObject | None) -> Text:
    if program is None:
        return Text("none", style="red")
    crashes = f", crashed {program['crashes']} times" if program["crashes"] else ""
    if program["running"] and program.get("ready", True):
        return Text(f"runs ({program['pid']}){crashes}", style="yellow" if crashes else "")
    return Text(f"down{crashes}" if not program["running"] else f"starts{crashes}", style="red")
