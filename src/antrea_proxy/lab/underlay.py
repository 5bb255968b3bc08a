"""The network that joins the Nodes and the hosts outside of the cluster.

A kernel bridge for each subnet in a network namespace of its own (in the machine's own, bridge-nf-call-iptables may be
on), with a veth to `eth0` of every host; the namespace routes between the subnets. With the userspace datapath and a
tunnel, each Node has a second uplink, `eth1`, which its switch takes into `br-phy`: the tunnel's address must be on a
bridge of that switch, while the Node's own stays with its kernel.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterable
from ctypes import addressof, create_string_buffer
from pathlib import Path

from antrea_proxy.lab import namespaces
from antrea_proxy.lab.addressing import AddressPlan
from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.options import EncapMode, LabOptions
from antrea_proxy.lab.places import Places

UNDERLAY = "underlay"
UPLINK = "eth0"
TUNNEL_UPLINK = "eth1"
MTU = 1500
_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
_FORWARDING = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv6/conf/all/forwarding": "1",
}
_TUNNEL_NODE = {
    # eth1's namespace also holds the Node's own address: each answers ARP for its own only.
    "ipv4/conf/all/arp_ignore": "1",
}
_CLIENT = {
    "ipv4/fib_multipath_hash_policy": "1",  # by ports too, so that one client is spread over the Nodes
    "ipv6/fib_multipath_hash_policy": "1",
}
_UNDERLAY = {
    "bridge/bridge-nf-call-iptables": "0",
    "bridge/bridge-nf-call-ip6tables": "0",
    "bridge/bridge-nf-call-arptables": "0",
}


def uplink_mac(number: int) -> str:
    """Give the MAC address of a host's eth0; `number` is the last part of its IPv4 address, 1 to 254."""
    return f"02:18:00:00:00:{number:02x}"


def tunnel_mac(number: int) -> str:
    """Give the MAC address of a Node's br-phy, which peers find its tunnel address behind."""
    return f"02:19:00:00:00:{number:02x}"


def router_mac(subnet: int) -> str:
    """Give the MAC address of the router in a subnet."""
    return f"02:1a:00:00:00:{subnet:02x}"


def build(places: Places, options: LabOptions, *, tunnel_uplinks: bool) -> None:
    """Make the bridge, the hosts' network namespaces, their links, addresses and routes.

    Raises LabError with the words of ip(8) or of the kernel.
    """
    plan = AddressPlan(family=options.ip_family, subnets=options.subnets)
    nodes = {name: number for number, name in enumerate(options.node_names, start=1)}
    clients = {name: number for number, name in enumerate(options.client_names, start=1)}
    prefix = places.netns_prefix
    namespaces.create_netns(prefix + host for host in (UNDERLAY, *nodes, *clients))
    underlay = places.netns(UNDERLAY)
    if _has_bridge_filter(underlay):
        namespaces.write_sysctls(underlay, _UNDERLAY)

    lines = ["link set lo up"]
    for subnet in range(options.subnets):
        lines += _router(plan, subnet)
    node_uplinks = (UPLINK, TUNNEL_UPLINK) if tunnel_uplinks else (UPLINK,)
    for node, number in nodes.items():
        lines += _cables(places, node, node_uplinks, subnet=plan.subnet(number))
    for client in clients:
        lines += _cables(places, client, (UPLINK,), subnet=0)
    if options.encap_mode is EncapMode.NO_ENCAP:
        lines += [line for number in nodes.values() for line in _pod_routes(plan, number)]
    namespaces.ip_in(prefix + UNDERLAY, lines)
    if options.subnets > 1:
        namespaces.write_sysctls(underlay, _FORWARDING)

    for number in nodes.values():
        _set_up_node(places, options, number, tunnel_uplink=tunnel_uplinks)
    for client, number in clients.items():
        namespaces.write_sysctls(places.netns(client), _CLIENT)
        addresses = plan.client(number)
        mac = uplink_mac(int(str(addresses[0]).replace(":", ".").rpartition(".")[2]))
        lines = _host(plan.with_prefix(addresses), mac)
        if options.subnets > 1:
            lines += _default_routes(plan, 0)
        namespaces.ip_in(prefix + client, lines)
        route_client(places, options, client, options.next_to_clients)
        turn_off_checksum_offload(places.netns(client), UPLINK)


def rebuild_node(places: Places, options: LabOptions, number: int, *, tunnel_uplink: bool) -> None:
    """End whoever runs on a Node, and give it a new network namespace, with nothing in it but its links and addresses.

    Raises LabError with the words of ip(8) or of the kernel.
    """
    node = options.node_names[number - 1]
    name = places.netns_prefix + node
    uplinks = (UPLINK, TUNNEL_UPLINK) if tunnel_uplink else (UPLINK,)
    namespaces.kill_processes_in([places.netns(node)])
    namespaces.ip_in(places.netns_prefix + UNDERLAY, (f"link del {_port(node, uplink)}" for uplink in uplinks))
    namespaces.delete_netns([name])
    namespaces.create_netns([name])
    subnet = AddressPlan(family=options.ip_family, subnets=options.subnets).subnet(number)
    namespaces.ip_in(places.netns_prefix + UNDERLAY, _cables(places, node, uplinks, subnet=subnet))
    _set_up_node(places, options, number, tunnel_uplink=tunnel_uplink)


