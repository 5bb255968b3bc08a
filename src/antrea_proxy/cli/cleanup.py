"""`antrea-proxy cleanup`: takes off a Node what other programs left there and no longer look after."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from antrea_proxy.cli.agents import examples
from antrea_proxy.cli.logs import fail

if TYPE_CHECKING:
    from antrea_proxy.host.kube_proxy.plan import Plan

_SHOWN: Final = 40
"""So many lines of a plan are shown of each kind; -o json has all."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Take off this Node what other programs left there.",
)


class Format(StrEnum):
    """How a plan is written."""

    JSON = "json"


@app.callback()
def _root() -> None:
    """Take off this Node what other programs left there."""


@app.command(
    "kube-proxy",
    epilog=examples(
        "cleanup kube-proxy --dry-run",
        "cleanup kube-proxy",
        "cleanup kube-proxy --dry-run -o json",
        "lab exec --node node-1 -- antrea-proxy cleanup kube-proxy",
    ),
)
def kube_proxy(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would go, and change nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also while kube-proxy runs.")] = False,
    output: Annotated[Format | None, typer.Option("--output", "-o", help="All of it, for programs.")] = None,
) -> None:
    """Remove what kube-proxy left on this Node: its iptables and nftables rules, ipvs servers, device and sets.

    Nothing of the kubelet's or of anybody else's is touched. Exit code: 0 if nothing of kube-proxy's is left (with
    --dry-run: if it could be told), 1 if it runs, if something could not be looked at, or would not go.
    """
    from antrea_proxy.host.errors import HostError
    from antrea_proxy.host.kube_proxy.looking import look
    from antrea_proxy.host.kube_proxy.plan import planned
    from antrea_proxy.host.kube_proxy.processes import running_kube_proxies, sees_all_processes
    from antrea_proxy.host.kube_proxy.removal import remove
    from antrea_proxy.host.netlink import Netlink
    from antrea_proxy.host.nft import Nft

    running = running_kube_proxies()
    if running and not (force or dry_run):
        fail(
            f"kube-proxy runs on this Node, {', '.join(map(str, running))}, and would lay down again what is removed: "
            "end it first (kubectl -n kube-system delete daemonset kube-proxy), or give --force"
        )
    if not sees_all_processes():
        typer.echo("whether kube-proxy runs outside of this container cannot be told (hostPID)", err=True)
    netlink, nft = Netlink(), Nft()
    try:
        plan = planned(asyncio.run(look(netlink, nft)))
    except (HostError, ValueError) as error:
        fail(str(error))
    if output is Format.JSON:
        running_json = [{"pid": process.pid, "command": process.command} for process in running]
        typer.echo(json.dumps({"removed": not dry_run, "running": running_json, **plan.as_json()}, indent=2))
    else:
        _tell(plan, dry_run=dry_run)
    if not dry_run:
        try:
            asyncio.run(remove(plan, netlink, nft))
        except HostError as error:
            fail(str(error))
    if plan.unseen:
        raise typer.Exit(1)


def _tell(plan: Plan, *, dry_run: bool) -> None:
    if not plan:
        typer.echo("there is nothing of kube-proxy's on this Node")
    for line in _shortened(list(plan.lines())):
        typer.echo(f"{'would remove' if dry_run else 'removing'} {line}")
    for line in plan.kept():
        typer.echo(line, err=True)
    for text in plan.unseen:
        typer.echo(f"not looked at: {text}", err=True)


def _shortened(lines: list[str]) -> list[str]:
    """Of many lines with one beginning, the first ones, and how many more there are."""
    shown: list[str] = []
    counts: Counter[str] = Counter()
    for line in lines:
        kind = line.partition(":")[0]
        counts[kind] += 1
        if counts[kind] <= _SHOWN:
            shown.append(line)
    more = ((kind, count - _SHOWN) for kind, count in counts.items())
    return shown + [f"{kind}: {count} more (-o json names all)" for kind, count in more if count > 0]
