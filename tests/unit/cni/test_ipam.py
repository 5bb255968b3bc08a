"""Leases outlive the agent, and a disk that refuses leaves them as they were."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antrea_proxy.cni.codes import ErrorCode
from antrea_proxy.cni.errors import CniError
from antrea_proxy.cni.ipam import AddressPool, Lease
from antrea_proxy.cni.protocol import AttachmentKey
from antrea_proxy.cni.state_file import StateFile, StateFileError
from cni_fakes import CIDR4, CIDR6, FakeNode

KEY = AttachmentKey("c1", "eth0")
OTHER = AttachmentKey("c2", "eth0")


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a test's own coroutine."""
    asyncio.run(work)


def addresses(lease: Lease) -> list[str]:
    """Return a lease's addresses as text."""
    return [str(address) for address in lease.addresses]


def test_leases_and_the_place_in_the_range_outlive_a_restart(tmp_path: Path) -> None:
    """Round-robin goes on where it was, so that a restart does not give an address back at once."""

    async def scenario() -> None:
        store = StateFile(tmp_path / "pods" / "addresses.json")
        pool = AddressPool(store, cidrs=(CIDR4, CIDR6))
        first = await pool.allocate(KEY, "web-1-abcdef")
        second = await pool.allocate(OTHER, "web-2-abcdef")
        assert addresses(second) == ["10.10.1.3/24", "fd00:10:1::3/64"]
        await pool.release(OTHER)
        later = AddressPool(store, cidrs=(CIDR4, CIDR6))
        assert later.load() is None
        assert dict(later.leases) == {KEY: first}
        assert addresses(await later.allocate(OTHER, "web-2-abcdef")) == ["10.10.1.4/24", "fd00:10:1::4/64"]

    run(scenario())


def test_podcidrs_may_arrive_after_the_state_was_read(tmp_path: Path) -> None:
    """The Node object comes from the API server, the state from the disk."""

    async def scenario() -> None:
        store = StateFile(tmp_path / "addresses.json")
        await AddressPool(store, cidrs=(CIDR4,)).allocate(KEY, "a")
        pool = AddressPool(store)
        pool.load()
        with pytest.raises(CniError) as caught:
            await pool.allocate(OTHER, "b")
        assert caught.value.code is ErrorCode.TRY_AGAIN_LATER
        pool.set_cidrs((CIDR4,))
        assert addresses(await pool.allocate(OTHER, "b")) == ["10.10.1.3/24"]

    run(scenario())


def test_two_podcidrs_of_one_family_are_refused() -> None:
    """The API allows one of each."""
    with pytest.raises(ValueError, match="at most one of each IP family"):
        AddressPool(FakeNode(), cidrs=(CIDR4, IPv4Network("10.10.2.0/24")))


def test_leases_of_an_earlier_podcidr_stay_and_new_ones_come_from_the_new() -> None:
    """A Node that was made anew under its name may get another range."""

    async def scenario() -> None:
        pool = AddressPool(FakeNode(), cidrs=(CIDR4,))
        await pool.allocate(KEY, "a")
        pool.set_cidrs((IPv4Network("10.20.0.0/24"),))
        assert addresses(await pool.allocate(OTHER, "b")) == ["10.20.0.2/24"]
        await pool.release(KEY)
        assert set(pool.leases) == {OTHER}

    run(scenario())


def test_when_one_family_is_used_up_nothing_is_taken_from_the_other() -> None:
    """The error names the range that is full."""

    async def scenario() -> None:
        pool = AddressPool(FakeNode(), cidrs=(IPv4Network("10.10.1.0/29"), IPv6Network("fd00:10:1::/127")))
        with pytest.raises(CniError, match=r"fd00:10:1::/127: all 0 are given"):
            await pool.allocate(KEY, "a")
        assert not pool.leases
        pool.set_cidrs((IPv4Network("10.10.1.0/29"),))
        for number in range(5):
            await pool.allocate(AttachmentKey(f"c{number}", "eth0"), "a")

    run(scenario())


