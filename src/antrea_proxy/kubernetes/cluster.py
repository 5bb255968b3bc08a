"""The cluster as the watch events have told it so far."""

from __future__ import annotations

import math
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from antrea_proxy.kubernetes.columns import Interner, SliceEndpoints, slice_endpoints
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.kubernetes.objects import EndpointHints, EndpointSlice, Node, Service

Trigger = tuple[NamespacedName, float]
"""A Service, and the Unix time in seconds at which something happened to its endpoints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dirty:
    """What an event may have changed: these Services, and whether anything about Nodes.

    `triggers` are when endpoints changed, in Unix time, by Service. The two counts are of objects that were changed.
    """

    services: frozenset[NamespacedName] = frozenset()
    nodes: bool = False
    triggers: tuple[Trigger, ...] = ()
    service_changes: int = 0
    endpoint_slice_changes: int = 0

    @classmethod
    def together(cls, parts: Iterable[Dirty]) -> Dirty:
        """What all of them may have changed."""
        parts = list(parts)
        return cls(
            services=frozenset[NamespacedName]().union(*(part.services for part in parts)),
            nodes=any(part.nodes for part in parts),
            triggers=tuple(trigger for part in parts for trigger in part.triggers),
            service_changes=sum(part.service_changes for part in parts),
            endpoint_slice_changes=sum(part.endpoint_slice_changes for part in parts),
        )

    def __bool__(self) -> bool:
        return bool(self.services) or self.nodes


@dataclass(slots=True)
class ClusterState:
    """Services, EndpointSlices and Nodes by name.

    Each method that takes objects applies them and returns what became dirty. A Service is dirty, too, when another one
    that claims one of its addresses changes (behaviour: the older of the two has it). Of what happened to endpoints
    only that is a trigger which happened after `triggers_after`, a Unix time in seconds.
    """

    services: dict[NamespacedName, Service] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    node_numbers: Interner[str] = field(default_factory=Interner)
    hint_numbers: Interner[EndpointHints] = field(default_factory=Interner)
    triggers_after: float = math.inf
    _slices: dict[NamespacedName, SliceEndpoints] = field(default_factory=dict)
    _slices_of: dict[NamespacedName, tuple[SliceEndpoints, ...]] = field(default_factory=dict)
    """Tuples, since almost all hold one: a dictionary or a set takes five times their memory."""
    _claims: dict[str, tuple[NamespacedName, ...]] = field(default_factory=dict)

    def slices_of(self, service: NamespacedName) -> Sequence[SliceEndpoints]:
        """The Service's EndpointSlices by name: of an endpoint that stands in two of them, alike, the first counts."""
        return self._slices_of.get(service, ())

    def zone_of(self, node: str) -> str:
        """The Node's zone; empty where it is not known or bears none."""
        return _zone(self.nodes.get(node))

    def claimants(self, address: str) -> Sequence[Service]:
        """The Services that claim an address, the one that has it first: the oldest, then by name."""
        names = self._claims.get(_canonical(address), ())
        if len(names) == 1:
            return [self.services[name] for name in names]
        return sorted((self.services[name] for name in names), key=_seniority)

    def list_services(self, listed: Iterable[Service], *, kept: Collection[NamespacedName] = ()) -> Dirty:
        """Take a complete list of Services; those in `kept` exist, too, as they were."""
        current = {service.metadata.namespaced_name: service for service in listed}
        gone = self.services.keys() - current.keys() - set(kept)
        return self._put_services(self._changed(current) | dict.fromkeys(gone))

    def take_services(self, some: Iterable[Service]) -> Dirty:
        """Take some Services of a list that is not complete yet."""
        return self._put_services(self._changed({service.metadata.namespaced_name: service for service in some}))

    def put_service(self, service: Service) -> Dirty:
        """Take a Service that was added or modified."""
        return self._put_services({service.metadata.namespaced_name: service})

    def remove_service(self, name: NamespacedName) -> Dirty:
        """Forget a Service."""
        return self._put_services({name: None})

    def list_slices(self, listed: Iterable[EndpointSlice], *, kept: Collection[NamespacedName] = ()) -> Dirty:
        """Take a complete list of EndpointSlices; those in `kept` exist, too, as they were."""
        current = {item.metadata.namespaced_name: item for item in listed}
        changed = self.take_slices(current.values())
        gone = self._slices.keys() - current.keys() - set(kept)
        return Dirty.together([changed, *map(self.remove_slice, gone)])

    def take_slices(self, some: Iterable[EndpointSlice]) -> Dirty:
        """Take some EndpointSlices of a list that is not complete yet."""
        return self.put_slices([item for item in some if not self._same_slice(item)])

    def put_slices(self, items: Sequence[EndpointSlice]) -> Dirty:
        """Take EndpointSlices that were added or modified; several at once cost less."""
        services: set[NamespacedName] = set()
        triggers: list[Trigger] = []
        for item in slice_endpoints(items, nodes=self.node_numbers, hints=self.hint_numbers):
            if item.triggered_at > self.triggers_after and self._is_news(item):
                triggers.append((item.service, item.triggered_at))
            if item.name in self._slices:
                services |= self.remove_slice(item.name).services
            self._slices[item.name] = item
            others = self.slices_of(item.service)
            self._slices_of[item.service] = tuple(sorted((*others, item), key=_slice_name)) if others else (item,)
            services.add(item.service)
        return Dirty(services=frozenset(services), triggers=tuple(triggers), endpoint_slice_changes=len(items))

    def _is_news(self, item: SliceEndpoints) -> bool:
        """Whether no slice of the Service told of this moment yet: it stays written there, and may be in several."""
        return item.triggered_at not in (other.triggered_at for other in self.slices_of(item.service))

    def remove_slice(self, name: NamespacedName) -> Dirty:
        """Forget an EndpointSlice."""
        item = self._slices.pop(name, None)
        if item is None:
            return Dirty()
        if remaining := tuple(other for other in self._slices_of[item.service] if other is not item):
            self._slices_of[item.service] = remaining
        else:
            del self._slices_of[item.service]
        return Dirty(services=frozenset({item.service}), endpoint_slice_changes=1)

    def list_nodes(self, listed: Iterable[Node], *, kept: Collection[NamespacedName] = ()) -> Dirty:
        """Take a complete list of Nodes; those in `kept` exist, too, as they were."""
        current = {name.name: self.nodes[name.name] for name in kept if name.name in self.nodes}
        current |= {node.metadata.name: node for node in listed}
        changed = current.keys() ^ self.nodes.keys() or any(
            not _same(self.nodes[name], node) for name, node in current.items()
        )
        moved = any(_zone(node) != _zone(self.nodes.get(name)) for name, node in current.items())
        self.nodes = current
        return self._dirty_nodes(moved=moved) if changed else Dirty()

    def take_nodes(self, some: Iterable[Node]) -> Dirty:
        """Take some Nodes of a list that is not complete yet."""
        return self.list_nodes(some, kept=[NamespacedName("", name) for name in self.nodes])

    def put_node(self, node: Node) -> Dirty:
        """Take a Node that was added or modified."""
        before = _zone(self.nodes.get(node.metadata.name))
        self.nodes[node.metadata.name] = node
        return self._dirty_nodes(moved=_zone(node) != before)

    def remove_node(self, name: str) -> Dirty:
        """Forget a Node."""
        return Dirty(nodes=self.nodes.pop(name, None) is not None)

    def _dirty_nodes(self, *, moved: bool) -> Dirty:
        """A Node that changed its zone may have hints read otherwise."""
        hinted = moved and self.hint_numbers.values
        return Dirty(services=frozenset(self.services) if hinted else frozenset(), nodes=True)

    def _put_services(self, changes: Mapping[NamespacedName, Service | None]) -> Dirty:
        dirty = set(changes)
        for name, service in changes.items():
            before, after = _addresses(self.services.get(name)), _addresses(service)
            for address in before - after:
                claims = self._claims.pop(address)
                dirty.update(claims)
                if len(claims) > 1:
                    self._claims[address] = tuple(other for other in claims if other != name)
            for address in after:
                claims = self._claims.get(address, ())
                if name not in claims:
                    claims = self._claims[address] = (*claims, name)
                if len(claims) > 1:
                    dirty.update(claims)
            if service is None:
                self.services.pop(name, None)
            else:
                self.services[name] = service
        return Dirty(services=frozenset(dirty), service_changes=len(changes))

    def _changed(self, current: Mapping[NamespacedName, Service]) -> dict[NamespacedName, Service | None]:
        return {name: service for name, service in current.items() if not _same(self.services.get(name), service)}

    def _same_slice(self, item: EndpointSlice) -> bool:
        known = self._slices.get(item.metadata.namespaced_name)
        return known is not None and known.resource_version == item.metadata.resource_version != ""


def _same(known: Service | Node | None, other: Service | Node) -> bool:
    """Whether two readings of an object are one: the API server gives each change a new resourceVersion."""
    return (
        known is not None
        and known.metadata.uid == other.metadata.uid
        and known.metadata.resource_version == other.metadata.resource_version != ""
    )


def _slice_name(item: SliceEndpoints) -> NamespacedName:
    return item.name


def _zone(node: Node | None) -> str:
    return "" if node is None else node.metadata.labels.zone


def _addresses(service: Service | None) -> frozenset[str]:
    if service is None:
        return frozenset()
    spec = service.spec
    ingress = (point.ip for point in service.status.load_balancer.ingress)
    texts = {spec.cluster_ip, *spec.cluster_ips, *spec.external_ips, *ingress} - {"", "None"}
    return frozenset(map(_canonical, texts))


def _canonical(address: str) -> str:
    """One text for every way of writing an IPv6 address (RFC 4291 section 2.2); what is none stays as it is."""
    if ":" not in address:
        return address
    try:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address))
    except OSError:
        return address


def _seniority(service: Service) -> tuple[str, NamespacedName]:
    return service.metadata.creation_timestamp, service.metadata.namespaced_name
