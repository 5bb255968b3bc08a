"""`antrea-proxy get`: what a Node's agent holds, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from itertools import takewhile
from typing import Annotated, Any, Final

import typer

from antrea_proxy.cli.agents import LabOption, NodeOption, SocketOption, agent_api, answered, examples
from antrea_proxy.cli.resources import BY_ALIAS, RESOURCES, Resource
from antrea_proxy.cli.tables import Item, Table

DEFAULT_NAMESPACE: Final = "default"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Format(StrEnum):
    """How items are written."""

    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


@app.command(
    epilog=examples(
        "get services",
        "get services web -o wide",
        "get endpoints web -n shop       # which are in use, and why the others are not",
        "get pods -A -w                  # and every change, until Ctrl-C",
        "get flows web -o yaml           # those of one Service or Pod",
        "get nodes --node node-2         # as a Node of the lab on this machine sees them",
    )
)
def get(
    resource: Annotated[str, typer.Argument(metavar="RESOURCE", help=", ".join(item.path for item in RESOURCES))],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One item; of endpoints, flows and groups, one Service's.")
    ] = None,
    *,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help=f"[{DEFAULT_NAMESPACE}]", show_default=False)
    ] = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of every namespace.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on with every change.")] = False,
    output: Annotated[Format | None, typer.Option("--output", "-o", help="More columns, or all there is.")] = None,
    socket: SocketOption = None,
    node: NodeOption = None,
    lab: LabOption = None,
) -> None:
    """Show what a Node's agent holds: Services, endpoints, flows, groups, Nodes, Pods.

    Flows and groups are those that the switch confirmed to hold.
    """
    kind = BY_ALIAS.get(resource.lower())
    if kind is None:
        raise typer.BadParameter(f"{resource!r}: choose from {', '.join(item.path for item in RESOURCES)}")
    if all_namespaces and (name is not None or namespace is not None):
        raise typer.BadParameter("-A stands alone: without NAME and -n")
    query = _query(kind, name, namespace, all_namespaces=all_namespaces)
    with answered():
        api = agent_api(socket, node, lab)
        changes = api.lines(f"/v1/{kind.path}", query | {"watch": "1"}) if watch else iter(())
        found = _present(changes) if watch else api.get(f"/v1/{kind.path}", query)
        writer = _Writer(kind, output, namespaced=all_namespaces)
        if not found["items"] and name is not None:
            typer.echo(f"error: {_missing(kind, name, query.get('namespace'))}", err=True)
            raise typer.Exit(1)
        if not found["items"] and output in {None, Format.WIDE} and not watch:
            where = f" in {query['namespace']} namespace" if "namespace" in query else ""
            typer.echo(f"No {kind.path} found{where}.", err=True)
            return
        writer.listed(found, single=name is not None and kind.named)
        for change in changes:
            writer.changed(change)


def _query(kind: Resource, name: str | None, namespace: str | None, *, all_namespaces: bool) -> dict[str, str]:
    query = {} if name is None else {"name": name}
    if kind.path == "nodes":
        return query
    if namespace is not None:
        query["namespace"] = namespace
    elif not all_namespaces and (kind.scoped or name is not None):
        query["namespace"] = DEFAULT_NAMESPACE
    return query


def _missing(kind: Resource, name: str, namespace: str | None) -> str:
    where = f" in the namespace {namespace!r}" if namespace else ""
    return f"no {kind.singular} {name!r}{where} is known to this Node's agent"


def _present(changes: Iterator[dict[str, Any]]) -> dict[str, list[Item]]:
    """Take from a watch what is there at first: up to its bookmark."""
    return {"items": [change["object"] for change in takewhile(lambda change: change["type"] != "BOOKMARK", changes)]}


class _Writer:
    """Writes items in the format that was asked for."""

    def __init__(self, kind: Resource, output: Format | None, *, namespaced: bool) -> None:
        self._output = output
        self._sentences = kind.sentences
        columns = [column for column in kind.columns if output is Format.WIDE or not column.wide]
        self._table = Table(columns=[column for column in columns if namespaced or column.head != "NAMESPACE"])

    def listed(self, found: dict[str, Any], *, single: bool) -> None:
        """Write a whole answer: one item as itself if it was asked for by name."""
        if self._output in {Format.JSON, Format.YAML}:
            self._plain(found["items"][0] if single and len(found["items"]) == 1 else found)
            return
        for line in self._table.lines(found["items"]):
            typer.echo(line)
        if single and self._output is None:
            for item in found["items"]:
                for sentence in self._sentences(item):
                    typer.echo(f"  {sentence}")

    def changed(self, change: dict[str, Any]) -> None:
        """Write one change."""
        if self._output in {Format.JSON, Format.YAML}:
            self._plain(change)
            return
        for line in self._table.lines([change["object"]]):
            typer.echo(f"{line}   deleted" if change["type"] == "DELETED" else line)

    def _plain(self, value: object) -> None:
        if self._output is Format.JSON:
            typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
            return
        import yaml

        typer.echo("---\n" + yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)
