"""The in-memory database of other tests and the real one pass the same story, word for word."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from antrea_proxy.ovsdb import BridgeError, Database, OvsdbError, PortError
from ovsdb_fakes import FakeDatabase
from private_switch import PrivateSwitch, private_switch, run


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateSwitch]:
    """A real switch, with the device v0."""
    with private_switch(tmp_path_factory.mktemp("fake"), f"ovsdb-fake-{os.getpid()}") as switch:
        run("ip", "-n", switch.netns, "link", "add", "v0", "type", "veth", "peer", "name", "v0-peer")
        yield switch


async def story(database: Database | FakeDatabase) -> list[object]:
    """Tell what happened, in an order in which anything may have gone wrong."""
    told: list[object] = []

    async def port(bridge: str, name: str, **what: object) -> None:
        try:
            told.append(await database.ensure_port(bridge, name, **what))  # type: ignore[arg-type]  # as the caller says
        except OvsdbError as error:
            told.append((type(error), str(error).split(";")[0]))

    await port("br-a", "gw", type="internal")
    for bridge in ("br-a", "br-a", "br-b"):
        made = await database.ensure_bridge(bridge, "netdev", hwaddr="0a:58:00:00:00:01")
        told.append((made.datapath_type, made.datapath_id, made.fail_mode, made.protocols, made.other_config))
    await port("br-a", "gw", type="internal", ofport_request=2, mac="0a:58:0a:0a:01:01", external_ids={"a": "1"})
    await port("br-a", "gw", type="internal", ofport_request=2, external_ids={"b": "2"})
    await port("br-a", "tun", type="geneve", ofport_request=1, options={"key": "flow", "remote_ip": "flow"})
    await port("br-b", "gw", type="internal")
    await port("br-a", "v0", ofport_request=16)
    await port("br-a", "v0")
    await port("br-a", "v1", ofport_request=17)
    told.append([(item.name, item.type, item.ofport, dict(item.options)) for item in await database.ports("br-a")])
    told.append([dict(item.external_ids) for item in await database.ports("br-a")])
    for bridge, name in (("br-b", "gw"), ("br-a", "gw"), ("br-a", "gw"), ("br-nowhere", "gw")):
        await database.delete_port(bridge, name)
    told.append([item.name for item in await database.ports("br-a")])
    await database.set_bridge_external_ids("br-a", {"ours": "1", "other": "2"})
    await database.set_bridge_external_ids("br-a", {"ours": None})
    with pytest.raises(BridgeError):
        await database.set_bridge_external_ids("br-nowhere", {"ours": "1"})
    bridge_now = await database.bridge("br-a")
    told.append(bridge_now and dict(bridge_now.external_ids))
    with pytest.raises(BridgeError):
        await database.ensure_bridge("br-c", "nonsense")
    for bridge in ("br-a", "br-a", "br-b", "br-c"):
        await database.delete_bridge(bridge)
    told.append((await database.bridge("br-a"), await database.ports("br-a")))
    return told


def test_both_tell_the_same(running: PrivateSwitch) -> None:
    """So that a test with the fake means something."""

    async def real() -> list[object]:
        async with Database(running.socket) as database:
            return await story(database)

    assert asyncio.run(real()) == asyncio.run(story(FakeDatabase(devices={"v0"})))


def test_the_story_has_its_errors(running: PrivateSwitch) -> None:
    """Else it would prove little."""
    told = asyncio.run(story(FakeDatabase(devices={"v0"})))
    assert sum(isinstance(item, tuple) and item[0] is PortError for item in told) == 3