def test_addresses_that_could_not_be_saved_are_free_again() -> None:
    """A range of five gives five, however often the disk was full before."""

    async def scenario() -> None:
        node = FakeNode(refusing={"save"})
        pool = AddressPool(node, cidrs=(IPv4Network("10.10.1.0/29"),))
        for _ in range(7):
            with pytest.raises(StateFileError, match="No space left on device"):
                await pool.allocate(KEY, "a")
        node.refusing.clear()
        for number in range(5):
            await pool.allocate(AttachmentKey(f"c{number}", "eth0"), f"h{number}")

    run(scenario())


def test_one_write_serves_many_that_wait() -> None:
    """Thirty Pods that start at once do not sync the disk thirty times."""

    async def scenario() -> None:
        node = FakeNode()
        saves = 0

        class Counting:
            load, set_aside = node.load, node.set_aside

            def save(self, text: bytes) -> None:
                nonlocal saves
                saves += 1
                node.save(text)

        pool = AddressPool(Counting(), cidrs=(CIDR4,))
        await asyncio.gather(*(pool.allocate(AttachmentKey(f"c{n}", "eth0"), f"h{n}") for n in range(30)))
        assert saves <= 3
        later = AddressPool(node, cidrs=(CIDR4,))
        later.load()
        assert len(later.leases) == 30

    run(scenario())


def test_two_holders_of_one_address_are_named() -> None:
    """Whoever rebuilds the leases must not make such a state."""

    async def scenario() -> None:
        pool = AddressPool(FakeNode(), cidrs=(CIDR4,))
        lease = await pool.allocate(KEY, "a")
        twin = Lease(key=OTHER, host_interface="b", addresses=lease.addresses)
        with pytest.raises(ValueError, match=r"10\.10\.1\.2 is held by both c1/eth0 and c2/eth0"):
            await pool.replace([lease, twin])
        assert dict(pool.leases) == {KEY: lease}

    run(scenario())


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_no_contents_of_the_file_stop_the_agent(contents: bytes) -> None:
    """What cannot be read is moved aside, whatever it is."""
    node = FakeNode(disk=contents)
    message = AddressPool(node, cidrs=(CIDR4,)).load()
    assert message is not None
    assert "moved to /state.malformed-1" in message
    assert node.aside == [contents]


@pytest.mark.parametrize(
    "contents",
    [
        b'{"version":2,"previous":{},"leases":[]}',
        b'{"version":1,"previous":{"10.10.1.0/24":"x"},"leases":[]}',
        b'{"version":1,"previous":{},"leases":[{"container":"c","interface":"e","host_interface":"h","addresses":["1"]}]}',
        b'{"version":1,"previous":{},"leases":{},"more":1}',
    ],
    ids=["version", "previous", "address", "fields"],
)
def test_a_well_formed_file_of_another_kind_is_moved_aside_too(contents: bytes) -> None:
    """JSON alone does not make it ours."""
    node = FakeNode(disk=contents)
    assert AddressPool(node, cidrs=(CIDR4,)).load() is not None
    assert node.aside == [contents]


def test_every_torn_file_is_moved_aside() -> None:
    """Cut at any byte."""

    async def scenario() -> None:
        node = FakeNode()
        await AddressPool(node, cidrs=(CIDR4, CIDR6)).allocate(KEY, "web-1-abcdef")
        whole = node.disk
        assert whole is not None
        for length in range(len(whole)):
            torn = FakeNode(disk=whole[:length])
            assert AddressPool(torn, cidrs=(CIDR4, CIDR6)).load() is not None

    run(scenario())


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    """Here the directory entry cannot be replaced."""
    path = tmp_path / "addresses.json"
    (path / "in the way").mkdir(parents=True)
    with pytest.raises(StateFileError, match=r"addresses\.json cannot be saved: .*directory") as caught:
        StateFile(path).save(b"new")
    assert caught.value.code is ErrorCode.IO_FAILURE
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_moved_aside_can_be_looked_at(tmp_path: Path) -> None:
    """Its new name is told, and the old one is free."""
    store = StateFile(tmp_path / "addresses.json")
    store.save(b"garbage")
    aside = Path(store.set_aside())
    assert aside.read_bytes() == b"garbage"
    assert aside.name.startswith("addresses.json.malformed-")
    assert store.load() is None
