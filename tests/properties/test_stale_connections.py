"""Whatever becomes of Services and endpoints: no entry of the tracker leads to one that is gone, no other is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent_loop import Loop
from model_tracker import Entry

Json = dict[str, Any]
Socket = tuple[str, int]

CLUSTER_IPS = {4: ("10.96.0.1", "10.96.0.2"), 6: ("fd00:96::1", "fd00:96::2")}
PODS = {4: ("10.10.1.2", "10.10.2.2", "10.10.3.2"), 6: ("fd00:10:1::2", "fd00:10:2::2", "fd00:10:3::2")}
CLIENTS = {4: ("10.10.1.5", 40000), 6: ("fd00:10:1::5", 40000)}
CONDITIONS: Mapping[str, Mapping[str, bool]] = {
    "ready": {"ready": True, "serving": True, "terminating": False},
    "draining": {"ready": False, "serving": True, "terminating": True},
    "ended": {"ready": False, "serving": False, "terminating": True},
    "unready": {"ready": False, "serving": False, "terminating": False},
}


@dataclass(frozen=True)
class ServiceState:
    """A Service: its ClusterIP's number, its ports by protocol, the states of its Pods, and whether it is ours."""

    address: int
    family: int
    ports: Mapping[str, int]
    pods: Mapping[int, str]
    ours: bool
    policy: str


@dataclass(frozen=True)
class Turn:
    """A cluster, and whether the switch is away while it becomes so."""

    services: Mapping[str, ServiceState]
    away: bool

    def served(self) -> Iterator[tuple[str, Socket, set[Socket]]]:
        """Each protocol, address and port that is served, with the endpoints that are ready or serving."""
        for service in self.services.values():
            pods = {PODS[service.family][pod] for pod, state in service.pods.items() if state in {"ready", "draining"}}
            for protocol, port in service.ports.items():
                if service.ours:
                    destination = (CLUSTER_IPS[service.family][service.address], port)
                    yield protocol, destination, {(pod, 8000 + port) for pod in pods}


_states = st.builds(
    ServiceState,
    address=st.just(0),
    family=st.sampled_from([4, 6]),
    ports=st.dictionaries(st.sampled_from(["udp", "udp", "sctp", "tcp"]), st.sampled_from([53, 53, 54]), min_size=1),
    pods=st.dictionaries(st.integers(0, 2), st.sampled_from(list(CONDITIONS))),
    ours=st.sampled_from([True, True, True, False]),
    policy=st.sampled_from(["Cluster", "Cluster", "Local"]),
)


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    """Up to two Services, each at one of the ClusterIPs, which they may exchange from turn to turn."""
    names = draw(st.lists(st.sampled_from("ab"), unique=True, max_size=2))
    places = draw(st.permutations([0, 1]))
    services = {}
    for name, place in zip(names, places, strict=False):
        state = draw(_states)
        services[name] = ServiceState(
            address=place,
            family=state.family,
            ports=state.ports,
            pods=state.pods,
            ours=state.ours,
            policy=state.policy,
        )
    return Turn(services=services, away=draw(st.sampled_from([False, False, True])))


def objects(turn: Turn) -> tuple[list[Json], list[Json]]:
    """The turn's Services and EndpointSlices."""
    services, slices = [], []
    for name, state in turn.services.items():
        address = CLUSTER_IPS[state.family][state.address]
        ports = [{"name": key, "protocol": key.upper(), "port": port} for key, port in state.ports.items()]
        labels = {} if state.ours else {"service.kubernetes.io/service-proxy-name": "another"}
        spec = {"clusterIP": address, "clusterIPs": [address], "ports": ports, "internalTrafficPolicy": state.policy}
        metadata = {"name": name, "namespace": "default", "labels": labels}
        services.append({"metadata": metadata, "spec": spec})
        slices.append(
            {
                "metadata": {
                    "name": name,
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": f"IPv{state.family}",
                "endpoints": [
                    {"addresses": [PODS[state.family][pod]], "conditions": CONDITIONS[what], "nodeName": f"node-{pod}"}
                    for pod, what in state.pods.items()
                ],
                "ports": [
                    {"name": key, "protocol": key.upper(), "port": 8000 + port} for key, port in state.ports.items()
                ],
            }
        )
    return services, slices


def entries_of(turn: Turn) -> set[Entry]:
    """All that a tracker may hold while the cluster is so: to every endpoint, and past what is not served."""
    found = set()
    served = {(protocol, destination): endpoints for protocol, destination, endpoints in turn.served()}
    for family, protocol, number, port in product((4, 6), ("udp", "sctp", "tcp"), (0, 1), (53, 54)):
        destination = (CLUSTER_IPS[family][number], port)
        endpoints = served.get((protocol, destination))
        for place, to in enumerate(sorted(endpoints) if endpoints is not None else [destination]):
            client, first = CLIENTS[family]
            mark = 3 if endpoints is None else 0x13
            entry = Entry(protocol=protocol, source=(client, first + place), destination=destination, to=to, mark=mark)
            found.add(entry)
        direct = (PODS[family][number], port)
        found.add(Entry(protocol=protocol, source=CLIENTS[family], destination=direct, to=direct, mark=3))
    return found


def valid(entry: Entry, turn: Turn) -> bool:
    """Whether an entry leads where new connections may lead, too, or is none of ours to judge."""
    served = {(protocol, destination): endpoints for protocol, destination, endpoints in turn.served()}
    endpoints = served.get((entry.protocol, entry.destination))
    if entry.protocol == "tcp":
        return True
    if entry.mark & 0x10:
        return endpoints is not None and entry.to in endpoints
    return endpoints is None


async def live(history: list[Turn]) -> None:
    loop = Loop()
    async with loop.running():
        for turn in history:
            made_anew = {entry for entry in loop.tracker.entries if not valid(entry, turn)}

            def meet_a_late_packet(made_anew: set[Entry] = made_anew) -> None:
                """A packet that the datapath's old flows translate makes its entry again."""
                loop.tracker.entries |= made_anew
                made_anew.clear()

            loop.tracker.following = meet_a_late_packet
            before = set(loop.tracker.entries)
            if turn.away:
                loop.switch.lose()
            loop.list(*objects(turn))
            await loop.cleaned()
            assert loop.tracker.entries == {entry for entry in before if valid(entry, turn)}
            loop.tracker.entries |= entries_of(turn)


@settings(max_examples=60, deadline=None)
@given(history=st.lists(turns(), min_size=1, max_size=5))
def test_after_any_history_no_entry_leads_to_what_is_gone_and_no_valid_entry_was_lost(history: list[Turn]) -> None:
    asyncio.run(live(history))
