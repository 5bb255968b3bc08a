"""What is ours on the Node is mended, nothing else touched, and a second look changes nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.host.changes import KernelChanges, diff
from antrea_proxy.host.desired import HostState
from antrea_proxy.host.errors import HostError, InterfaceMissing
from antrea_proxy.host.host import Host, Repair
from antrea_proxy.host.nftables import Chain, Set, Table
from antrea_proxy.host.values import Address, KernelState, Link, Neighbour, Route, Sysctl
from host_fakes import FakeKernel, FakeNft

NAMES = ("antrea-gw0", "antrea-refuse0")
NOTHING = Repair(kernel=(), table=False, shielded_ports=frozenset())


def _cidr(number: int) -> IPv4Network:
    return IPv4Network((int(IPv4Address("10.10.0.0")) + (number << 8), 24))


ROUTES = st.dictionaries(
    st.integers(0, 5),
    st.builds(
        lambda last, own: (IPv4Address("172.18.0.0") + last, "antrea-gw0" if own else None),
        st.integers(1, 3),
        st.booleans(),
    ),
    max_size=5,
).map(
    lambda chosen: frozenset(Route(destination=_cidr(n), via=via, interface=name) for n, (via, name) in chosen.items())
)
NEIGHBOURS = st.dictionaries(st.integers(1, 4), st.sampled_from(["aa:bb:cc:dd:ee:ff", ""]), max_size=4).map(
    lambda chosen: frozenset(
        Neighbour(interface="antrea-gw0", address=IPv4Address("10.10.0.0") + n, mac=mac) for n, mac in chosen.items()
    )
)
ADDRESSES = st.frozensets(
    st.builds(
        lambda last, prefix: Address(interface="antrea-gw0", address=IPv4Interface(f"10.10.1.{last}/{prefix}")),
        st.integers(1, 3),
        st.sampled_from([24, 25]),
    ),
    max_size=3,
)
LINKS = st.tuples(
    st.sampled_from([1400, 1450]), st.booleans(), st.sampled_from(["0a:58:0a:0a:01:01", "0a:58:0a:0a:01:02"])
).map(lambda chosen: frozenset(Link(name=name, mac=chosen[2], mtu=chosen[0], up=chosen[1]) for name in NAMES))
SYSCTLS = st.sampled_from(["0", "1"]).map(lambda value: frozenset({Sysctl(key="net/ipv4/ip_forward", value=value)}))
STATES = st.builds(KernelState, links=LINKS, addresses=ADDRESSES, neighbours=NEIGHBOURS, routes=ROUTES, sysctls=SYSCTLS)
TABLES = st.frozensets(st.integers(0, 5).map(lambda n: str(_cidr(n)))).map(
    lambda elements: Table(
        family="inet",
        name="antrea-proxy",
        sets=(Set(name="s", type="ipv4_addr", interval=True, elements=elements),),
        chains=(Chain(name="c", hook="", rules=()),),
    )
)
HOSTS = st.builds(
    HostState, kernel=STATES, table=TABLES, shielded_ports=st.frozensets(st.sampled_from(["p1", "p2", *NAMES]))
)


def held(kernel: FakeKernel) -> KernelState:
    """Return all that the fake holds."""
    return asyncio.run(kernel.read(interfaces=frozenset(kernel.links), sysctls=frozenset(kernel.sysctls)))


@given(STATES)
def test_nothing_is_to_be_done_where_nothing_differs(state: KernelState) -> None:
    """The difference of equals is empty, and false."""
    assert diff(state, state) == KernelChanges()
    assert not diff(state, state)


@given(STATES, HOSTS)
def test_whatever_was_there_the_desired_state_is_there_afterwards_and_a_second_call_changes_nothing(
    before: KernelState, desired: HostState
) -> None:
    """Also where an address that goes takes the new one along."""
    kernel = FakeKernel.holding(before)
    host = Host(kernel, FakeNft())
    asyncio.run(host.apply(desired))
    assert held(kernel) == desired.kernel
    assert asyncio.run(host.apply(desired)) == NOTHING


@given(STATES, STATES)
def test_a_destination_that_stays_never_loses_its_route(before: KernelState, after: KernelState) -> None:
    """Make before break."""
    kernel = FakeKernel.holding(before)
    asyncio.run(kernel.apply(diff(before, after)))
    staying = {route.destination for route in before.routes} & {route.destination for route in after.routes}
    assert all(staying <= routes for routes in kernel.history)


@given(HOSTS, HOSTS)
def test_shields_are_there_for_ports_that_exist_and_stay_for_those_that_are_coming(
    desired: HostState, other: HostState
) -> None:
    """A Pod's port is shielded before the network knows of the Pod."""
    kernel, nft = FakeKernel.holding(desired.kernel), FakeNft(shields=set(other.shielded_ports))
    kernel.links["p1"] = Link(name="p1", mac="", mtu=1500, up=True)
    asyncio.run(Host(kernel, nft).apply(desired))
    assert nft.shields == (desired.shielded_ports | other.shielded_ports) & set(kernel.links)


