"""A real Open vSwitch of its own: database and daemon as children, userspace datapath, files in one directory."""

from __future__ import annotations

import contextlib
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from antrea_proxy.lab.switch import NICENESS
from benchmarks.sandbox import child, run, until_exists

BRIDGE: Final = "br-int"
SCHEMA: Final = "/usr/share/openvswitch/vswitch.ovsschema"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A running switch. It has no bridge until somebody adds one."""

    directory: Path
    daemon: Process

    @property
    def management(self) -> Path:
        """The socket on which br-int speaks OpenFlow."""
        return self.directory / f"{BRIDGE}.mgmt"

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes ovs-vsctl, ovs-ofctl and ovs-appctl speak to this switch."""
        return _environment(self.directory)

    def add_bridge(self) -> None:
        """Add br-int as the agent does."""
        run(
            "ovs-vsctl", "add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev", "fail_mode=secure",
            "protocols=OpenFlow15", environment=self.environment,
        )  # fmt: skip

    def groups(self) -> str:
        """Show all groups, one on a line."""
        return run("ovs-ofctl", "-OOpenFlow15", "dump-groups", BRIDGE, environment=self.environment)

    def flow_and_group_counts(self) -> tuple[int, int]:
        """Count what the switch holds, as its own tools see it."""
        flows = run("ovs-ofctl", "-OOpenFlow15", "dump-aggregate", BRIDGE, environment=self.environment)
        return int(flows.rpartition("flow_count=")[2]), self.groups().count("group_id=")


@contextlib.asynccontextmanager
async def running_switch(directory: Path) -> AsyncIterator[Switch]:
    """Run a switch while the block runs, with its files in a new directory and the niceness of the lab's switches."""
    environment = _environment(directory)
    _make_database(directory)
    quiet = ("--no-chdir", "-vconsole:off", "-vsyslog:off")
    socket = directory / "db.sock"
    async with child(
        "ovsdb-server", str(directory / "conf.db"), f"--remote=punix:{socket}", "--pidfile",
        f"--log-file={directory}/ovsdb.log", *quiet, environment=environment, niceness=NICENESS,
    ) as database:  # fmt: skip
        await until_exists(socket, database)
        run(
            "ovs-vsctl", "--retry", "--timeout=15", "--no-wait", "init", "--", "set", "Open_vSwitch", ".",
            "other_config:n-handler-threads=1", "other_config:n-revalidator-threads=1", environment=environment,
        )  # fmt: skip
        async with child(
            "ovs-vswitchd", f"unix:{socket}", "--pidfile", f"--log-file={directory}/vswitchd.log", *quiet,
            environment=environment, niceness=NICENESS,
        ) as daemon:  # fmt: skip
            await until_exists(directory / f"ovs-vswitchd.{daemon.pid}.ctl", daemon)
            yield Switch(directory=directory, daemon=daemon)


def _make_database(directory: Path) -> None:
    directory.mkdir()
    run("ovsdb-tool", "create", str(directory / "conf.db"), SCHEMA)


def _environment(directory: Path) -> Mapping[str, str]:
    place = str(directory)
    return {"OVS_RUNDIR": place, "OVS_LOGDIR": place, "OVS_DBDIR": place, "OVS_SYSCONFDIR": place}
