"""Long lists and their changes as bytes, a part at a time, so that the agent's loop is never held up for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Final, TypeAlias

import msgspec

from antrea_proxy.agent.status import AgentStatus
from antrea_proxy.http_api.switch_views import flow_views, group_views
from antrea_proxy.http_api.view_types import ItemView
from antrea_proxy.http_api.views import Selection, endpoint_views, node_views, pod_views, service_views

PART_SECONDS: Final = 0.005
"""How long items are made and encoded without a pause: a change of the cluster waits no longer than that."""

Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A list of the API: how its items are made, and the fields that tell an item from another."""

    kind: str
    views: Callable[[AgentStatus, Selection], Iterator[ItemView]]
    identity: tuple[str, ...]

    def key(self, item: ItemView) -> Key:
        """Return the values of the identity."""
        return tuple(getattr(item, name) for name in self.identity)


_ENDPOINT: Final = ("namespace", "service", "service_port", "family", "protocol", "address", "port")

RESOURCES: Final[Mapping[str, Resource]] = {
    "services": Resource(kind="ServiceList", views=service_views, identity=("namespace", "name")),
    "endpoints": Resource(kind="EndpointList", views=endpoint_views, identity=_ENDPOINT),
    "flows": Resource(
        kind="FlowList", views=flow_views, identity=("owner", "table_name", "priority", "match", "cookie")
    ),
    "groups": Resource(kind="GroupList", views=group_views, identity=("group_id", "owner")),
    "nodes": Resource(kind="NodeList", views=node_views, identity=("name",)),
    "pods": Resource(kind="PodList", views=pod_views, identity=("namespace", "name", "container_id", "interface")),
}

_encoder = msgspec.json.Encoder()


def list_parts(resource: Resource, status: AgentStatus, selection: Selection) -> Iterator[bytes]:
    """Encode a whole list, as parts of one JSON object: its kind and its items."""
    head = f'{{"kind":"{resource.kind}","node":{_encoder.encode(status.node_name).decode()},"items":['
    part, separator, began = [head.encode()], b"", perf_counter()
    for item in resource.views(status, selection):
        part += [separator, _encoder.encode(item)]
        separator = b",\n"
        if perf_counter() - began > PART_SECONDS:
            yield b"".join(part)
            part, began = [], perf_counter()
    yield b"".join((*part, b"]}\n"))


class Watcher:
    """Remembers what one client was told, to tell it what has changed since."""

    def __init__(self, resource: Resource, selection: Selection) -> None:
        self._resource = resource
        self._selection = selection
        self._told: dict[Key, int] = {}
        self._began = False

    def parts(self, status: AgentStatus) -> Iterator[bytes]:
        """Encode the changes since the last call as JSON lines: `{"type": "ADDED", "object": {...}}`.

        The object of DELETED has those of its keys that tell it from others. The first call ends with a BOOKMARK: all
        that is there has been told. A part may be empty. All of them must be taken before the next call.
        """
        before, told, lines = self._told, dict[Key, int](), list[bytes]()
        gone: dict[Key, None] = dict.fromkeys(before)
        began = perf_counter()
        for item in self._resource.views(status, self._selection):
            key, encoded = self._resource.key(item), _encoder.encode(item)
            while key in told:  # the same endpoint, out of another EndpointSlice
                key = (*key, "again")
            told[key] = digest = hash(encoded)
            gone.pop(key, None)
            if before.get(key) != digest:
                lines.append(_line("MODIFIED" if key in before else "ADDED", encoded))
            if perf_counter() - began > PART_SECONDS:
                yield b"".join(lines)
                lines, began = [], perf_counter()
        names = [_camel(name) for name in self._resource.identity]
        lines += [_line("DELETED", _encoder.encode(dict(zip(names, key, strict=False)))) for key in gone]
        lines += [] if self._began else [_line("BOOKMARK", b"{}")]
        self._told, self._began = told, True
        yield b"".join(lines)


def _line(kind: str, encoded: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), encoded)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