@given(HOSTS)
def test_cleanup_leaves_nothing_of_ours_and_everything_of_others(desired: HostState) -> None:
    """Links and forwarding are not ours to take away."""
    kernel = FakeKernel.holding(desired.kernel)
    theirs = Address(interface="eth0", address=IPv4Interface("172.18.0.1/24"))
    kernel.addresses.append(theirs)
    nft = FakeNft(tables={"inet theirs": object()})
    host = Host(kernel, nft)
    asyncio.run(host.apply(desired))
    asyncio.run(host.cleanup("antrea-gw0"))
    left = held(kernel)
    assert left == KernelState(links=desired.kernel.links, sysctls=desired.kernel.sysctls)
    assert kernel.addresses == [theirs]
    assert set(nft.tables) == {"inet theirs"}


DESIRED = HostState(
    kernel=KernelState(
        links=frozenset({Link(name="antrea-gw0", mac="0a:58:0a:0a:01:01", mtu=1450, up=True)}),
        routes=frozenset({Route(destination=_cidr(2), via=IPv4Address("10.10.2.1"), interface="antrea-gw0")}),
    ),
    table=Table(family="inet", name="antrea-proxy"),
    shielded_ports=frozenset(),
)


def test_a_route_that_somebody_else_has_is_not_taken_from_him() -> None:
    """The kernel refuses, and it is said."""
    kernel = FakeKernel.holding(replace(DESIRED.kernel, routes=frozenset()))
    kernel.foreign_routes.add(_cidr(2))
    with pytest.raises(HostError, match=r"10\.10\.2\.0/24"):
        asyncio.run(Host(kernel, FakeNft()).apply(DESIRED))


def test_a_part_that_fails_does_not_keep_the_others_from_being_done() -> None:
    """And its words come through."""
    kernel = FakeKernel.holding(replace(DESIRED.kernel, routes=frozenset()))
    with pytest.raises(HostError, match="Operation not permitted"):
        asyncio.run(Host(kernel, FakeNft(words="Operation not permitted")).apply(DESIRED))
    assert kernel.destinations == {_cidr(2)}


def test_two_parts_that_fail_are_both_named() -> None:
    """One after the other would take two rounds to mend."""
    with pytest.raises(HostError, match=r"Operation not permitted.*antrea-gw0"):
        asyncio.run(Host(FakeKernel(), FakeNft(words="Operation not permitted")).apply(DESIRED))


def test_a_gateway_that_the_switch_has_not_made_is_named() -> None:
    """Before anything is tried on it."""
    with pytest.raises(InterfaceMissing, match="antrea-gw0"):
        asyncio.run(Host(FakeKernel(), FakeNft()).apply(DESIRED))


def test_a_state_that_does_not_stay_as_it_is_set_is_an_error_and_no_endless_loop() -> None:
    """Another program that fights over the gateway."""

    class Stubborn(FakeKernel):
        async def apply(self, changes: KernelChanges) -> None:
            """Take the change back at once."""

    kernel = Stubborn.holding(replace(DESIRED.kernel, routes=frozenset()))
    with pytest.raises(HostError, match="does not stay"):
        asyncio.run(Host(kernel, FakeNft()).apply(DESIRED))
