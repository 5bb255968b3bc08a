"""Which addresses Pods get, and in which order."""

from __future__ import annotations

import time
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antrea_proxy.cni.address_ranges import AddressesExhaustedError, AddressRange, gateway_of


def test_network_gateway_and_broadcast_are_never_given() -> None:
    """A /29 gives five addresses."""
    addresses = AddressRange(IPv4Network("10.10.1.8/29"))
    assert [str(addresses.take()) for _ in range(5)] == [f"10.10.1.{last}/29" for last in range(10, 15)]
    with pytest.raises(AddressesExhaustedError, match=r"podCIDR 10\.10\.1\.8/29: all 5 are given"):
        addresses.take()
    assert gateway_of(IPv4Network("10.10.1.8/29")) == IPv4Address("10.10.1.9")


def test_ipv6_has_no_broadcast_address() -> None:
    """A /126 gives the two after network and gateway."""
    addresses = AddressRange(IPv6Network("fd00:10:1::/126"))
    assert [addresses.take() for _ in range(2)] == [
        IPv6Interface("fd00:10:1::2/126"),
        IPv6Interface("fd00:10:1::3/126"),
    ]


@pytest.mark.parametrize("cidr", ["10.10.1.0/30", "10.10.1.0/31", "10.10.1.0/32"])
def test_a_tiny_range_gives_what_it_has(cidr: str) -> None:
    """A /30 has one address for a Pod, /31 and /32 none."""
    addresses = AddressRange(IPv4Network(cidr))
    assert addresses.size == (1 if cidr.endswith("/30") else 0)
    for _ in range(addresses.size):
        addresses.take()
    with pytest.raises(AddressesExhaustedError):
        addresses.take()


def test_an_address_that_was_given_back_comes_last() -> None:
    """Clients of a Pod that is gone do not at once meet another one at its address."""
    addresses = AddressRange(IPv4Network("10.10.1.0/24"))
    first = addresses.take()
    addresses.give_back(first.ip)
    others = [addresses.take() for _ in range(addresses.size - 1)]
    assert first not in others
    assert addresses.take() == first


def test_giving_out_a_whole_range_of_65533_addresses_takes_moments() -> None:
    """A /16, also when nearly all is given: the search goes on after the last one."""
    addresses = AddressRange(IPv4Network("10.10.0.0/16"))
    began = time.process_time()
    given_out = [addresses.take() for _ in range(65533)]
    assert len(set(given_out)) == 65533
    assert time.process_time() - began < 3
    addresses.give_back(IPv4Address("10.10.0.2"))
    assert addresses.take() == IPv4Interface("10.10.0.2/16")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 12)), max_size=60))
def test_no_address_is_given_twice_and_none_is_lost(steps: list[int | None]) -> None:
    """Whatever is taken and given back, in any order."""
    addresses = AddressRange(IPv4Network("10.10.1.0/28"))
    held: list[IPv4Interface] = []
    for step in steps:
        if step is None:
            if len(held) == addresses.size:
                with pytest.raises(AddressesExhaustedError):
                    addresses.take()
                continue
            taken = addresses.take()
            assert taken not in held
            assert isinstance(taken, IPv4Interface)
            held.append(taken)
        elif held:
            addresses.give_back(held.pop(step % len(held)).ip)
    for _ in range(addresses.size - len(held)):
        addresses.take()
