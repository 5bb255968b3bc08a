"""A Pod's wire: its veth pair, the shield of the Node's end and the port of the bridge. Keeps nothing in mind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from antrea_proxy.cni.attachment import Attachment, recorded_differences
from antrea_proxy.cni.errors import WiringError
from antrea_proxy.cni.parts import EFFECT_ERRORS, PodLinks, PortShield, SwitchPorts
from antrea_proxy.cni.pod_ports import PortKind
from antrea_proxy.ovsdb.rows import BridgePort


class PodWires:
    """Makes, removes and inspects wires on one bridge. Every method raises WiringError, naming what failed."""

    def __init__(
        self,
        *,
        switch: SwitchPorts,
        links: PodLinks,
        shield: PortShield,
        bridge: str,
        checksum_offload: bool = False,
        new_port: Callable[[], PortKind] = PortKind,
    ) -> None:
        self._switch = switch
        self._links = links
        self._shield = shield
        self._bridge = bridge
        self._checksum_offload = checksum_offload
        self._new_port = new_port

    async def make(self, plan: Attachment) -> Attachment:
        """Make the wire as planned; returns it with the port number that the switch gave it.

        The name of the Node's end holds a hash of the container, so a link that has it is left from an earlier try.
        """
        pod = plan.pod
        with _doing(f"interface {pod.interface} of Pod {pod.namespace}/{pod.name} in {pod.netns}"):
            await self._links.delete_link(pod.host_interface)
            await self._links.create_pod_veth(
                netns=pod.netns,
                pod_interface=pod.interface,
                host_interface=pod.host_interface,
                mac=pod.mac,
                mtu=plan.mtu,
                addresses=plan.addresses,
                gateways=plan.gateways,
                checksum_offload=self._checksum_offload,
            )
        return await self.connect(plan)

    async def connect(self, attachment: Attachment) -> Attachment:
        """Shield the Node's end and make it a port, which it may be already; returns it with its present number.

        A port that is there stays of its kind: ovs-vswitchd 3.1 aborts when the type of an AF_XDP port changes.
        """
        pod = attachment.pod
        with _doing(f"port {pod.host_interface} of Pod {pod.namespace}/{pod.name}"):
            await self._shield.shield_port(pod.host_interface)
            kind = await self._kind(pod.host_interface)
            ofport = await self._switch.ensure_port(
                self._bridge,
                pod.host_interface,
                type=kind.type,
                ofport_request=pod.ofport or None,
                options=kind.options,
                external_ids=attachment.external_ids(),
            )
        return dataclasses.replace(attachment, pod=dataclasses.replace(pod, ofport=ofport))

    async def _kind(self, host_interface: str) -> PortKind:
        for port in await self._switch.ports(self._bridge):
            if port.name == host_interface:
                return PortKind(type=port.type, options=port.options)
        return self._new_port()

    async def remove(self, host_interface: str) -> None:
        """Remove a wire, or what there is of it; the port goes last, since the rest is found by it after a crash."""
        with _doing(f"removal of port and interface {host_interface}"):
            await self._links.delete_link(host_interface)
            await self._shield.unshield_port(host_interface)
            await self._switch.delete_port(self._bridge, host_interface)

    async def ports(self) -> tuple[BridgePort, ...]:
        """Return the bridge's ports."""
        with _doing(f"reading the ports of bridge {self._bridge}"):
            return tuple(await self._switch.ports(self._bridge))

    async def exists(self, host_interface: str) -> bool:
        """Whether the Node's end is there; it goes with the Pod's namespace."""
        with _doing(f"looking for interface {host_interface}"):
            return await self._links.link_exists(host_interface)

    async def faults(self, attachment: Attachment) -> list[str]:
        """Say where the kernel and the switch differ from what was made."""
        return [*await self._interface_faults(attachment), *await self._port_faults(attachment)]

    async def _interface_faults(self, attachment: Attachment) -> list[str]:
        pod = attachment.pod
        with _doing(f"looking at interface {pod.interface} of Pod {pod.namespace}/{pod.name} in {pod.netns}"):
            state = await self._links.pod_interface_state(pod.netns, pod.interface)
        if state is None:
            return [f"there is no interface {pod.interface} in {pod.netns}"]
        found = []
        if state.mac.lower() != pod.mac:
            found.append(f"{pod.interface} has MAC {state.mac}, not {pod.mac}")
        if not state.up:
            found.append(f"{pod.interface} is down")
        found += [
            f"{pod.interface} lacks address {each}" for each in attachment.addresses if each not in state.addresses
        ]
        found += [
            f"the default route by {each} is missing" for each in attachment.gateways if each not in state.gateways
        ]
        return found

    async def _port_faults(self, attachment: Attachment) -> list[str]:
        pod = attachment.pod
        port = next((each for each in await self.ports() if each.name == pod.host_interface), None)
        if port is None:
            return [f"bridge {self._bridge} has no port {pod.host_interface}"]
        found = recorded_differences(attachment.external_ids(), port.external_ids)
        if port.ofport != pod.ofport:
            found.append(f"port {pod.host_interface} has number {port.ofport}, not {pod.ofport}")
        return found


@contextmanager
def _doing(what: str) -> Iterator[None]:
    """Say in this room's words what failed; the cause is chained."""
    try:
        yield
    except EFFECT_ERRORS as error:
        raise WiringError(f"{what}: {error}") from error
