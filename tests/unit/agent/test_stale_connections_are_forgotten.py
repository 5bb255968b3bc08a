"""A UDP client that goes on from one port: the loop, a connection tracker in memory, and what is asked of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address

import pytest
from structlog.testing import capture_logs

from agent_loop import Loop, refuse_address
from antrea_proxy.network.values import NODE_PORT_IPV4, ServiceEntry
from antrea_proxy.proxy.frontends import Rules
from model_tracker import Entry
from worlds import WEB_1, WEB_2, endpoint_slice, network, service

DNS = service("dns", "10.96.0.10", ports=(("dns", "UDP", 53),))
PORTS = (("dns", "UDP", 5353),)
BOTH = endpoint_slice("dns", (WEB_1, "web-1", "node-2"), (WEB_2, "web-2", "node-2"), ports=PORTS)
SECOND = endpoint_slice("dns", (WEB_2, "web-2", "node-2"), ports=PORTS)
NONE = endpoint_slice("dns", ports=PORTS)


def entry(to: str, *, source: int = 40000, protocol: str = "udp", destination: str = "10.96.0.10") -> Entry:
    """A client's entry for the Service, translated to a Pod."""
    return Entry(protocol=protocol, source=("10.10.1.5", source), destination=(destination, 53), to=(to, 5353))


def past(destination: str = "10.96.0.10") -> Entry:
    """A client's entry that no Service translated."""
    return Entry(
        protocol="udp", source=("10.10.1.5", 40000), destination=(destination, 53), to=(destination, 53), mark=3
    )


TO_FIRST, TO_SECOND = entry(WEB_1), entry(WEB_2, source=40001)


def test_a_change_that_leaves_every_endpoint_in_place_asks_for_nothing() -> None:
    async def run() -> None:
        loop = Loop()
        loop.list([DNS], [SECOND])
        async with loop.running():
            await loop.cleaned()
            loop.tracker.entries = {TO_SECOND}
            loop.put(service("other", "10.96.0.11"))
            loop.put(DNS | {"spec": DNS["spec"] | {"internalTrafficPolicy": "Local"}})
            loop.put(None, BOTH)
            await loop.cleaned()
            assert loop.tracker.asked == []
            assert loop.tracker.entries == {TO_SECOND}

    asyncio.run(run())


def test_an_endpoint_that_comes_back_meanwhile_keeps_what_was_connected_to_it_since() -> None:
    async def run() -> None:
        loop = Loop()
        loop.list([DNS], [BOTH])
        async with loop.running():
            await loop.cleaned()
            loop.tracker.entries = {TO_FIRST, TO_SECOND}
            loop.put(None, SECOND)
            await loop.settled()
            await loop.until(lambda: loop.tracker.entries == {TO_SECOND})
            loop.put(None, BOTH)
            await loop.settled()
            loop.tracker.entries |= {TO_FIRST}
            await loop.cleaned()
            assert loop.tracker.entries == {TO_FIRST, TO_SECOND}

    asyncio.run(run())


def test_an_endpoint_that_goes_for_the_second_time_is_waited_for_as_long_as_the_first_time() -> None:
    async def run() -> None:
        loop = Loop()
        loop.list([DNS], [BOTH])
        async with loop.running():
            await loop.cleaned()
            for _ in range(2):
                loop.put(None, SECOND)
                await loop.settled()
                loop.put(None, BOTH)
                await loop.settled()
            loop.put(None, SECOND)
            await loop.settled()
            loop.tracker.entries = {TO_FIRST}
            await loop.cleaned()
            assert loop.tracker.entries == set()

    asyncio.run(run())


def test_while_the_switch_refuses_a_change_its_connections_stay_and_they_go_when_it_takes_it() -> None:
    async def run() -> None:
        loop = Loop()
        loop.list([DNS], [BOTH])
        async with loop.running():
            await loop.cleaned()
            loop.tracker.entries = {TO_FIRST, TO_SECOND}
            loop.switch.refuses = refuse_address("10.96.0.10")
            loop.put(None, SECOND)
            await loop.cleaned()
            await asyncio.sleep(0.01)
            assert loop.tracker.entries == {TO_FIRST, TO_SECOND}
            loop.switch.refuses = lambda _: False
            await loop.until(lambda: loop.tracker.entries == {TO_SECOND})

    asyncio.run(run())


def test_an_address_that_goes_from_one_service_to_another_takes_no_connection_with_it() -> None:
    async def run() -> None:
        loop = Loop()
        heir = service("heir", "10.96.0.10", ports=(("dns", "UDP", 53),))
        heir_slice = endpoint_slice("heir", (WEB_2, "web-2", "node-2"), ports=PORTS)
        loop.list([DNS], [BOTH])
        async with loop.running():
            await loop.cleaned()
            loop.tracker.entries = {TO_FIRST, TO_SECOND}
            loop.list([heir], [heir_slice])
            await loop.cleaned()
            assert loop.tracker.entries == {TO_SECOND}

    asyncio.run(run())


def test_scaled_to_zero_and_back_nobody_stays_behind() -> None:
    async def run() -> None:
        loop = Loop()
        loop.list([DNS], [BOTH])
        async with loop.running():
            await loop.cleaned()
            loop.tracker.entries = {TO_FIRST, TO_SECOND}
            loop.put(None, NONE)
            await loop.cleaned()
            assert loop.tracker.entries == set()
            loop.tracker.entries = {past()}
            loop.put(None, SECOND)
            await loop.cleaned()
            assert loop.tracker.entries == set()

    asyncio.run(run())


