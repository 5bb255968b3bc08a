"""The database facade on a real Open vSwitch."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from antrea_proxy.ovsdb import (
    OURS,
    BridgeError,
    Database,
    OvsdbRefused,
    OvsdbUnavailable,
    PortError,
    SwitchTimeout,
    control,
    switch_version,
)
from private_switch import PrivateSwitch, private_switch, run

TUNNEL = {"key": "flow", "remote_ip": "flow"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateSwitch]:
    """A switch for all tests of this file; each uses a bridge of its own."""
    with private_switch(tmp_path_factory.mktemp("ovsdb"), f"ovsdb-{os.getpid()}") as switch:
        yield switch


def within(work: Coroutine[Any, Any, None]) -> None:
    """Run a test that must not take long."""
    asyncio.run(asyncio.wait_for(work, 30))


def test_a_bridge_is_there_when_the_call_returns_and_a_second_call_changes_nothing(running: PrivateSwitch) -> None:
    """OpenFlow 1.5 is among its protocols, and it forwards nothing by itself."""

    async def work() -> None:
        async with Database(running.socket) as database:
            made = await database.ensure_bridge("br-a", "netdev", hwaddr="0a:58:00:00:00:01")
            assert made.fail_mode == "secure"
            assert "OpenFlow15" in made.protocols
            assert made.datapath_id.endswith("0a5800000001")
            serial = running.vsctl("get", "Open_vSwitch", ".", "next_cfg")
            assert await database.ensure_bridge("br-a", "netdev", hwaddr="0a:58:00:00:00:01") == made
            assert running.vsctl("get", "Open_vSwitch", ".", "next_cfg") == serial
            await database.delete_bridge("br-a")
            await database.delete_bridge("br-a")
            assert await database.bridge("br-a") is None

    within(work())


def test_ports_get_their_numbers_mac_and_marks(running: PrivateSwitch) -> None:
    """Tunnel 1, gateway 2, as the pipeline counts on; the marks of others stay."""

    async def work() -> None:
        async with Database(running.socket) as database:
            await database.ensure_bridge("br-b", "netdev")
            tunnel = await database.ensure_port("br-b", "b-tun0", type="geneve", ofport_request=1, options=TUNNEL)
            gateway = await database.ensure_port(
                "br-b", "b-gw0", type="internal", ofport_request=2, mac="0a:58:0a:0a:01:01", external_ids={"a": "1"}
            )
            assert (tunnel, gateway) == (1, 2)
            running.vsctl("set", "Interface", "b-gw0", "external_ids:theirs=1")
            await database.ensure_port(
                "br-b", "b-gw0", type="internal", mac="0a:58:0a:0a:01:01", external_ids={"a": "2"}
            )
            found = {port.name: port for port in await database.ports("br-b")}
            assert found["b-gw0"].external_ids == {"a": "2", "theirs": "1"}
            assert found["b-gw0"].mac_in_use == "0a:58:0a:0a:01:01"
            assert (found["b-tun0"].type, found["b-tun0"].options) == ("geneve", TUNNEL)
            assert set(found) == {"br-b", "b-gw0", "b-tun0"}
            await database.delete_port("br-b", "b-gw0")
            await database.delete_port("br-b", "b-gw0")
            assert {port.name for port in await database.ports("br-b")} == {"br-b", "b-tun0"}
            await database.delete_bridge("br-b")

    within(work())


def test_the_mtu_of_an_internal_port_is_ours_whichever_ports_come_and_go(running: PrivateSwitch) -> None:
    """Left to itself, Open vSwitch makes it that of the smallest other port, and 1500 when the last one goes."""

    def mtu() -> int:
        (link,) = json.loads(run("ip", "-j", "-n", running.netns, "link", "show", "m-gw0"))
        return int(link["mtu"])

    async def work() -> None:
        async with Database(running.socket) as database:
            await database.ensure_bridge("br-m", "netdev")
            await database.ensure_port("br-m", "m-gw0", type="internal", mtu_request=1450)
            run(
                "ip", "-n", running.netns, "link", "add", "m-veth", "mtu", "1300", "type", "veth", "peer", "name", "m-p"
            )
            for change in (database.ensure_port("br-m", "m-veth"), database.delete_port("br-m", "m-veth")):
                await change
                assert mtu() == 1450
            await database.ensure_port("br-m", "m-gw0", type="internal", mtu_request=1400)
            assert mtu() == 1400
            await database.delete_bridge("br-m")

    within(work())


def test_a_number_that_is_taken_leads_to_another(running: PrivateSwitch) -> None:
    """The caller gets the number that holds."""

    async def work() -> None:
        async with Database(running.socket) as database:
            await database.ensure_bridge("br-c", "netdev")
            assert await database.ensure_port("br-c", "c1", type="internal", ofport_request=16) == 16
            second = await database.ensure_port("br-c", "c2", type="internal", ofport_request=16)
            assert second != 16
            assert running.vsctl("get", "Interface", "c2", "ofport") == str(second)
            await database.delete_bridge("br-c")

    within(work())


def test_a_port_whose_device_is_missing_fails_with_the_switchs_words_and_works_once_it_is_there(
    running: PrivateSwitch,
) -> None:
    """The row stays, so that the next call needs no more than the device."""

    async def work() -> None:
        async with Database(running.socket) as database:
            await database.ensure_bridge("br-d", "netdev")
            with pytest.raises(PortError, match=r"port d-veth of bridge br-d: could not open network device d-veth"):
                await database.ensure_port("br-d", "d-veth")
            run("ip", "-n", running.netns, "link", "add", "d-veth", "type", "veth", "peer", "name", "d-peer")
            assert await database.ensure_port("br-d", "d-veth", ofport_request=44) == 44
            await database.delete_bridge("br-d")

    within(work())


def test_a_port_of_another_bridge_is_not_taken_away_from_it(running: PrivateSwitch) -> None:
    """The message says how to free it."""

    async def work() -> None:
        async with Database(running.socket) as database:
            await database.ensure_bridge("br-e", "netdev")
            await database.ensure_bridge("br-f", "netdev")
            await database.ensure_port("br-e", "e1", type="internal")
            with pytest.raises(PortError, match="ovs-vsctl del-port e1"):
                await database.ensure_port("br-f", "e1", type="internal")
            await database.delete_port("br-f", "e1")
            assert "e1" in {port.name for port in await database.ports("br-e")}
            with pytest.raises(PortError, match="bridge br-nowhere does not exist"):
                await database.ensure_port("br-nowhere", "e2", type="internal")
            await database.delete_bridge("br-e")
            await database.delete_bridge("br-f")

    within(work())


def test_a_bridge_of_a_datapath_type_that_the_switch_lacks_fails_with_the_remedy(running: PrivateSwitch) -> None:
    """The row stays for the operator to see, until it is changed or removed."""

    async def work() -> None:
        async with Database(running.socket) as database:
            with pytest.raises(BridgeError, match="ovsDatapathType"):
                await database.ensure_bridge("br-g", "nonsense")
            assert (await database.ensure_bridge("br-g", "netdev")).datapath_type == "netdev"
            await database.delete_bridge("br-g")

    within(work())


def test_twenty_ports_asked_for_at_once_all_come(running: PrivateSwitch) -> None:
    """As when a Node starts with its Pods."""

    async def work() -> None:
        async with Database(running.socket) as database:
            await database.ensure_bridge("br-h", "netdev")
            names = [f"h{number}" for number in range(20)]
            numbers = await asyncio.gather(*(database.ensure_port("br-h", name, type="internal") for name in names))
            assert len(set(numbers)) == 20
            await database.delete_bridge("br-h")

    within(work())


def test_the_same_port_asked_for_twice_at_once_is_made_once(running: PrivateSwitch) -> None:
    """One of the two may be refused; it is never there twice."""

    async def work() -> None:
        async with Database(running.socket) as one, Database(running.socket) as two:
            await one.ensure_bridge("br-i", "netdev")
            results = await asyncio.gather(
                one.ensure_port("br-i", "i1", type="internal"),
                two.ensure_port("br-i", "i1", type="internal"),
                return_exceptions=True,
            )
            numbers = {result for result in results if isinstance(result, int)}
            assert len(numbers) == 1
            assert all(isinstance(result, int | OvsdbRefused) for result in results)
            assert [port.name for port in await one.ports("br-i")].count("i1") == 1
            await one.delete_bridge("br-i")

    within(work())


def test_a_bridge_is_marked_as_ours_and_other_marks_stay(running: PrivateSwitch) -> None:
    """And the mark can be taken away."""

    async def work() -> None:
        async with Database(running.socket) as database:
            await database.ensure_bridge("br-j", "netdev")
            running.vsctl("br-set-external-id", "br-j", "theirs", "1")
            await database.set_bridge_external_ids("br-j", OURS)
            marked = await database.bridge("br-j")
            assert marked is not None
            assert marked.external_ids == {"antrea-proxy": "true", "theirs": "1"}
            await database.set_bridge_external_ids("br-j", {"antrea-proxy": None})
            assert running.vsctl("br-get-external-id", "br-j") == "theirs=1"
            with pytest.raises(BridgeError, match="br-nowhere"):
                await database.set_bridge_external_ids("br-nowhere", OURS)
            await database.delete_bridge("br-j")

    within(work())


def test_keys_of_the_switch_are_set_and_removed_beside_the_operators_own(running: PrivateSwitch) -> None:
    """Table Open_vSwitch, column other_config."""

    async def work() -> None:
        async with Database(running.socket) as database:
            before = await database.other_config()
            await database.set_other_config({"flow-restore-wait": "true"})
            assert await database.other_config() == before | {"flow-restore-wait": "true"}
            await database.set_other_config({"flow-restore-wait": None})
            assert await database.other_config() == before

    within(work())


def test_what_others_change_is_seen_and_wakes_whoever_waits(running: PrivateSwitch) -> None:
    """So that a port that somebody removes is noticed."""

    async def work() -> None:
        async with Database(running.socket) as database:
            await database.ensure_bridge("br-k", "netdev")
            await database.ensure_port("br-k", "k1", type="internal")
            change = asyncio.create_task(database.wait_for_change())
            await asyncio.to_thread(running.vsctl, "del-port", "k1")
            await change
            assert "k1" not in {port.name for port in await database.ports("br-k")}
            await database.delete_bridge("br-k")

    within(work())


def test_the_running_switch_tells_its_version_and_takes_commands(running: PrivateSwitch) -> None:
    """Through its control socket, without ovs-appctl."""

    async def work() -> None:
        assert running.vsctl("--version").splitlines()[0].endswith(await switch_version(running.directory))
        assert "unknown" not in await control(running.directory, "dpif/show")
        with pytest.raises(OvsdbRefused, match="no such bridge"):
            await control(running.directory, "fdb/show", "br-nowhere")
        with pytest.raises(OvsdbUnavailable, match="is ovs-vswitchd running"):
            await control(running.directory / "nowhere", "version")

    within(work())


def test_a_database_that_is_not_there_is_named_with_the_setting(tmp_path: Path) -> None:
    """The usual mistake is another run directory."""

    async def work() -> None:
        with pytest.raises(OvsdbUnavailable, match="ovsRunDir"):
            await Database(tmp_path / "db.sock", timeout_s=0.3).connect()

    within(work())


def test_restarts_of_database_and_switch_are_survived(tmp_path: Path) -> None:
    """A call during the outage waits; a switch that is stopped is told apart from a database that is."""

    async def work(switch: PrivateSwitch) -> None:
        async with Database(switch.socket, timeout_s=1.0) as database:
            await database.ensure_bridge("br-r", "netdev")
            switch.stop("ovsdb-server")
            with pytest.raises(OvsdbUnavailable):
                await asyncio.wait_for(database.ensure_port("br-r", "r0", type="internal"), 5)
            waiting = asyncio.create_task(_patiently(database, "r1"))
            await asyncio.to_thread(switch.start_database)
            assert await waiting > 0
            switch.stop("ovs-vswitchd")
            with pytest.raises(SwitchTimeout, match="port r2 of bridge br-r"):
                await database.ensure_port("br-r", "r2", type="internal")
            await asyncio.to_thread(switch.start_vswitchd)
            assert await _patiently(database, "r2") > 0

    with private_switch(tmp_path, f"ovsdb-restart-{os.getpid()}") as switch:
        within(work(switch))


async def _patiently(database: Database, port: str) -> int:
    """Ask again, as every caller may."""
    while True:
        try:
            return await database.ensure_port("br-r", port, type="internal")
        except (OvsdbUnavailable, SwitchTimeout):
            await asyncio.sleep(0.05)
