"""The Node's stack under Windows: the steps' text by golden files, what they do in a model of Windows.

With ANTREA_PROXY_WRITE_GOLDEN=1 in the environment, this file writes its golden files anew: read what changed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.host.errors import HostError
from antrea_proxy.host.services import External, HostServices, NodePort
from antrea_proxy.host.stack import NodeStack
from antrea_proxy.host.values import Address, Link, Neighbour, Route
from antrea_proxy.host.windows.desired import NODE_PORT_NAT, Nat, StaticMapping, WindowsState, desired_windows
from antrea_proxy.host.windows.powershell import first_steps, quoted, removal, steps
from antrea_proxy.host.windows.stack import WindowsStack
from antrea_proxy.network.values import NODE_PORT_IPV4, Network, ServiceEntry
from antrea_proxy.proxy.frontends import Protocol
from unit.host.test_desired_host import IPV4_ONLY, NETWORK, ROUTED, TUNNELLED
from windows_model import Windows

GOLDEN = Path(__file__).parents[2] / "data" / "windows"
ENTRY = ServiceEntry(
    local_addresses=(IPv4Address("172.18.0.1"),), node_port_addresses=(IPv4Address("172.18.0.1"),), localhost=True
)
PROXY_ALL = replace(IPV4_ONLY, service_entry=ENTRY)
SERVED = HostServices(
    node_ports=frozenset({NodePort(4, Protocol.TCP, 30080), NodePort(4, Protocol.UDP, 30053)}),
    externals=frozenset({External(IPv4Address("192.0.2.7"), Protocol.TCP, 80)}),
    cluster_ips=frozenset({IPv4Address("10.96.0.10")}),
    ranges=frozenset({IPv4Network("10.96.0.0/24")}),
)
GATEWAY = Link(name="antrea-gw0", mac="0a:58:0a:0a:01:01", mtu=1450, up=True)


def assert_golden(name: str, found: Sequence[str]) -> None:
    """Compare steps with a file, or write it where that is asked for."""
    path, text = GOLDEN / f"{name}.ps1", "".join(f"{step}\n" for step in found)
    if os.environ.get("ANTREA_PROXY_WRITE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


def state(network: Network = PROXY_ALL, services: HostServices = SERVED) -> WindowsState:
    return desired_windows(network, services)


CHANGES = {
    "a-node-port-more": (
        state(),
        state(services=replace(SERVED, node_ports=SERVED.node_ports | {NodePort(4, Protocol.TCP, 30443)})),
    ),
    "a-node-port-less": (
        state(),
        state(services=replace(SERVED, node_ports=frozenset({NodePort(4, Protocol.TCP, 30080)}))),
    ),
    "a-peer-less": (state(), state(replace(PROXY_ALL, peers=()))),
    "a-peer-by-a-route": (state(replace(PROXY_ALL, peers=())), state(replace(PROXY_ALL, peers=(ROUTED,)))),
    "proxy-all-off": (state(), state(IPV4_ONLY)),
    "another-pod-cidr": (
        state(),
        state(
            replace(
                PROXY_ALL,
                pod_cidrs=(IPv4Network("10.10.7.0/24"),),
                gateway=replace(PROXY_ALL.gateway, mac="0a:58:0a:0a:07:01", addresses=(IPv4Interface("10.10.7.1/24"),)),
            )
        ),
    ),
}


def test_the_first_steps_are_those_of_the_golden_file() -> None:
    assert_golden("first", first_steps(state()))
    assert_golden("first-dual-stack", first_steps(desired_windows(replace(NETWORK, service_entry=ENTRY), SERVED)))


def test_the_removal_is_that_of_the_golden_file() -> None:
    assert_golden("removal", removal("antrea-gw0"))


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_the_steps_of_a_change_are_those_of_the_golden_file_and_lead_there_and_back(name: str) -> None:
    before, after = CHANGES[name]
    assert_golden(name, steps(before, after))
    windows = Windows.with_switch("antrea-gw0")
    windows.run(first_steps(before))
    for earlier, later in ((before, after), (after, before)):
        windows.run(steps(earlier, later))
        assert windows.holds(later)


ADDRESSES = st.builds(IPv4Address, st.integers(0x0A0A0002, 0x0A0A0006))
STATES = st.builds(
    WindowsState,
    gateway=st.just(GATEWAY),
    addresses=st.frozensets(
        st.builds(lambda ip: Address(interface="antrea-gw0", address=IPv4Interface(f"{ip}/24")), ADDRESSES)
    ),
    neighbours=st.dictionaries(ADDRESSES, st.sampled_from(["aa:bb:cc:dd:ee:ff", "0a:58:0a:0a:01:01"])).map(
        lambda macs: frozenset(Neighbour(interface="antrea-gw0", address=ip, mac=mac) for ip, mac in macs.items())
    ),
    routes=st.dictionaries(st.integers(0, 5).map(lambda number: IPv4Network(f"10.20.{number}.0/24")), ADDRESSES).map(
        lambda found: frozenset(
            Route(destination=destination, via=via, interface="antrea-gw0" if int(via) % 2 else None)
            for destination, via in found.items()
        )
    ),
    nats=st.just(frozenset({Nat(name=NODE_PORT_NAT, inside=IPv4Network(NODE_PORT_IPV4))})),
    mappings=st.frozensets(
        st.builds(
            StaticMapping,
            protocol=st.sampled_from(["TCP", "UDP"]),
            port=st.integers(30000, 30004),
            to=st.just(NODE_PORT_IPV4),
        )
    ),
)


@given(STATES, STATES)
def test_whatever_a_node_holds_it_comes_to_hold_what_is_desired(before: WindowsState, after: WindowsState) -> None:
    windows = Windows.with_switch("antrea-gw0")
    windows.run(first_steps(before))
    assert windows.holds(before)
    windows.run(first_steps(before))
    assert windows.holds(before)
    windows.run(steps(before, after))
    assert windows.holds(after)
    windows.run(steps(before, after))  # as when the agent ended before it noted that they were run
    assert windows.holds(after)
    assert steps(after, after) == ()
    windows.run(first_steps(before))  # an agent that starts does not know what is there
    assert windows.holds(before)
    windows.run(removal("antrea-gw0"))
    assert windows.holds(WindowsState(gateway=GATEWAY))


def test_what_windows_cannot_do_is_named_with_a_way_out() -> None:
    services = replace(
        SERVED,
        node_ports=frozenset({NodePort(6, Protocol.TCP, 30080), NodePort(4, Protocol.SCTP, 30132)}),
        externals=frozenset({External(IPv4Address("172.18.0.1"), Protocol.TCP, 80)}),
    )
    found = desired_windows(replace(NETWORK, service_entry=ENTRY), services)
    assert not found.mappings
    texts = "\n".join(found.left_out)
    for expected in ("30080/TCP of IPv6", "30132/SCTP", "172.18.0.1 port 80/TCP", "fd00:10:1::/64"):
        assert expected in texts
    assert desired_windows(NETWORK, services).mappings == frozenset()


@pytest.mark.parametrize("name", ["a'b", "a\u2019b", "$(Remove-Item C:)", "a`b"])
def test_a_name_is_a_name_whatever_it_says(name: str) -> None:
    text = quoted(name)
    assert text[0] == text[-1] == "'"
    for quote in "'\u2018\u2019\u201a\u201b":
        assert text[1:-1].count(quote) % 2 == 0


def test_a_name_with_a_line_break_is_refused() -> None:
    with pytest.raises(ValueError, match="printable"):
        quoted("a\nb")


class Failing:
    """Runs steps in a model of Windows, or fails when told to."""

    def __init__(self) -> None:
        self.windows = Windows.with_switch("antrea-gw0")
        self.fails = False
        self.ran = 0

    async def run(self, found: tuple[str, ...]) -> None:
        """Run steps, the first half of them where it fails."""
        self.ran += len(found)
        self.windows.run(found[: len(found) // 2] if self.fails else found)
        if self.fails:
            raise HostError("Access is denied")


def test_the_stack_holds_what_is_asked_after_a_failure_too_and_nothing_after_its_removal() -> None:
    async def scenario() -> None:
        shell = Failing()
        stack: NodeStack = WindowsStack(shell.run)
        assert not await stack.serve(SERVED)
        network = replace(PROXY_ALL, peers=(TUNNELLED,))
        taken = await stack.apply(network, HostServices(), userspace_datapath=False)
        assert taken
        assert taken.summary["steps"] == len(taken.details.splitlines())
        shell.ran = 0
        assert await stack.serve(SERVED)
        assert shell.windows.holds(desired_windows(network, SERVED))
        assert shell.ran == len(SERVED.node_ports) + len(SERVED.addresses) + len(SERVED.ranges)
        shell.fails = True
        with pytest.raises(HostError):
            await stack.serve(HostServices())
        shell.fails = False
        assert not await stack.serve(HostServices())
        await stack.apply(network, HostServices(), userspace_datapath=False)
        assert shell.windows.holds(desired_windows(network, HostServices()))
        await stack.cleanup("antrea-gw0")
        assert shell.windows.holds(WindowsState(gateway=GATEWAY))

    asyncio.run(scenario())
