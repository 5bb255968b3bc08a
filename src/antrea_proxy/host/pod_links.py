"""Pods' ends of their veth pairs, by rtnetlink.

A thread that has entered a Pod's network namespace ends there, and never runs anything else.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Interface, ip_address

from pyroute2 import IPRoute, netns

from antrea_proxy.host.errors import NamespaceMissing
from antrea_proxy.host.offload import disable_tx_checksum_offload
from antrea_proxy.host.rtnetlink import (
    DEFAULT_ROUTE,
    FAMILY,
    OneAtATime,
    Result,
    add_address,
    delete_link,
    index_of,
    interface_address,
    link_exists,
    link_of,
    refusals,
)
from antrea_proxy.host.sysctls import read_sysctls, write_sysctl
from antrea_proxy.host.values import MAIN_TABLE, Address, Sysctl
from antrea_proxy.network.values import IPAddress, IPInterface


@dataclass(frozen=True, slots=True, kw_only=True)
class PodInterfaceState:
    """A Pod's end of its veth pair as the kernel has it. `gateways` are the next hops of its default routes."""

    mac: str
    mtu: int
    up: bool
    addresses: tuple[IPInterface, ...]
    gateways: tuple[IPAddress, ...]


class PodLinks:
    """Veth pairs between the Node and Pods' namespaces. All methods raise HostError."""

    def __init__(self) -> None:
        self._thread = OneAtATime()

    async def link_exists(self, name: str) -> bool:
        """Whether the Node has a link of this name."""
        return await self._thread.run(lambda: link_exists(name))

    async def delete_link(self, name: str) -> None:
        """Remove a link of the Node; one that is absent is no error. A veth's other end goes with it."""
        await self._thread.run(lambda: delete_link(name))

    async def create_pod_veth(
        self,
        *,
        netns: str,
        pod_interface: str,
        host_interface: str,
        mac: str,
        mtu: int,
        addresses: Sequence[IPInterface],
        gateways: Sequence[IPAddress],
        checksum_offload: bool,
    ) -> None:
        """Make a veth pair from the Node into the Pod's namespace, up at both ends; or nothing.

        `netns` is a path such as /var/run/netns/NAME. The Pod's end gets `mac`, the addresses and a default route
        through each gateway; `mtu` in bytes is that of both ends. Without `checksum_offload` the Pod's kernel writes
        checksums, which the userspace datapath needs.
        Raises NamespaceMissing, KernelRefused when one of the names is taken.
        """
        pod = _PodEnd(
            netns=netns,
            interface=pod_interface,
            mac=mac,
            mtu=mtu,
            addresses=tuple(addresses),
            gateways=tuple(gateways),
            checksum_offload=checksum_offload,
        )
        await self._thread.run(lambda: _create_pod_veth(pod, host_interface))

    async def pod_interface_state(self, netns: str, interface: str) -> PodInterfaceState | None:
        """Return what the Pod's interface is like, or None where it or the namespace is gone."""
        try:
            return await self._thread.run(lambda: _in_namespace(netns, lambda: _pod_interface_state(interface)))
        except NamespaceMissing:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _PodEnd:
    netns: str
    interface: str
    mac: str
    mtu: int
    addresses: tuple[IPInterface, ...]
    gateways: tuple[IPAddress, ...]
    checksum_offload: bool


def _in_namespace(path: str, work: Callable[[], Result]) -> Result:
    """Run `work` in a thread that has entered the namespace."""
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            try:
                netns.setns(path, flags=os.O_RDONLY)
            except OSError as error:
                raise NamespaceMissing(f"network namespace {path}: {error.strerror}") from error
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
            failures.append(error)

    thread = threading.Thread(target=run, name=f"in {path}", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _create_pod_veth(pod: _PodEnd, host_interface: str) -> None:
    with refusals(f"interface {host_interface}"), IPRoute() as ipr:
        try:
            namespace = os.open(pod.netns, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NamespaceMissing(f"network namespace {pod.netns}: {error.strerror}") from error
        try:
            peer = {"ifname": pod.interface, "address": pod.mac, "mtu": pod.mtu, "net_ns_fd": namespace}
            with refusals(f"veth pair {host_interface} to {pod.interface} in {pod.netns}"):
                ipr.link("add", ifname=host_interface, kind="veth", mtu=pod.mtu, peer=peer)
        finally:
            os.close(namespace)
        try:
            _prepare_host_end(ipr, host_interface)
            _in_namespace(pod.netns, lambda: _prepare_pod_end(pod))
        except BaseException:
            delete_link(host_interface)
            raise


def _prepare_host_end(ipr: IPRoute, name: str) -> None:
    """Bring it up without IPv6: it is a port of the switch, and has no address of its own."""
    for sysctl in read_sysctls([f"net/ipv6/conf/{name}/disable_ipv6"]):
        write_sysctl(Sysctl(key=sysctl.key, value="1"))
    ipr.link("set", index=index_of(ipr, name), state="up")


def _prepare_pod_end(pod: _PodEnd) -> None:
    if not pod.checksum_offload:
        disable_tx_checksum_offload(pod.interface)
    if any(isinstance(address, IPv6Interface) for address in pod.addresses):
        write_sysctl(Sysctl(key=f"net/ipv6/conf/{pod.interface}/disable_ipv6", value="0"))
    with refusals(f"interface {pod.interface} in {pod.netns}"), IPRoute() as ipr:
        index = index_of(ipr, pod.interface)
        ipr.link("set", index=index_of(ipr, "lo"), state="up")
        ipr.link("set", index=index, state="up")
        for address in pod.addresses:
            add_address(ipr, index, Address(interface=pod.interface, address=address))
        for gateway in pod.gateways:
            with refusals(f"default route via {gateway} in {pod.netns}"):
                ipr.route("add", dst=DEFAULT_ROUTE[gateway.version], family=FAMILY[gateway.version],
                          gateway=str(gateway), oif=index)  # fmt: skip


def _pod_interface_state(name: str) -> PodInterfaceState | None:
    with refusals(f"reading interface {name}"), IPRoute(strict_check=True) as ipr:
        found = [message for message in ipr.get_links() if message.get("ifname") == name]
        if not found:
            return None
        index = found[0]["index"]
        link = link_of(found[0])
        addresses = [interface_address(message) for message in ipr.get_addr(index=index)]
        gateways = [
            ip_address(message.get("gateway"))
            for family in FAMILY.values()
            for message in ipr.get_routes(family=family, table=MAIN_TABLE)
            if message["dst_len"] == 0 and message.get("oif") == index and message.get("gateway")
        ]
        return PodInterfaceState(
            mac=link.mac,
            mtu=link.mtu,
            up=link.up,
            addresses=tuple(address for address in addresses if not address.ip.is_link_local),
            gateways=tuple(gateways),
        )
