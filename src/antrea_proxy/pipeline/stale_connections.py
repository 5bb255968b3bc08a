"""Which tracked connections a change makes stale, and the messages that let the switch forget exactly those.

A client that goes on sending from one port keeps its entry in the connection tracker alive, and with it the endpoint
that it was translated to. TCP ends or resets such a connection; of the other protocols nobody tells the client.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Address, ip_address
from typing import Final, NamedTuple, NewType, TypeAlias

import numpy as np

from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.network.values import NODE_PORT_IPV4, NODE_PORT_IPV6
from antrea_proxy.openflow.messages import ConntrackFlush, ConntrackTuple
from antrea_proxy.pipeline.registers import CONNTRACK_ZONE
from antrea_proxy.proxy.endpoints import CANDIDATE, Candidates
from antrea_proxy.proxy.frontends import Protocol
from antrea_proxy.proxy.load_balancers import LoadBalancers
from antrea_proxy.proxy.selection import IPAddress

WITHOUT_AN_END: Final = frozenset({Protocol.UDP, Protocol.SCTP})
"""The protocols whose clients may go on for ever with an endpoint that is gone."""


Endpoint = NewType("Endpoint", bytes)
"""Where connections are translated to, as a key: an address as in address columns, and a port in network order.

A Service's thousands of endpoints are compared at every change of one of them.
"""

_ADDRESS: Final = CANDIDATE["address"]
_ENDPOINT_ROW: Final = np.dtype([("address", _ADDRESS), ("port", ">u2")])
_IPV4_MAPPED: Final = bytes(10) + b"\xff\xff"


_NODE_PORTS: Final[dict[int, IPAddress]] = {4: NODE_PORT_IPV4, 6: NODE_PORT_IPV6}


class Destination(NamedTuple):
    """Where clients send to: an address and port of a Service port.

    A NodePort's address is the virtual one, which stands for every address at which NodePorts are served.
    """

    protocol: Protocol
    address: IPAddress
    port: int


Served: TypeAlias = Mapping[Destination, frozenset[Endpoint]]
"""What is served, and by which endpoints connections may go on: ready or serving ones, chosen by new ones or not."""


class Course(NamedTuple):
    """What the connections to a destination became. An untranslated one has the destination itself as its endpoint."""

    destination: Destination
    endpoint: Endpoint

    @property
    def translated(self) -> bool:
        """Whether a Service translated them. No endpoint is its Service's own address and port."""
        return self.endpoint != endpoint_at(self.destination.address, self.destination.port)

    def flush(self) -> ConntrackFlush:
        """The message that lets the switch forget them, and no other."""
        protocol, address, port = self.destination
        packed, to_port = self.endpoint[: _ADDRESS.itemsize], int.from_bytes(self.endpoint[_ADDRESS.itemsize :], "big")
        to = ip_address(packed.removeprefix(_IPV4_MAPPED))
        return ConntrackFlush(
            ip_proto=protocol,
            zone=CONNTRACK_ZONE,
            original=ConntrackTuple(destination=address, destination_port=port),
            reply=ConntrackTuple(source=to, source_port=to_port),
        )


class Serving:
    """What all Services serve, found by Service and by destination."""

    def __init__(self) -> None:
        self._served: dict[NamespacedName, Served] = {}
        self._owners: dict[Destination, NamespacedName] = {}
        self.node_port_addresses: frozenset[IPAddress] = frozenset()

    def put(self, changes: Mapping[NamespacedName, Served]) -> None:
        """Note what some Services serve now; they may have taken destinations from each other."""
        for name in changes:
            for destination in self._served.pop(name, {}):
                if self._owners[destination] == name:
                    del self._owners[destination]
        for name, served in changes.items():
            if served:
                self._served[name] = served
                self._owners |= dict.fromkeys(served, name)

    def of(self, name: NamespacedName) -> Served:
        """What one Service serves."""
        return self._served.get(name, {})

    def endpoints(self, destination: Destination) -> frozenset[Endpoint] | None:
        """The endpoints by which connections may go on there; None if it is not served."""
        owner = self._owners.get(destination)
        if owner is None and destination.address in self.node_port_addresses:
            destination = destination._replace(address=_NODE_PORTS[destination.address.version])
            owner = self._owners.get(destination)
        return None if owner is None else self._served[owner][destination]


def at_each_address(course: Course, node_port_addresses: Collection[IPAddress]) -> Iterator[Course]:
    """The course itself, and of a NodePort's that at the Node's own addresses, where Pods ask."""
    yield course
    address = course.destination.address
    if address == _NODE_PORTS[address.version]:
        for own in node_port_addresses:
            if own.version == address.version:
                yield course._replace(destination=course.destination._replace(address=own))


def untranslated(destination: Destination) -> Course:
    """The connections that no Service translated: they leave by the gateway."""
    return Course(destination, endpoint_at(destination.address, destination.port))


def served_by(table: LoadBalancers, protocols: Collection[Protocol]) -> dict[NamespacedName, Served]:
    """What each of the table's Services serves in these protocols; it may be nothing."""
    found: dict[NamespacedName, dict[Destination, frozenset[Endpoint]]] = {name: {} for name in table.services}
    for row, port in enumerate(table.ports):
        if port.protocol in protocols:
            endpoints = frozenset(_endpoints(table.going_on(row)))
            served = found[port.name.service]
            for frontend in port.frontends:
                address = frontend.address or _NODE_PORTS[port.family]
                destination = Destination(port.protocol, address, frontend.port)
                served[destination] = served.get(destination, frozenset()) | endpoints
    return dict(found)


def made_stale(before: Served, after: Served) -> set[Course]:
    """The courses that a change ends: to endpoints that are gone, and past what is served from now on."""
    return set(_made_stale(before, after))


def _made_stale(before: Served, after: Served) -> Iterator[Course]:
    for destination in before.keys() | after.keys():
        earlier, now = before.get(destination), after.get(destination)
        for endpoint in (earlier or frozenset()) - (now or frozenset()):
            yield Course(destination, endpoint)
        # What is refused is not tracked; that a new Service is, is noticed by the datapath a moment later.
        if now is not None and (earlier is None or (now and not earlier)):
            yield untranslated(destination)


def connections_of(address: IPAddress) -> tuple[ConntrackFlush, ...]:
    """The messages that let the switch forget all connections from and to an address."""
    return (
        ConntrackFlush(zone=CONNTRACK_ZONE, original=ConntrackTuple(source=address)),
        ConntrackFlush(zone=CONNTRACK_ZONE, reply=ConntrackTuple(source=address)),
    )


def endpoint_at(address: IPAddress, port: int) -> Endpoint:
    """Give an address and port as an endpoint."""
    packed = _IPV4_MAPPED + address.packed if isinstance(address, IPv4Address) else address.packed
    return Endpoint(packed + port.to_bytes(2, "big"))


def _endpoints(rows: Candidates) -> Iterator[Endpoint]:
    packed = np.empty(len(rows), _ENDPOINT_ROW)
    packed["address"], packed["port"] = rows["address"], rows["port"]
    text, size = packed.tobytes(), _ENDPOINT_ROW.itemsize
    return (Endpoint(text[start : start + size]) for start in range(0, len(text), size))
