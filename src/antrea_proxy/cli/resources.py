"""What `antrea-proxy get` can show, and in which columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from antrea_proxy.cli.tables import Column, Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind of item. `scoped` ones are of one namespace unless all are asked for; `named` ones have names.

    `sentences` are what one item, asked for by its name, has to say below its row.
    """

    path: str
    singular: str
    aliases: tuple[str, ...]
    scoped: bool
    named: bool
    columns: tuple[Column, ...]
    sentences: Callable[[Item], Sequence[str]] = lambda _: ()


def _ports(item: Item) -> str:
    return ",".join(dict.fromkeys(f"{port['port']}/{port['protocol']}" for port in item["ports"]))


def _cluster_ips(item: Item) -> str:
    return ",".join(dict.fromkeys(port["address"] for port in item["ports"] if port["kind"] == "ClusterIP"))


def _external_ips(item: Item) -> str:
    """Load-balancer and external IPs, and `nodes` where NodePorts are served."""
    external = (port["address"] or "nodes" for port in item["ports"] if port["kind"] != "ClusterIP")
    return ",".join(dict.fromkeys(external)) or "<none>"


def _affinity(item: Item) -> str:
    seconds = {port["affinitySeconds"] for port in item["ports"]} - {0}
    return ",".join(f"{value}s" for value in sorted(seconds)) or "<none>"


def _mode(item: Item) -> str:
    """The mode of what clients outside can reach; both where one address is in another than the rest."""
    modes = {port["mode"] for port in item["ports"] if port["kind"] in {"loadBalancerIP", "externalIP"}}
    return ",".join(sorted(modes)) or "<none>"


def _in_use(item: Item) -> str:
    """How many endpoints each port has; one number where all have the same."""
    counts = [
        str(port["endpointsInUse"]) + ("" if port["outcome"] == "balanced" else f" ({port['outcome']})")
        for port in item["ports"]
    ]
    return ",".join(counts if len(set(counts)) > 1 else counts[:1])


_STATES: Final = {"balanced": "balanced", "leftAlone": "left-alone", "notServed": "not-served"}


def _state(item: Item) -> str:
    state = _STATES[item["state"]]
    return f"{state},problems" if item["problems"] else state


def _sentences(item: Item) -> list[str]:
    return [text for text in (item["reason"], *item["problems"]) if text]


def _note(item: Item) -> str:
    return "; ".join(_sentences(item))


def _service_port(item: Item) -> str:
    name = item["servicePort"]
    return f"{item['service']}{f':{name}' if name else ''}/{item['protocol']}"


def _end(item: Item) -> str:
    address = item["address"]
    return f"[{address}]:{item['port']}" if ":" in address else f"{address}:{item['port']}"


def _buckets(item: Item) -> str:
    return " | ".join(f"{bucket['share']:.1%} {bucket['actions']}" for bucket in item["buckets"])


_NAMESPACE: Final = Column(head="NAMESPACE", text=lambda item: item["namespace"])
_NAME: Final = Column(head="NAME", text=lambda item: item["name"])

RESOURCES: Final = (
    Resource(
        path="services",
        singular="service",
        aliases=("services", "service", "svc"),
        scoped=True,
        named=True,
        columns=(
            _NAMESPACE,
            _NAME,
            Column(head="STATE", text=_state),
            Column(head="CLUSTER-IP", text=_cluster_ips),
            Column(head="EXTERNAL-IP", text=_external_ips),
            Column(head="PORT(S)", text=_ports),
            Column(head="ENDPOINTS", text=_in_use),
            Column(head="FLOWS", text=lambda item: item["flows"]),
            Column(head="GROUPS", text=lambda item: item["groups"], wide=True),
            Column(head="AFFINITY", text=_affinity, wide=True),
            Column(head="MODE", text=_mode, wide=True),
            Column(head="NOTE", text=_note, wide=True),
        ),
        sentences=_sentences,
    ),
    Resource(
        path="endpoints",
        singular="endpoint of the service",
        aliases=("endpoints", "endpoint", "ep"),
        scoped=True,
        named=False,
        columns=(
            _NAMESPACE,
            Column(head="SERVICE", text=_service_port),
            Column(head="ENDPOINT", text=_end),
            Column(head="IN-USE", text=lambda item: "yes" if item["inUse"] else "no"),
            Column(head="WHY", text=lambda item: item["reason"]),
            Column(head="NODE", text=lambda item: item["node"]),
            Column(head="TARGET", text=lambda item: item["target"], wide=True),
        ),
    ),
    Resource(
        path="flows",
        singular="flow of",
        aliases=("flows", "flow"),
        scoped=False,
        named=False,
        columns=(
            Column(head="TABLE", text=lambda item: item["tableName"]),
            Column(head="PRIORITY", text=lambda item: item["priority"]),
            Column(head="OWNER", text=lambda item: item["owner"]),
            Column(head="MATCH", text=lambda item: item["match"] or "any"),
            Column(head="ACTIONS", text=lambda item: item["actions"]),
            Column(head="COOKIE", text=lambda item: item["cookie"], wide=True),
        ),
    ),
    Resource(
        path="groups",
        singular="group of",
        aliases=("groups", "group"),
        scoped=False,
        named=False,
        columns=(
            Column(head="GROUP", text=lambda item: item["groupId"]),
            Column(head="TYPE", text=lambda item: item["type"]),
            Column(head="METHOD", text=lambda item: item["method"]),
            Column(head="OWNER", text=lambda item: item["owner"]),
            Column(head="BUCKETS", text=lambda item: len(item["buckets"])),
            Column(head="CHOICES", text=_buckets, wide=True),
        ),
    ),
    Resource(
        path="nodes",
        singular="node",
        aliases=("nodes", "node", "no"),
        scoped=False,
        named=True,
        columns=(
            _NAME,
            Column(head="VIA", text=lambda item: item["via"]),
            Column(head="POD-CIDRS", text=lambda item: ",".join(item["podCidrs"])),
            Column(head="ADDRESSES", text=lambda item: ",".join(item["addresses"])),
            Column(head="TUNNEL-END", text=lambda item: item["tunnelAddress"]),
            Column(head="PROBLEMS", text=lambda item: "; ".join(item["problems"]), wide=True),
        ),
    ),
    Resource(
        path="pods",
        singular="pod",
        aliases=("pods", "pod", "po"),
        scoped=True,
        named=True,
        columns=(
            _NAMESPACE,
            _NAME,
            Column(head="IPS", text=lambda item: ",".join(item["ips"])),
            Column(head="PORT", text=lambda item: item["port"]),
            Column(head="FLOWS", text=lambda item: item["flows"]),
            Column(head="MAC", text=lambda item: item["mac"], wide=True),
            Column(head="INTERFACE", text=lambda item: item["interface"], wide=True),
            Column(head="CONTAINER", text=lambda item: item["containerId"], wide=True),
        ),
    ),
)

BY_ALIAS: Final[Mapping[str, Resource]] = {alias: item for item in RESOURCES for alias in item.aliases}
