"""Commands to a running ovs-vswitchd, as `ovs-appctl` gives them: JSON-RPC on its control socket (ovs-appctl(8))."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Final

from antrea_proxy.ovsdb.channel import Channel, end
from antrea_proxy.ovsdb.errors import OvsdbProtocolError, OvsdbRefused, OvsdbUnavailable

USERSPACE_DATAPATH: Final = "netdev@ovs-netdev"
"""The one that all bridges with datapath_type=netdev share, as dpctl names it (ovs-dpctl(8))."""


def control_socket(run_dir: Path | str) -> Path:
    """Return the control socket of the ovs-vswitchd that uses `run_dir`.

    Raises OvsdbUnavailable where there is none.
    """
    directory = Path(run_dir)
    with contextlib.suppress(OSError):
        pid = (directory / "ovs-vswitchd.pid").read_text().strip()
        if (named := directory / f"ovs-vswitchd.{pid}.ctl").exists():
            return named
    found = sorted(directory.glob("ovs-vswitchd*.ctl"))
    if not found:
        raise OvsdbUnavailable(f"{directory} holds no ovs-vswitchd*.ctl; is ovs-vswitchd running there (ovsRunDir)?")
    return found[-1]


async def control(run_dir: Path | str, command: str, *arguments: str, timeout_s: float = 10.0) -> str:
    """Run a command such as `tnl/arp/set` or `ofproto/trace`; return what ovs-appctl would print.

    Raises OvsdbRefused with ovs-vswitchd's words, OvsdbUnavailable.
    """
    path = control_socket(run_dir)
    channel = await Channel.open(path, _ignore)
    reading = asyncio.create_task(channel.run(), name=f"ovs control {path}")
    try:
        async with asyncio.timeout(timeout_s):
            result = await channel.call(command, *arguments)
    except TimeoutError as error:
        raise OvsdbUnavailable(f"{path}: no answer to {command} within {timeout_s:g} s") from error
    finally:
        channel.close()
        await end(reading)
    if not isinstance(result, str):
        raise OvsdbProtocolError(f"{path}: {command} answered {result!r}")
    return result


async def switch_version(run_dir: Path | str) -> str:
    """Return the version of the running ovs-vswitchd, as `3.1.0`."""
    words = (await control(run_dir, "version")).split()
    return words[-1] if words else ""


async def accept_any_sequence(run_dir: Path | str) -> None:
    """Let the userspace datapath's connection tracker follow TCP by its flags, whatever its sequence numbers.

    It holds for all bridges of that datapath, until ovs-vswitchd ends. Raises OvsdbRefused where there is no such
    datapath, OvsdbUnavailable.
    """
    await control(run_dir, "dpctl/ct-disable-tcp-seq-chk", USERSPACE_DATAPATH)


async def check_sequences_again(run_dir: Path | str) -> None:
    """Undo `accept_any_sequence` where bridges of others keep the userspace datapath; it ends with the last of them.

    Raises OvsdbProtocolError.
    """
    with contextlib.suppress(OvsdbRefused, OvsdbUnavailable):  # no such datapath, or nobody who had the setting
        await control(run_dir, "dpctl/ct-enable-tcp-seq-chk", USERSPACE_DATAPATH)


async def tracked_connections(run_dir: Path | str, datapath_type: str, zone: int) -> str:
    """Return the entries of one zone of a datapath's connection tracker, one a line (dpctl/dump-conntrack).

    Raises OvsdbRefused, OvsdbUnavailable.
    """
    return await control(run_dir, "dpctl/dump-conntrack", f"{datapath_type}@ovs-{datapath_type}", f"zone={zone}")


async def revalidated(run_dir: Path | str) -> None:
    """Return when the revalidators have ended a round, which may have begun before (ovs-vswitchd(8), revalidator/wait).

    They begin one when the flow tables change, and twice a second. Raises OvsdbUnavailable, or OvsdbRefused where
    bridges of both datapath types are there.
    """
    await control(run_dir, "revalidator/wait")


def _ignore(method: str, params: list[Any]) -> None:
    """Do nothing: a control socket sends no notifications that matter here."""
