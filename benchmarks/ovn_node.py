"""One Node of OVN: its databases, northd and controller beside a switch, and Pods on a logical switch with a router.

For a process that is in a network of its own (sandbox.fresh_network): all of it ends with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from benchmarks.lab import PORT, Load, load_told, wrk
from benchmarks.sandbox import BenchmarkError, child, run, until_exists
from benchmarks.switch import BRIDGE, Switch, running_switch

SCHEMAS: Final = Path("/usr/share/ovn")
LOGICAL_SWITCH: Final = "pods"
ALL: Final = "all"
"""The group of all load balancers."""
_ROUTER_MAC: Final = "0a:00:00:00:00:fe"
_ROUTER: Final = "10.10.0.254"
_VIPS: Final = IPv4Address("10.96.0.1")
_ENDPOINTS: Final = IPv4Address("10.128.0.1")
_PATIENCE: Final = 600.0
"""Seconds until the switch must hold what the database does."""
_POLLED_EVERY: Final = 0.002

Operation = dict[str, Any]
"""One of a transaction (RFC 7047, 5.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A network namespace behind a logical port."""

    process: Process
    address: str

    def inside(self, *words: str) -> tuple[str, ...]:
        """Return the words that run a command there."""
        return "nsenter", f"--net=/proc/{self.process.pid}/ns/net", *words


class Northbound:
    """The database that says what OVN shall make."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = json.JSONDecoder()
        self._text = ""

    async def transact(self, *operations: Operation) -> Sequence[dict[str, Any]]:
        """Do all of these or nothing. Raises BenchmarkError with the database's words."""
        request = {"method": "transact", "params": ["OVN_Northbound", *operations], "id": 1}
        self._writer.write(json.dumps(request).encode())
        await self._writer.drain()
        while (answer := await self._next()).get("method") == "echo":
            self._writer.write(json.dumps({"result": answer["params"], "error": None, "id": answer["id"]}).encode())
        results: Sequence[dict[str, Any]] = answer["result"] or ()
        wrong = [result for result in results if result and result.get("error")]
        if wrong or answer["error"]:
            raise BenchmarkError(f"OVN's database refused: {wrong or answer['error']}")
        return results

    async def until_in_the_switch(self, *operations: Operation) -> float:
        """Do these, and wait until the switch has them; return the seconds that it took.

        That is what `ovn-nbctl --wait=hv sync` waits for (ovn-nb(5), hv_cfg), without the start of a program.
        """
        began = time.perf_counter()
        following = {"op": "mutate", "table": "NB_Global", "where": [], "mutations": [["nb_cfg", "+=", 1]]}
        asked = {"op": "select", "table": "NB_Global", "where": [], "columns": ["nb_cfg", "hv_cfg"]}
        *_, found = await self.transact(*operations, following, asked)
        wanted = found["rows"][0]["nb_cfg"]
        while time.perf_counter() - began < _PATIENCE:
            (found,) = await self.transact(asked)
            if found["rows"][0]["hv_cfg"] >= wanted:
                return time.perf_counter() - began
            await asyncio.sleep(_POLLED_EVERY)
        raise BenchmarkError(f"OVN's switch does not have it after {_PATIENCE:.0f} s")

    async def _next(self) -> dict[str, Any]:
        while True:
            with contextlib.suppress(json.JSONDecodeError):
                message, end = self._decoder.raw_decode(self._text)
                self._text = self._text[end:].lstrip()
                return dict(message)
            if not (part := await self._reader.read(1 << 20)):
                raise BenchmarkError("OVN's database closed the connection")
            self._text += part.decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class OvnNode:
    """All that runs."""

    switch: Switch
    northbound: Northbound
    database: str
    """Where the northbound database listens, as OVN's programs are told."""
    processes: Mapping[str, Process]

    def appctl(self, *words: str) -> str:
        """Run ovs-appctl on the switch. Raises BenchmarkError with its last words if it died."""
        daemon = self.switch.daemon
        if daemon.returncode is not None:
            log = (self.switch.directory / "vswitchd.log").read_text().splitlines()
            raise BenchmarkError(f"OVN's ovs-vswitchd ended with {daemon.returncode}: {' / '.join(log[-3:])}")
        return run("ovs-appctl", "-t", str(self.switch.directory / f"ovs-vswitchd.{daemon.pid}.ctl"), *words)

    async def load(self, pod: Pod, url: str, *, seconds: int, connections: int) -> Load:
        """Let wrk open connections from a Pod for so long, on a datapath that has forgotten those before."""
        self.appctl("dpctl/flush-conntrack")
        self.appctl("revalidator/purge")
        words = wrk(url, "-H", "Connection: close", seconds=seconds, connections=connections)
        pipe = asyncio.subprocess.PIPE
        async with child(*pod.inside(*words), stdout=pipe, stderr=pipe) as process:
            told, said = await process.communicate()
        if process.returncode:
            raise BenchmarkError(f"wrk in a Pod of OVN: exit {process.returncode}: {said.decode()}")
        return load_told(told.decode())

    @contextlib.asynccontextmanager
    async def pod(self, number: int) -> AsyncIterator[Pod]:
        """Run a Pod on the logical switch while the block runs; number: 1 to 9."""
        mac, address, port = f"0a:00:00:00:00:0{number}", f"10.10.0.{number}", f"pod{number}"
        async with child("unshare", "--net", "sleep", "infinity") as process:
            pod = Pod(process=process, address=address)
            await _until_in_another_network(process)
            run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
            run("ip", "link", "set", port, "up")
            # The Node's own stack sees the frames too, and must not answer them.
            hook = f"type filter hook ingress device {port} priority 0; policy drop;"
            run("nft", f"add table netdev pods; add chain netdev pods {port} {{ {hook} }}")
            for words in (
                ("ip", "link", "set", "lo", "up"),
                ("ip", "link", "set", "eth0", "up", "address", mac),
                ("ip", "address", "add", f"{address}/24", "dev", "eth0"),
                ("ip", "route", "add", "default", "via", _ROUTER),
                ("ip", "neighbour", "replace", _ROUTER, "lladdr", _ROUTER_MAC, "dev", "eth0"),
                ("ethtool", "-K", "eth0", "tx", "off"),
                ("sh", "-c", "echo 0 > /proc/sys/net/ipv4/tcp_max_tw_buckets"),
            ):
                run(*pod.inside(*words))
            await self.northbound.transact(
                {
                    "op": "insert", "table": "Logical_Switch_Port", "uuid-name": "port",
                    "row": {"name": port, "addresses": f"{mac} {address}"},
                },
                _insert_into("Logical_Switch", LOGICAL_SWITCH, "ports", "port"),
            )  # fmt: skip
            identity = ("--", "set", "interface", port, f"external_ids:iface-id={port}")
            run("ovs-vsctl", "add-port", BRIDGE, port, *identity, environment=self.switch.environment)
            bound = ("wait-until", "Logical_Switch_Port", port, "up=true")
            run("ovn-nbctl", f"--db={self.database}", "--timeout=30", *bound)
            yield pod


async def until_answered(pod: Pod, url: str) -> None:
    """Wait until a server answers a Pod. Raises BenchmarkError if none does within 10 s."""
    for _ in range(100):
        async with child(*pod.inside("curl", "-s", "-m", "1", url)) as process:
            if not await process.wait():
                return
        await asyncio.sleep(0.1)
    raise BenchmarkError(f"{url} was not answered within 10 s")


def vip(number: int) -> str:
    """The address of a load balancer."""
    return str(_VIPS + number)


def endpoints(number: int, count: int, *, moved: int = 0) -> Sequence[str]:
    """The addresses behind a load balancer that nobody uses; the last `moved` of them are others than at first."""
    first = _ENDPOINTS + number * count
    return [str(first + place + moved) for place in range(count)]


def load_balancer(address: str, behind: Sequence[str]) -> Operation:
    """The row's column of one load balancer: from its address and port to the endpoints'."""
    return {"vips": ["map", [[f"{address}:80", ",".join(f"{one}:{PORT}" for one in behind)]]]}


def all_load_balancers(rows: Sequence[Operation]) -> Sequence[Operation]:
    """What makes these load balancers, and has the logical switch use them: as one group, as large clusters do."""
    return (
        *(
            {
                "op": "insert", "table": "Load_Balancer", "uuid-name": f"row{number}",
                "row": {"name": f"service-{number}", "protocol": "tcp", **row},
            }
            for number, row in enumerate(rows)
        ),
        {
            "op": "insert", "table": "Load_Balancer_Group", "uuid-name": "group",
            "row": {
                "name": ALL, "load_balancer": ["set", [["named-uuid", f"row{number}"] for number in range(len(rows))]]
            },
        },
        _insert_into("Logical_Switch", LOGICAL_SWITCH, "load_balancer_group", "group"),
    )  # fmt: skip


def _insert_into(table: str, name: str, column: str, row: str) -> Operation:
    values = ["set", [["named-uuid", row]]]
    return {"op": "mutate", "table": table, "where": [["name", "==", name]], "mutations": [[column, "insert", values]]}


def _network_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/net").readlink()


async def _until_in_another_network(process: Process) -> None:
    for _ in range(500):
        if _network_of(process.pid) != _network_of(os.getpid()):
            return
        await asyncio.sleep(0.01)
    raise BenchmarkError("a network namespace cannot be made")


@contextlib.asynccontextmanager
async def running_ovn(directory: Path) -> AsyncIterator[OvnNode]:
    """Run a Node while the block runs, with its files in a new directory: a logical switch with a router, no Pod."""
    run("mkdir", str(directory))
    async with contextlib.AsyncExitStack() as stack:
        switch = await stack.enter_async_context(running_switch(directory / "ovs"))
        place, quiet = str(switch.directory), ("-vconsole:off", "-vsyslog:off")
        environment = {**switch.environment, "OVN_RUNDIR": place, "OVN_LOGDIR": place, "OVN_DBDIR": place}
        processes = {"ovs-vswitchd": switch.daemon}

        async def start(name: str, *words: str) -> Process:
            logged = (f"--log-file={directory / name}.log", f"--pidfile={directory / name}.pid", *quiet)
            processes[name] = await stack.enter_async_context(child(*words, *logged, environment=environment))
            return processes[name]

        for database in ("nb", "sb"):
            file, socket = directory / f"{database}.db", directory / f"{database}.sock"
            run("ovsdb-tool", "create", str(file), str(SCHEMAS / f"ovn-{database}.ovsschema"))
            server = await start(
                f"ovsdb-server, {'north' if database == 'nb' else 'south'}bound",
                "ovsdb-server", str(file), f"--remote=punix:{socket}", f"--unixctl={directory / database}.ctl",
            )  # fmt: skip
            await until_exists(socket, server)
            run(f"ovn-{database}ctl", f"--db=unix:{socket}", "init")
        northbound, southbound = f"unix:{directory}/nb.sock", f"unix:{directory}/sb.sock"
        await start("ovn-northd", "ovn-northd", f"--ovnnb-db={northbound}", f"--ovnsb-db={southbound}")
        run(
            "ovs-vsctl", "--no-wait", "set", "Open_vSwitch", ".", "external_ids:system-id=node-1",
            f"external_ids:ovn-remote={southbound}", "external_ids:ovn-encap-type=geneve",
            "external_ids:ovn-encap-ip=127.0.0.1", "external_ids:ovn-bridge-datapath-type=netdev",
            "external_ids:ovn-remote-probe-interval=180000", "external_ids:ovn-openflow-probe-interval=180",
            "external_ids:ovn-monitor-all=true", environment=environment,
        )  # fmt: skip
        controller = await start("ovn-controller", "ovn-controller", f"unix:{switch.directory}/db.sock")
        await until_exists(switch.management, controller)
        run(
            "ovn-nbctl", f"--db={northbound}", "ls-add", LOGICAL_SWITCH, "--", "lr-add", "router",
            "--", "lrp-add", "router", "router-pods", _ROUTER_MAC, f"{_ROUTER}/24",
            "--", "lsp-add", LOGICAL_SWITCH, "pods-router", "--", "lsp-set-type", "pods-router", "router",
            "--", "lsp-set-addresses", "pods-router", "router",
            "--", "lsp-set-options", "pods-router", "router-port=router-pods",
        )  # fmt: skip
        reader, writer = await asyncio.open_unix_connection(str(directory / "nb.sock"))
        stack.callback(writer.close)
        node = OvnNode(switch=switch, northbound=Northbound(reader, writer), database=northbound, processes=processes)
        await node.northbound.until_in_the_switch()
        yield node


def version() -> str:
    """Return which OVN this is."""
    found = re.search(r"[\d.]+", run("ovn-controller", "--version"))
    return found[0] if found else ""