def test_of_many_stale_courses_the_entries_are_listed_and_forgotten_one_by_one() -> None:
    async def run() -> None:
        loop = Loop()
        many = [f"10.10.2.{number}" for number in range(20, 60)]
        loop.list([DNS], [endpoint_slice("dns", *((pod, pod, "node-2") for pod in (*many, WEB_2)), ports=PORTS)])
        async with loop.running():
            await loop.cleaned()
            stale = {entry(pod, source=50000 + place) for place, pod in enumerate(many)}
            others = {TO_SECOND, past("10.96.0.77"), entry(many[0], protocol="tcp")}
            loop.tracker.entries = stale | others
            before = loop.tracker.dumps
            loop.put(None, SECOND)
            await loop.cleaned()
            assert loop.tracker.entries == others
            assert loop.tracker.dumps == before + 3
            assert {flush.original.source_port for flush in loop.tracker.asked} == {one.source[1] for one in stale}, (
                "each names its client, so that no other can be meant"
            )

    asyncio.run(run())


def test_what_changed_while_no_agent_ran_is_found_among_the_entries() -> None:
    async def run() -> None:
        loop = Loop()
        loop.list([DNS], [SECOND])
        others = {
            TO_SECOND,
            entry(WEB_1, protocol="tcp"),
            past("10.96.0.77"),
            replace(TO_FIRST, zone=1),
        }
        loop.tracker.entries = {TO_FIRST, past(), entry(WEB_2, destination="10.96.0.66"), *others}
        async with loop.running():
            await loop.cleaned()
            assert loop.tracker.entries == others
            assert loop.last().switch.connection_flushes == 3

    asyncio.run(run())


def test_switched_off_by_its_feature_gate_it_asks_for_nothing_and_lists_nothing() -> None:
    async def run() -> None:
        loop = Loop(cleaned_protocols=())
        loop.tracker.entries = {TO_FIRST, past()}
        loop.list([DNS], [BOTH])
        async with loop.running():
            loop.put(None, NONE)
            await loop.cleaned()
            assert (loop.tracker.asked, loop.tracker.dumps) == ([], 0)

    asyncio.run(run())


@pytest.mark.parametrize("protocol", ["TCP", "SCTP"])
def test_tcp_is_left_to_its_own_ways_and_sctp_is_cleaned(protocol: str) -> None:
    async def run() -> None:
        loop = Loop()
        given = service("dns", "10.96.0.10", ports=(("dns", protocol, 53),))
        ports = (("dns", protocol, 5353),)
        loop.list([given], [endpoint_slice("dns", (WEB_1, "web-1", "node-2"), ports=ports)])
        async with loop.running():
            await loop.cleaned()
            loop.tracker.entries = {entry(WEB_1, protocol=protocol.lower())}
            loop.put(None, endpoint_slice("dns", ports=ports))
            await loop.cleaned()
            assert bool(loop.tracker.entries) is (protocol == "TCP")

    asyncio.run(run())


def test_a_switch_that_cannot_forget_is_told_of_and_goes_on_balancing() -> None:
    async def run() -> None:
        loop = Loop()
        loop.list([DNS], [BOTH])
        async with loop.running():
            await loop.cleaned()
            loop.tracker.refuses = "BAD_REQUEST/BAD_EXPERIMENTER"
            with capture_logs() as logs:
                loop.put(None, SECOND)
                await loop.cleaned()
            assert any("BAD_EXPERIMENTER" in line.get("error", "") for line in logs)
            loop.put(service("other", "10.96.0.11"))
            await loop.settled()
            assert loop.serves("10.96.0.11")

    asyncio.run(run())


NODE = ip_address("172.18.0.1")
NODE_PORTS = (str(NODE_PORT_IPV4), str(NODE))
"""Where a NodePort's connections lead: from the Node's stack, and of Pods."""


def at_node_port(address: str, to: str) -> Entry:
    """A client's entry at NodePort 30053."""
    source = 40000 + int(to.rpartition(".")[2])
    return Entry(protocol="udp", source=("10.10.1.5", source), destination=(address, 30053), to=(to, 5353))


def with_node_port() -> Loop:
    """The Service with a NodePort, on a Node with proxyAll."""
    entry_of_services = ServiceEntry(local_addresses=(NODE,), node_port_addresses=(NODE,), localhost=False)
    loop = Loop(net=replace(network(), service_entry=entry_of_services), rules=Rules(proxy_all=True))
    ports = [{"name": "dns", "protocol": "UDP", "port": 53, "nodePort": 30053}]
    loop.list([DNS | {"spec": DNS["spec"] | {"type": "NodePort", "ports": ports}}], [BOTH])
    return loop


def test_at_a_node_port_a_start_leaves_alone_what_goes_to_an_endpoint_that_is_there() -> None:
    async def run() -> None:
        loop = with_node_port()
        kept = {at_node_port(address, to) for address in NODE_PORTS for to in (WEB_1, WEB_2)}
        loop.tracker.entries = kept | {at_node_port(str(NODE), "10.10.2.77")}
        async with loop.running():
            await loop.cleaned()
            assert loop.tracker.entries == kept

    asyncio.run(run())


def test_an_endpoint_that_goes_loses_its_clients_at_node_ports_whichever_address_they_asked_at() -> None:
    async def run() -> None:
        loop = with_node_port()
        async with loop.running():
            await loop.cleaned()
            kept = {at_node_port(address, WEB_2) for address in NODE_PORTS}
            loop.tracker.entries = kept | {at_node_port(address, WEB_1) for address in NODE_PORTS}
            loop.put(None, SECOND)
            await loop.cleaned()
            assert loop.tracker.entries == kept

    asyncio.run(run())
