"""The Open vSwitch database as the rest of the program uses it: bridges and ports that are there when a call returns.

Written on JSON-RPC itself, not on the `ovs` package's IDL. Measured on one machine with Open vSwitch 3.1.0, 50 ports
added one after another, each until its ofport is known:

| | memory | import | a port, median |
|---|---|---|---|
| `ovs.db.idl`, its own poll loop, eventlet absent | 12.0 MB | 83 ms | 3.4 to 7.7 ms |
| `ovs.db.idl`, eventlet installed (imported whenever it is there) | 42.6 MB | 576 ms | 3.4 ms |
| this module, with asyncio's own connection | 4.9 MB | 17 ms | 4.1 ms |

The IDL also blocks, so it would need a thread, and every wait would cross it. The same connection code speaks to
ovs-vswitchd's control socket (`control.py`), for which the package would be a second client.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from antrea_proxy.network.interfaces import OfPort
from antrea_proxy.ovsdb import operations
from antrea_proxy.ovsdb.channel import Channel, end
from antrea_proxy.ovsdb.errors import (
    BridgeError,
    OvsdbError,
    OvsdbProtocolError,
    OvsdbRefused,
    OvsdbUnavailable,
    PortError,
    SwitchTimeout,
)
from antrea_proxy.ovsdb.replica import MONITORED, Replica, Row
from antrea_proxy.ovsdb.rows import PROTOCOLS, Bridge, BridgePort, BridgeSpec, PortSpec

_DATABASE = "Open_vSwitch"
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
OURS = {"antrea-proxy": "true"}
"""The external_ids that mark a bridge as ours."""


class Database:
    """The database behind one socket. Every method may wait up to `timeout_s` seconds.

    A lost connection is made again, with pauses of 0.1 s to 5 s; a call that comes meanwhile waits for it. All methods
    raise OvsdbUnavailable when the server cannot be reached in time, OvsdbRefused when it refuses.
    """

    def __init__(self, socket: Path | str, *, timeout_s: float = 10.0) -> None:
        self._socket = Path(socket)
        self._timeout_s = timeout_s
        self._channel: Channel | None = None
        self._replica: Replica | None = None
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._trouble: OvsdbError = OvsdbUnavailable(f"{self._socket}: not connected yet")

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Connect and read the tables; keep the connection until `close`."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_connected(), name=f"ovsdb {self._socket}")
        await self._connected()

    async def close(self) -> None:
        """End the connection; nothing in the switch changes."""
        if self._keeper is not None:
            await end(self._keeper)
            self._keeper = None

    async def wait_for_change(self) -> None:
        """Return after the next change of a bridge, a port or an interface, or of the connection. No time limit."""
        await self._changed.wait()

    async def datapath_types(self) -> frozenset[str]:
        """Return the types that this ovs-vswitchd was built with; whether the kernel has one is another question."""
        types = (await self._current()).open_vswitch().items("datapath_types")
        return frozenset(str(name) for name in types)

    async def ovs_version(self) -> str:
        """Return the version as the start script wrote it down; empty where ovs-vswitchd was started without one."""
        return (await self._current()).open_vswitch().text("ovs_version")

    async def bridge(self, name: str) -> Bridge | None:
        """Return the bridge of that name, or None."""
        row = (await self._current()).bridge(name)
        return None if row is None else _bridge(row)

    async def bridges(self) -> tuple[Bridge, ...]:
        """Return all bridges, by name."""
        return tuple(sorted(map(_bridge, (await self._current()).bridges()), key=lambda bridge: bridge.name))

    async def ports(self, bridge: str) -> tuple[BridgePort, ...]:
        """Return the bridge's ports by name, its own port included; empty where there is no such bridge."""
        replica = await self._current()
        row = replica.bridge(bridge)
        ports = () if row is None else replica.ports(row)
        found = (_port(port, interface) for port in ports if (interface := replica.interface(port)) is not None)
        return tuple(sorted(found, key=lambda port: port.name))

    async def ensure_bridge(
        self,
        name: str,
        datapath_type: str,
        fail_mode: str = "secure",
        protocols: Sequence[str] = PROTOCOLS,
        *,
        hwaddr: str | None = None,
    ) -> Bridge:
        """Return once ovs-vswitchd runs the bridge with these properties; what others set beside them stays.

        Raises BridgeError when it cannot, SwitchTimeout when it does not act.
        """
        spec = BridgeSpec(
            name=name, datapath_type=datapath_type, fail_mode=fail_mode, protocols=tuple(protocols), hwaddr=hwaddr
        )
        existing = (await self._current()).bridge(name)
        needed = operations.make_bridge(spec, existing)
        if needed or existing is None or not existing.text("datapath_id"):
            await self._commit(needed, f"bridge {name}")
        made = await self.bridge(name)
        if made is None or not made.datapath_id:
            raise BridgeError(
                f"bridge {name}: ovs-vswitchd did not make it with datapath type {datapath_type!r}; its log says why "
                "(for type system the kernel needs the module openvswitch; set ovsDatapathType: netdev without it)"
            )
        return made

    async def delete_bridge(self, name: str) -> None:
        """Remove the bridge with all its ports; no such bridge is no error."""
        row = (await self._current()).bridge(name)
        if row is not None:
            await self._commit(operations.remove_bridge(row), f"removal of bridge {name}")

    async def ensure_port(
        self,
        bridge: str,
        name: str,
        *,
        type: str = "",  # noqa: A002 - the column's own name
        ofport_request: int | None = None,
        mac: str | None = None,
        mtu_request: int | None = None,
        options: Mapping[str, str] | None = None,
        external_ids: Mapping[str, str] | None = None,
    ) -> OfPort:
        """Return the port's number once ovs-vswitchd runs it with these properties.

        `options` is exact, of `external_ids` the keys of others stay. Open vSwitch gives another number than
        `ofport_request` (1 to 65,279) where another port has that one. Without `mtu_request`, in bytes, it gives an
        internal port the MTU of the smallest other port, 1500 where there is none, whenever ports come or go.
        Raises PortError with the text of the `error` column, SwitchTimeout when ovs-vswitchd does not act.
        """
        spec = PortSpec(
            bridge=bridge,
            name=name,
            type=type,
            ofport_request=ofport_request,
            mac=mac,
            mtu_request=mtu_request,
            options=dict(options or {}),
            external_ids=dict(external_ids or {}),
        )
        replica = await self._current()
        bridge_row, interface = _place(replica, spec)
        needed = operations.make_port(spec, bridge_row, interface)
        if needed or interface is None or not _runs(interface):
            await self._commit(needed, f"port {name} of bridge {bridge}")
            replica = await self._current()
            interface = _place(replica, spec)[1]
        if interface is None:
            raise PortError(f"port {name} of bridge {bridge} was removed by somebody else while we made it")
        if not _runs(interface):
            reason = interface.text("error") or "ovs-vswitchd gave no number and no reason; see its log"
            raise PortError(f"port {name} of bridge {bridge}: {reason}")
        return OfPort(interface.number("ofport") or 0)

    async def delete_port(self, bridge: str, name: str) -> None:
        """Remove the port; no such port on that bridge is no error."""
        replica = await self._current()
        bridge_row, port = replica.bridge(bridge), replica.port(name)
        if bridge_row is not None and port is not None and port.uuid in bridge_row.items("ports"):
            await self._commit(operations.remove_port(bridge_row, port), f"removal of port {name}")

    async def set_bridge_external_ids(self, name: str, items: Mapping[str, str | None]) -> None:
        """Set keys, or remove those whose value is None; `OURS` marks the bridge as ours.

        Raises BridgeError where there is no such bridge.
        """
        row = (await self._current()).bridge(name)
        if row is None:
            raise BridgeError(f"bridge {name} does not exist")
        needed = operations.change_map("Bridge", row, "external_ids", items)
        if needed:
            await self._transact(needed)

    async def other_config(self) -> dict[str, str]:
        """Return the map `other_config` of table Open_vSwitch."""
        return (await self._current()).open_vswitch().mapping("other_config")

    async def set_other_config(self, items: Mapping[str, str | None]) -> None:
        """Set keys of `other_config` of table Open_vSwitch, or remove those whose value is None."""
        row = (await self._current()).open_vswitch()
        needed = operations.change_map("Open_vSwitch", row, "other_config", items)
        if needed:
            await self._transact(needed)

    async def _commit(self, needed: list[operations.Operation], what: str) -> None:
        """Change the database, and wait until ovs-vswitchd has acted on it."""
        results = await self._transact([*needed, *operations.bump_next_cfg()])
        try:
            wanted = int(results[-1]["rows"][0]["next_cfg"])
        except (IndexError, KeyError, TypeError) as error:
            raise OvsdbProtocolError(f"{self._socket}: no next_cfg in {results!r}") from error
        try:
            await self._until(lambda replica: (replica.open_vswitch().number("cur_cfg") or 0) >= wanted)
        except TimeoutError as error:
            raise SwitchTimeout(
                f"{what}: ovs-vswitchd did not act within {self._timeout_s:g} s; is it running?"
            ) from error

    async def _transact(self, needed: list[operations.Operation]) -> list[Any]:
        await self._connected()
        channel = self._channel
        if channel is None:
            raise OvsdbUnavailable(str(self._trouble)) from self._trouble
        try:
            async with asyncio.timeout(self._timeout_s):
                results = await channel.call("transact", _DATABASE, *needed)
        except TimeoutError as error:
            raise OvsdbUnavailable(f"{self._socket}: no answer within {self._timeout_s:g} s") from error
        if not isinstance(results, list):
            raise OvsdbProtocolError(f"{self._socket}: {results!r} is not the result of a transaction")
        for result in results:
            if isinstance(result, dict) and result.get("error"):
                raise OvsdbRefused(f"{self._socket}: {result['error']}: {result.get('details', '')}")
        return results

    async def _current(self) -> Replica:
        """Return the replica with everything that was committed, by anybody, before this call.

        The server sends a client its updates before the answer to anything that the client asks later.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    replica, channel = await self._connected(), self._channel
                    if channel is not None:
                        with contextlib.suppress(OvsdbUnavailable):
                            await channel.call("echo")
                            return replica
                    while self._replica is replica:
                        await self._changed.wait()
        except TimeoutError as error:
            raise OvsdbUnavailable(f"{self._socket}: no answer within {self._timeout_s:g} s") from error

    async def _connected(self) -> Replica:
        if self._keeper is None:
            raise OvsdbUnavailable(f"{self._socket}: not connected; call connect() first")
        try:
            return await self._until(lambda _: True)
        except TimeoutError as error:
            raise OvsdbUnavailable(str(self._trouble)) from error

    async def _until(self, condition: Callable[[Replica], bool]) -> Replica:
        async with asyncio.timeout(self._timeout_s):
            while (replica := self._replica) is None or not condition(replica):
                await self._changed.wait()
        return replica

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _keep_connected(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._follow()
            except OvsdbError as error:
                self._trouble = error
            if self._replica is not None:
                self._replica, self._channel, pause_s = None, None, _FIRST_PAUSE_S
                self._wake()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _follow(self) -> None:
        """Connect, read the tables and keep them current until the connection ends, which it says by raising."""
        replica = Replica()

        def notify(method: str, params: list[Any]) -> None:
            if method == "update":
                replica.apply(params[1])
                self._wake()

        channel = await Channel.open(self._socket, notify)
        reading = asyncio.create_task(channel.run(), name=f"ovsdb reader {self._socket}")
        try:
            monitored = {table: {"columns": columns} for table, columns in MONITORED.items()}
            replica.apply(await channel.call("monitor", _DATABASE, None, monitored))
            self._replica, self._channel = replica, channel
            self._wake()
            await reading
        finally:
            channel.close()
            await end(reading)


def _place(replica: Replica, spec: PortSpec) -> tuple[Row, Row | None]:
    """Return the port's bridge, and its interface if it is there.

    Raises PortError when there is no such bridge, or another one has the port.
    """
    bridge = replica.bridge(spec.bridge)
    if bridge is None:
        raise PortError(f"port {spec.name}: bridge {spec.bridge} does not exist")
    port = replica.port(spec.name)
    if port is not None and port.uuid not in bridge.items("ports"):
        raise PortError(
            f"port {spec.name} belongs on bridge {spec.bridge}, but another bridge has it; "
            f"remove it there: ovs-vsctl del-port {spec.name}"
        )
    return bridge, None if port is None else replica.interface(port)


def _runs(interface: Row) -> bool:
    return (interface.number("ofport") or -1) > 0


def _bridge(row: Row) -> Bridge:
    return Bridge(
        name=row.text("name"),
        datapath_type=row.text("datapath_type") or "system",
        datapath_id=row.text("datapath_id"),
        fail_mode=row.text("fail_mode"),
        protocols=row.items("protocols"),
        other_config=row.mapping("other_config"),
        external_ids=row.mapping("external_ids"),
    )


def _port(port: Row, interface: Row) -> BridgePort:
    number = interface.number("ofport")
    return BridgePort(
        name=port.text("name"),
        type=interface.text("type"),
        ofport=OfPort(number) if number is not None and number > 0 else None,
        mac_in_use=interface.text("mac_in_use"),
        error=interface.text("error"),
        options=interface.mapping("options"),
        external_ids=interface.mapping("external_ids"),
    )