def _set_up_node(places: Places, options: LabOptions, number: int, *, tunnel_uplink: bool) -> None:
    plan = AddressPlan(family=options.ip_family, subnets=options.subnets)
    netns = places.netns(options.node_names[number - 1])
    namespaces.write_sysctls(netns, _FORWARDING | (_TUNNEL_NODE if tunnel_uplink else {}))
    lines = _host(plan.with_prefix(plan.node(number)), uplink_mac(number))
    lines += _default_routes(plan, plan.subnet(number))
    if tunnel_uplink:
        namespaces.write_sysctls(netns, {f"ipv6/conf/{TUNNEL_UPLINK}/disable_ipv6": "1"})
        lines.append(f"link set {TUNNEL_UPLINK} up")
    namespaces.ip_in(netns.name, lines)
    turn_off_checksum_offload(netns, UPLINK)


def route_client(places: Places, options: LabOptions, client: str, via: tuple[str, ...]) -> None:
    """Let a client reach the load-balancer and external ranges by ECMP over these Nodes, which are the lab's.

    Raises LabError for a Node that is beyond the router, and with the words of ip(8).
    """
    for node in via:
        if node not in options.next_to_clients:
            near = ", ".join(options.next_to_clients)
            raise LabError(f"{node} is beyond the router for clients: the Nodes of their subnet are {near}")
    plan = AddressPlan(family=options.ip_family, subnets=options.subnets)
    lines = []
    for network in plan.routed_to_nodes:
        gateways = [
            address
            for node in via
            for address in plan.node(options.node_names.index(node) + 1)
            if address.version == network.version
        ]
        hops = " ".join(f"nexthop via {gateway} dev {UPLINK}" for gateway in gateways)
        # IPv6 appends next hops to a route that is there (ip-route(8)): replace alone would keep the former ones.
        lines += [f"route replace {network} dev lo", f"route del {network}", f"route add {network} {hops}"]
    namespaces.ip_in(places.netns_prefix + client, lines)


def turn_off_checksum_offload(netns: Path, interface: str) -> None:
    """Fill in checksums before a packet leaves a veth: a switch behind AF_PACKET would take it for broken.

    Raises OSError where the interface is not there. Source: ethtool's ETHTOOL_STXCSUM (linux/ethtool.h).
    """
    with namespaces.inside(netns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        value = create_string_buffer(struct.pack("=II", _ETHTOOL_STXCSUM, 0), 8)
        request = struct.pack("16sP16x", interface.encode(), addressof(value))
        fcntl.ioctl(sock.fileno(), _SIOCETHTOOL, request)


def no_dad(address: str) -> str:
    """Give the word that makes an IPv6 address usable at once: nobody else has it here (RFC 4862 section 5.4)."""
    return " nodad" if ":" in address else ""


def _has_bridge_filter(netns: Path) -> bool:
    with namespaces.inside(netns):
        return Path("/proc/sys/net/bridge").exists()


def _port(host: str, interface: str) -> str:
    return f"{host}-{interface}"


def _router(plan: AddressPlan, subnet: int) -> list[str]:
    bridge = _bridge(subnet)
    addresses = (*plan.router(subnet), *plan.tunnel_router(subnet))
    return [
        f"link add {bridge} address {router_mac(subnet)} type bridge",
        f"link set {bridge} mtu {MTU} up",
        *(f"address add {address} dev {bridge}{no_dad(address)}" for address in plan.with_prefix(addresses)),
    ]


def _default_routes(plan: AddressPlan, subnet: int) -> list[str]:
    return [f"route add default via {gateway}" for gateway in plan.router(subnet)]


def _pod_routes(plan: AddressPlan, number: int) -> list[str]:
    """Give a Node's Pods to the routers of a network without tunnels."""
    ways = {address.version: address for address in plan.node(number)}
    return [f"route add {cidr} via {ways[cidr.version]}" for cidr in plan.pod_cidrs(number)]


def _bridge(subnet: int) -> str:
    return f"br{subnet}"


def _cables(places: Places, host: str, interfaces: Iterable[str], *, subnet: int) -> list[str]:
    lines = []
    for interface in interfaces:
        port = _port(host, interface)
        peer = f"peer name {interface} mtu {MTU} netns {places.netns_prefix}{host}"
        lines += [f"link add {port} mtu {MTU} type veth {peer}", f"link set {port} master {_bridge(subnet)} up"]
    return lines


def _host(addresses: tuple[str, ...], mac: str) -> list[str]:
    return [
        "link set lo up",
        f"link set {UPLINK} address {mac}",
        f"link set {UPLINK} up",
        *(f"address add {address} dev {UPLINK}{no_dad(address)}" for address in addresses),
    ]
