"""A wired Pod as a value, its record in the switch's database, and its CNI result. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_interface
from typing import TypeVar

from antrea_proxy.cni.address_ranges import gateway_of
from antrea_proxy.cni.codes import ErrorCode
from antrea_proxy.cni.errors import CniError
from antrea_proxy.cni.ipam import Lease
from antrea_proxy.cni.protocol import AttachmentKey, Dns, Interface, IpConfig, Result, Route
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.network.interfaces import OfPort, PodInterface
from antrea_proxy.network.values import IPAddress, IPInterface
from antrea_proxy.ovsdb.rows import BridgePort

_A = TypeVar("_A", IPv4Address, IPv6Address)

_PREFIX = "antrea-proxy-"
_NAMESPACE = f"{_PREFIX}pod-namespace"
_NAME = f"{_PREFIX}pod-name"
_CONTAINER = f"{_PREFIX}container-id"
_NETNS = f"{_PREFIX}netns"
_INTERFACE = f"{_PREFIX}interface"
_ADDRESSES = f"{_PREFIX}ip-addresses"
_MAC = f"{_PREFIX}mac"
_MTU = f"{_PREFIX}mtu"

_HASH_DIGITS = 6
_MAXIMUM_PREFIX = 15 - 1 - _HASH_DIGITS


class UnreadablePortError(CniError):
    """A port is marked as a Pod's, and its record cannot be read."""

    def __init__(self, port: str, field: str, value: str | None) -> None:
        super().__init__(
            ErrorCode.WIRING_FAILED,
            f"port {port} of the bridge: external_ids:{field} is {value!r}; "
            f"delete the Pod, or the port with ovs-vsctl del-port {port}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A Pod's interface with what only its result needs: prefix lengths and MTU (bytes)."""

    pod: PodInterface
    addresses: tuple[IPInterface, ...]
    mtu: int

    def __str__(self) -> str:
        return f"Pod {self.pod.namespace}/{self.pod.name}"

    @property
    def key(self) -> AttachmentKey:
        """How the runtime names it."""
        return AttachmentKey(self.pod.container_id, self.pod.interface)

    @property
    def gateways(self) -> tuple[IPAddress, ...]:
        """The Node's own address in each of the Pod's networks."""
        return tuple(gateway_of(address.network) for address in self.addresses)

    @property
    def lease(self) -> Lease:
        """The lease that this attachment holds."""
        return Lease(key=self.key, host_interface=self.pod.host_interface, addresses=self.addresses)

    def result(self, dns: Dns) -> Result:
        """Return the result of its ADD: the Node's end, the Pod's end, its addresses and default routes."""
        pod = self.pod
        return Result(
            interfaces=(
                Interface(name=pod.host_interface, mtu=self.mtu),
                Interface(name=pod.interface, mac=pod.mac, mtu=self.mtu, sandbox=pod.netns),
            ),
            ips=tuple(
                IpConfig(address=str(address), gateway=str(gateway), interface=1)
                for address, gateway in zip(self.addresses, self.gateways, strict=True)
            ),
            routes=tuple(Route(dst=default_route(gateway), gw=str(gateway)) for gateway in self.gateways),
            dns=dns,
        )

    def external_ids(self) -> dict[str, str]:
        """Return what its port records, enough to make this value again."""
        pod = self.pod
        return {
            _NAMESPACE: pod.namespace,
            _NAME: pod.name,
            _CONTAINER: pod.container_id,
            _NETNS: pod.netns,
            _INTERFACE: pod.interface,
            _ADDRESSES: ",".join(map(str, self.addresses)),
            _MAC: pod.mac,
            _MTU: str(self.mtu),
        }


def new_attachment(*, pod: NamespacedName, lease: Lease, netns: str, mtu: int, ofport: OfPort) -> Attachment:
    """Return what a Pod becomes once wired with these addresses."""
    return Attachment(
        pod=PodInterface(
            namespace=pod.namespace,
            name=pod.name,
            container_id=lease.key.container_id,
            netns=netns,
            interface=lease.key.interface,
            host_interface=lease.host_interface,
            ofport=ofport,
            mac=mac_of(lease.addresses),
            ipv4=_of_family(lease.addresses, IPv4Address),
            ipv6=_of_family(lease.addresses, IPv6Address),
        ),
        addresses=lease.addresses,
        mtu=mtu,
    )


def read_attachment(port: BridgePort) -> Attachment | None:
    """Read the record of a port; None when it is no Pod's port.

    Raises UnreadablePortError. A port whose device ovs-vswitchd could not open has ofport 0.
    """
    ids = port.external_ids
    if not any(key.startswith(_PREFIX) for key in ids) or _CONTAINER not in ids:
        return None
    for field in (_NAMESPACE, _NAME, _CONTAINER, _NETNS, _INTERFACE, _ADDRESSES, _MAC, _MTU):
        if not ids.get(field):
            raise UnreadablePortError(port.name, field, ids.get(field))
    try:
        addresses = tuple(map(ip_interface, ids[_ADDRESSES].split(",")))
    except ValueError as error:
        raise UnreadablePortError(port.name, _ADDRESSES, ids[_ADDRESSES]) from error
    if not ids[_MTU].isdecimal():
        raise UnreadablePortError(port.name, _MTU, ids[_MTU])
    key = AttachmentKey(ids[_CONTAINER], ids[_INTERFACE])
    attachment = new_attachment(
        pod=NamespacedName(ids[_NAMESPACE], ids[_NAME]),
        lease=Lease(key=key, host_interface=port.name, addresses=addresses),
        netns=ids[_NETNS],
        mtu=int(ids[_MTU]),
        ofport=port.ofport or OfPort(0),
    )
    if attachment.pod.mac != ids[_MAC]:
        raise UnreadablePortError(port.name, _MAC, ids[_MAC])
    return attachment


def mac_of(addresses: Iterable[IPInterface]) -> str:
    """Return the MAC that belongs to addresses: 0a:58 and the last four bytes of the first one."""
    last_bytes = next(iter(addresses)).ip.packed[-4:]
    return ":".join(f"{byte:02x}" for byte in b"\x0a\x58" + last_bytes)


def host_interface_name(pod_name: str, key: AttachmentKey, taken: Container[str]) -> str:
    """Return a name for the Node's end that is not taken: the Pod's name, cut, and six digits of a hash.

    At most 15 bytes (IFNAMSIZ); the dot, legal in a Pod's name, would split a sysctl's path.
    """
    prefix = re.sub(r"[^A-Za-z0-9-]", "-", pod_name)[:_MAXIMUM_PREFIX]
    for attempt in range(1 << 16):
        digest = hashlib.sha256(f"{key}/{attempt}".encode()).hexdigest()[:_HASH_DIGITS]
        name = f"{prefix}-{digest}"
        if name not in taken:
            return name
    raise ValueError(f"no interface name is left for Pod {pod_name}")


def default_route(gateway: IPAddress) -> str:
    """Return the destination of the default route of a gateway's family."""
    return "0.0.0.0/0" if gateway.version == 4 else "::/0"  # noqa: PLR2004 -- an IP version


def differences(expected: Result, attachment: Attachment) -> list[str]:
    """Say where a runtime's prevResult and the attachment differ; plugins after us may have added to it."""
    pod = attachment.pod
    found = []
    interface = next((each for each in expected.interfaces if each.name == pod.interface and each.sandbox), None)
    if interface is None:
        found.append(f"prevResult has no interface {pod.interface} in a sandbox")
    else:
        if interface.sandbox != pod.netns:
            found.append(f"{pod.interface} is in {pod.netns}, prevResult says {interface.sandbox}")
        if interface.mac and interface.mac.lower() != pod.mac:
            found.append(f"{pod.interface} was given MAC {pod.mac}, prevResult says {interface.mac}")
    listed = {ip.address for ip in expected.ips}
    found.extend(
        f"{pod.interface} was given {address}, prevResult does not say so"
        for address in attachment.addresses
        if str(address) not in listed
    )
    return found


def recorded_differences(wanted: Mapping[str, str], actual: Mapping[str, str]) -> list[str]:
    """Say where a port's record is not what it was written as."""
    return [
        f"external_ids:{key} is {actual.get(key)!r}, not {value!r}"
        for key, value in wanted.items()
        if actual.get(key) != value
    ]


def _of_family(addresses: Iterable[IPInterface], family: type[_A]) -> _A | None:
    return next((address.ip for address in addresses if isinstance(address.ip, family)), None)
