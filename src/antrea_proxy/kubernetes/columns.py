"""Endpoints as columns: rows of one numpy array instead of a hundred thousand objects.

A batch of EndpointSlices becomes one array; each slice then holds a view of its own rows. Whoever needs the rows of
many slices concatenates the views, and decides for all of them at once.
"""

from __future__ import annotations

import socket
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.kubernetes.objects import Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice

ADDRESS: Final = np.dtype("V16")
"""An address of either family in network order; IPv4 as IPv4-mapped (RFC 4291 section 2.5.5.2)."""

ENDPOINT_ROW: Final = np.dtype([("address", ADDRESS), ("conditions", "u1"), ("node", "<i4"), ("hints", "<i4")])
"""One endpoint. `node` and `hints` are numbers given by an Interner, NOTHING where the endpoint has none."""

NOTHING: Final = -1

EndpointRows = NDArray[np.void]

_IPV4_MAPPED: Final = bytes(10) + b"\xff\xff"
_ADDRESS_FAMILY: Final = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}
_FAMILY: Final = {"IPv4": 4, "IPv6": 6}

Value = TypeVar("Value", bound=Hashable)


class Condition(IntFlag):
    """The bits of the `conditions` column, after the API's rules for missing values."""

    READY = 1
    SERVING = 2
    TERMINATING = 4
    UNREADABLE = 8
    """The address is none of its slice's family; the row takes part in nothing."""


class Interner(Generic[Value]):
    """Gives each distinct value a small number, so that a column of them can be compared as numbers."""

    def __init__(self) -> None:
        self._numbers: dict[Value | None, int] = {None: NOTHING}
        self._values: list[Value] = []

    def column(self, values: Sequence[Value | None]) -> list[int]:
        """The numbers of values, new ones for new values; NOTHING for None."""
        for value in set(values):
            if value is not None and value not in self._numbers:
                self._numbers[value] = len(self._values)
                self._values.append(value)
        return list(map(self._numbers.__getitem__, values))

    def known(self, value: Value) -> int:
        """The value's number, or NOTHING for one that was never interned."""
        return self._numbers.get(value, NOTHING)

    @property
    def values(self) -> Sequence[Value]:
        """The values by their numbers; it grows, and never changes otherwise."""
        return self._values


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEndpoints:
    """One EndpointSlice as columns. `family` is 4 or 6, or 0 for a type that cannot be balanced (FQDN).

    `triggered_at` is the Unix time in seconds of what its last change tells, 0 where the slice does not say.
    """

    name: NamespacedName
    service: NamespacedName
    resource_version: str
    triggered_at: float
    family: int
    ports: tuple[EndpointPort, ...]
    rows: EndpointRows
    target_lines: str
    """The targets, a line each: one text instead of ten takes a third of the memory."""
    problems: tuple[str, ...]

    @property
    def targets(self) -> Sequence[str]:
        """The Pod (or other object) behind each row; empty where the slice names none."""
        return self.target_lines.split("\n")


def slice_endpoints(
    slices: Sequence[EndpointSlice], *, nodes: Interner[str], hints: Interner[EndpointHints]
) -> list[SliceEndpoints]:
    """Turn slices into columns, all of them in one array."""
    endpoints = [endpoint for item in slices for endpoint in item.endpoints or ()]
    rows = np.empty(len(endpoints), ENDPOINT_ROW)
    rows["conditions"] = _conditions([endpoint.conditions for endpoint in endpoints])
    rows["node"] = nodes.column([endpoint.node_name for endpoint in endpoints])
    rows["hints"] = hints.column([endpoint.hints for endpoint in endpoints])
    targets = [reference.name if (reference := endpoint.target_ref) else "" for endpoint in endpoints]
    packed: list[bytes] = []
    result: list[SliceEndpoints] = []
    start = 0
    for item in slices:
        end = start + len(item.endpoints or ())
        unreadable = _pack(item, packed)
        if unreadable:
            rows["conditions"][[start + index for index in unreadable]] = Condition.UNREADABLE
        result.append(
            SliceEndpoints(
                name=item.metadata.namespaced_name,
                service=NamespacedName(item.metadata.namespace, item.metadata.labels.service_name),
                resource_version=item.metadata.resource_version,
                triggered_at=_unix_time(item.metadata.annotations.last_change_trigger),
                family=_FAMILY.get(item.address_type, 0),
                ports=item.ports or (),
                rows=rows[start:end],
                target_lines="\n".join(targets[start:end]),
                problems=tuple(_problems(item, unreadable)),
            )
        )
        start = end
    rows["address"] = np.frombuffer(b"".join(packed), ADDRESS)
    return result


