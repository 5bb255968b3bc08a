"""Services, Endpoints and EndpointSlices as kubectl prints them. Source: kubernetes `pkg/printers/internalversion`."""

from __future__ import annotations

from datetime import datetime

from antrea_proxy.lab.api_server.errors import JsonObject
from antrea_proxy.lab.api_server.tables.formats import AGE, NAME, Cells, Column, TableFormat, created, pairs, some, wide

_SHOWN = 3


def _external_addresses(obj: JsonObject) -> str:
    spec = obj["spec"]
    given = spec.get("externalIPs") or []
    match spec.get("type", "ClusterIP"):
        case "LoadBalancer":
            ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
            found = [item.get("ip") or item.get("hostname") or "" for item in ingress]
            if not found and not given:
                return "<pending>"
            return ",".join([*sorted(set(found)), *given])
        case "ExternalName":
            return str(spec.get("externalName") or "")
        case _:
            return ",".join(given) or "<none>"


def _ports(obj: JsonObject) -> str:
    texts = []
    for port in obj["spec"].get("ports") or ():
        number = f"{port['port']}:{port['nodePort']}" if port.get("nodePort") else str(port["port"])
        texts.append(f"{number}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or "<none>"


def _service_cells(obj: JsonObject, now: datetime) -> Cells:
    spec = obj["spec"]
    external = _external_addresses(obj)
    return [
        obj["metadata"]["name"],
        spec.get("type", "ClusterIP"),
        spec.get("clusterIP") or "<none>",
        external,
        _ports(obj),
        created(obj, now),
        pairs(spec.get("selector")),
    ]


SERVICES_TABLE = TableFormat(
    columns=(
        NAME,
        Column(name="Type"),
        Column(name="Cluster-IP"),
        Column(name="External-IP"),
        Column(name="Port(s)"),
        AGE,
        wide("Selector"),
    ),
    cells=_service_cells,
)


def _endpoints(obj: JsonObject) -> str:
    texts, count = [], 0
    for subset in obj.get("subsets") or ():
        for address in subset.get("addresses") or ():
            text = address.get("ip", "")
            host = f"[{text}]" if ":" in text else text
            for port in subset.get("ports") or ():
                count += 1
                texts.append(f"{host}:{port.get('port', 0)}")
    if not texts:
        return "<none>"
    more = f" + {count - _SHOWN} more..." if count > _SHOWN else ""
    return ",".join(texts[:_SHOWN]) + more


ENDPOINTS_TABLE = TableFormat(
    columns=(NAME, Column(name="Endpoints"), AGE),
    cells=lambda obj, now: [obj["metadata"]["name"], _endpoints(obj), created(obj, now)],
)


def _slice_port(port: JsonObject) -> str:
    if port.get("port") is not None:
        return str(port["port"])
    return str(port.get("name") or "*")


def _slice_cells(obj: JsonObject, now: datetime) -> Cells:
    addresses = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    return [
        obj["metadata"]["name"],
        obj.get("addressType", ""),
        some((_slice_port(port) for port in obj.get("ports") or ()), _SHOWN),
        some(addresses, _SHOWN),
        created(obj, now),
    ]


ENDPOINT_SLICES_TABLE = TableFormat(
    columns=(NAME, Column(name="AddressType"), Column(name="Ports"), Column(name="Endpoints"), AGE),
    cells=_slice_cells,
)
