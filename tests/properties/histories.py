"""Random histories of a cluster, and a Node that follows them change by change.

A failing history prints itself as YAML: apply its documents one after the other, and do what the comments say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import yaml
from hypothesis import strategies as st

from antrea_proxy.kubernetes.cluster import Dirty
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.kubernetes.objects import EndpointSlice, Service
from antrea_proxy.pipeline.changes import difference
from antrea_proxy.pipeline.group_ids import GroupIds
from antrea_proxy.pipeline.service_flows import compile_services
from antrea_proxy.pipeline.units import EMPTY, Owner, Unit
from antrea_proxy.proxy.load_balancers import LoadBalancerName
from properties import clusters
from properties.decisions import Core, node
from properties.service_rules import Place, Promise, promise

Json = dict[str, Any]

NOW = 1_800_000_000.0
"""The Unix time of all histories, in seconds."""

_API_VERSIONS = {"Service": "v1", "EndpointSlice": "discovery.k8s.io/v1", "Node": "v1"}
_FIELDS = (
    ("ports",),
    ("clusterIP", "clusterIPs"),
    ("type",),
    ("internalTrafficPolicy",),
    ("externalTrafficPolicy",),
    ("sessionAffinity", "sessionAffinityConfig"),
    ("loadBalancerSourceRanges",),
    ("externalIPs",),
)
"""What may change in a Service that lives."""


class Change(NamedTuple):
    """An object is written, or deleted where `content` is None. `fields` are all of the spec that changes."""

    kind: str
    name: str
    content: Json | None
    fields: tuple[str, ...] = ()


def _service(name: str) -> st.SearchStrategy[Change]:
    return clusters.service(name).map(lambda item: Change("Service", name, item))


def _slice(name: str) -> st.SearchStrategy[Change]:
    return clusters.endpoint_slice(name).map(lambda item: Change("EndpointSlice", name, item))


def _services() -> st.SearchStrategy[Change]:
    names = st.sampled_from(clusters.SERVICE_NAMES)
    written = names.flatmap(_service)
    return st.one_of(
        written,
        st.builds(lambda change, fields: change._replace(fields=fields), written, st.sampled_from(_FIELDS)),
        st.builds(lambda name: Change("Service", name, None), names),
    )


def _slices() -> st.SearchStrategy[Change]:
    names = st.sampled_from(clusters.SLICE_NAMES)
    written = names.flatmap(_slice)
    return st.one_of(written, written, written, st.builds(lambda name: Change("EndpointSlice", name, None), names))


_zones = st.builds(
    lambda zone: Change("Node", "node-1", {"metadata": {"name": "node-1", "labels": _zone_label(zone)}}),
    st.sampled_from(["zone-1", "zone-2", ""]),
)


def _zone_label(zone: str) -> Json:
    return {"topology.kubernetes.io/zone": zone} if zone else {}


@dataclass(frozen=True)
class History:
    """Changes of a cluster that is empty at first, on a Node with this configuration."""

    place: Place
    changes: Sequence[Change]

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:  # noqa: ANN401, FBT001 - the protocol of hypothesis
        """The history as YAML, to be replayed."""
        texts = [f"# {self.place}"]
        for change, state in zip(self.changes, states(self), strict=True):
            content = state.objects(change.kind).get(change.name)
            if content is None:
                texts.append(f"# kubectl delete {change.kind.lower()} {change.name}")
            else:
                body = {"apiVersion": _API_VERSIONS[change.kind], "kind": change.kind, **content}
                texts.append(yaml.safe_dump(body, sort_keys=False))
        printer.text("---\n".join(text.rstrip() + "\n" for text in texts))


histories = st.builds(
    lambda place, first, changes: History(place, (*first, *changes)),
    clusters.places,
    st.tuples(*map(_service, clusters.SERVICE_NAMES), *map(_slice, clusters.SLICE_NAMES[:3])),
    st.lists(st.one_of(_services(), _services(), _slices(), _slices(), _zones), min_size=2, max_size=8),
)
"""Some Services and EndpointSlices come first, then anything may happen."""


@dataclass
class State:
    """The objects of a cluster by name, as the API server would list them."""

    place: Place
    services: dict[str, Json] = field(default_factory=dict)
    slices: dict[str, Json] = field(default_factory=dict)
    nodes: dict[str, Json] = field(default_factory=dict)

    def objects(self, kind: str) -> dict[str, Json]:
        """The objects of a kind."""
        return {"Service": self.services, "EndpointSlice": self.slices, "Node": self.nodes}[kind]

    def apply(self, change: Change) -> Json | None:
        """Take a change; returns the object as it is now, None for one that is gone."""
        known = self.objects(change.kind)
        if change.content is None:
            known.pop(change.name, None)
            return None
        content, before = change.content, known.get(change.name)
        if change.fields and before is not None:
            spec = {key: value for key, value in before["spec"].items() if key not in change.fields}
            spec |= {key: content["spec"][key] for key in change.fields if key in content["spec"]}
            content = before | {"spec": spec}
        known[change.name] = content
        return content

    def promise(self) -> Promise:
        """What the rules promise now."""
        zone = self.place.zone
        if "node-1" in self.nodes:
            zone = self.nodes["node-1"]["metadata"]["labels"].get("topology.kubernetes.io/zone", "")
        place = Place(**(vars(self.place) | {"zone": zone}))
        return promise(list(self.services.values()), list(self.slices.values()), place)


def states(history: History) -> Iterable[State]:
    """The same State, once after every change."""
    state = State(history.place)
    for change in history.changes:
        state.apply(change)
        yield state


@dataclass
class Follower:
    """A Node that decides and compiles what a change made dirty, and nothing else, as the agent does."""

    core: Core
    ids: GroupIds[LoadBalancerName] = field(default_factory=GroupIds)
    units: dict[Owner, Unit] = field(default_factory=dict)

    def take(self, change: Change, content: Json | None) -> list[bytes]:
        """Follow a change; returns the messages for the switch, in order."""
        table, gone = self.core.decide(self._tell(change, content).services)
        units = compile_services(table, self.ids, now=NOW)
        steps = difference(self.units, units)
        self.units |= units
        self.units = {owner: unit for owner, unit in self.units.items() if unit != EMPTY}
        self.ids.release(gone - self.core.decisions.load_balancers.keys())
        return [message for step in steps for message in step.messages]

    def _tell(self, change: Change, content: Json | None) -> Dirty:
        cluster, name = self.core.cluster, NamespacedName("default", change.name)
        if change.kind == "Node":
            assert content is not None
            labels = content["metadata"]["labels"]
            return cluster.put_node(node(change.name, labels.get("topology.kubernetes.io/zone", "")))
        if change.kind == "Service":
            if content is None:
                return cluster.remove_service(name)
            return cluster.put_service(msgspec.convert(content, Service))
        if content is None:
            return cluster.remove_slice(name)
        return cluster.put_slices([msgspec.convert(content, EndpointSlice)])

    def started_anew(self, state: State) -> dict[Owner, Unit]:
        """What a start from this state compiles, the numbers of load balancers being those that a switch has."""
        core = Core(self.core.place)
        core.cluster.list_nodes(list(self.core.cluster.nodes.values()))
        core.cluster.list_slices(msgspec.convert(list(state.slices.values()), list[EndpointSlice]))
        core.cluster.list_services(msgspec.convert(list(state.services.values()), list[Service]))
        table, _ = core.decide(core.cluster.services)
        ids: GroupIds[LoadBalancerName] = GroupIds()
        numbers = {name: self.ids.known(name) for name in self.core.decisions.load_balancers}
        ids.adopt({name: number for name, number in numbers.items() if number is not None})
        units = compile_services(table, ids, now=NOW)
        return {owner: unit for owner, unit in units.items() if unit != EMPTY}