def joined(parts: Iterable[EndpointRows]) -> EndpointRows:
    """The rows of many slices, one after the other.

    By way of bytes, since numpy compares the columns of structured arrays one by one: 14 ms instead of 400 for 10,000.
    """
    return np.frombuffer(b"".join([part.tobytes() for part in parts]), ENDPOINT_ROW)


def address_column(addresses: Iterable[IPv4Address | IPv6Address]) -> NDArray[np.void]:
    """Pack addresses of either family into an address column."""
    return np.frombuffer(
        b"".join(
            address.packed if address.version == 6 else _IPV4_MAPPED + address.packed  # noqa: PLR2004 - IPv6
            for address in addresses
        ),
        ADDRESS,
    )


def address_text(packed: bytes) -> str:
    """Write one value of an address column as people do."""
    if packed.startswith(_IPV4_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def _unix_time(text: str) -> float:
    """Read a time of RFC 3339; what is none counts as not said, as in kube-proxy."""
    if not text:
        return 0.0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return 0.0 if moment.tzinfo is None else moment.timestamp()


def _conditions(conditions: Sequence[EndpointConditions]) -> list[int]:
    """The bits of Condition; plain numbers, since this runs for every endpoint of a cluster."""
    return [
        (item.ready is not False) + 2 * (item.serving is not False) + 4 * (item.terminating is True)
        for item in conditions
    ]


def _pack(item: EndpointSlice, packed: list[bytes]) -> list[int]:
    """Append the slice's addresses to `packed` and return the places of those that cannot be read."""
    family = _ADDRESS_FAMILY.get(item.address_type, socket.AF_UNSPEC)
    prefix = _IPV4_MAPPED if family == socket.AF_INET else b""
    endpoints = item.endpoints or ()
    try:
        packed += [prefix + socket.inet_pton(family, endpoint.addresses[0]) for endpoint in endpoints]
    except (OSError, IndexError):
        return _pack_singly(endpoints, family, prefix, packed)
    return []


def _pack_singly(
    endpoints: Sequence[Endpoint], family: socket.AddressFamily, prefix: bytes, packed: list[bytes]
) -> list[int]:
    unreadable: list[int] = []
    for index, endpoint in enumerate(endpoints):
        try:
            packed.append(prefix + socket.inet_pton(family, endpoint.addresses[0]))
        except (OSError, IndexError):
            packed.append(bytes(ADDRESS.itemsize))
            unreadable.append(index)
    return unreadable


def _problems(item: EndpointSlice, unreadable: Sequence[int]) -> Iterable[str]:
    if not unreadable and item.address_type in _FAMILY and all(map(_is_port, item.ports or ())):
        return
    where = f"EndpointSlice {item.metadata.namespaced_name}"
    if item.address_type not in _FAMILY:
        yield f"{where}: addressType: {item.address_type!r}: its endpoints are left out; use IPv4 or IPv6"
        return
    for index in unreadable:
        addresses = (item.endpoints or ())[index].addresses
        yield (
            f"{where}: endpoints[{index}].addresses: {', '.join(addresses) or 'empty'!r}: "
            f"no {item.address_type} address; this endpoint is left out"
        )
    for index, port in enumerate(item.ports or ()):
        if not _is_port(port):
            yield f"{where}: ports[{index}].port: {port.port}: must be 1 to 65535; this port is left out"


def _is_port(port: EndpointPort) -> bool:
    return port.port is None or 0 < port.port < 1 << 16
