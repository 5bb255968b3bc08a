"""The Node's network stack, mended in a real kernel: addresses, routes, neighbours, settings and nftables."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from antrea_proxy.host.address_watch import AddressWatch
from antrea_proxy.host.desired import HostState, desired_host
from antrea_proxy.host.errors import InterfaceMissing, KernelRefused, NamespaceMissing, NftError
from antrea_proxy.host.host import Host, Repair
from antrea_proxy.host.netlink import Netlink
from antrea_proxy.host.nft import Nft
from antrea_proxy.host.nftables import Table
from antrea_proxy.host.pod_links import PodLinks
from antrea_proxy.host.services import External, HostServices, NodePort
from antrea_proxy.network.values import Gateway, Network, Peer, ServiceEntry, Tunnel, Uplink, Via
from antrea_proxy.proxy.frontends import Protocol
from antrea_proxy.settings import TunnelType
from private_switch import inside, namespace, run

PEER = Peer(
    name="node-2",
    via=Via.TUNNEL,
    pod_cidrs=(ip_network("10.10.2.0/24"), ip_network("fd00:10:2::/64")),
    node_addresses=(ip_address("172.18.0.2"),),
    tunnel_address=ip_address("172.18.0.2"),
    next_hops=(),
)
NETWORK = Network(
    node_name="node-1",
    pod_cidrs=(ip_network("10.10.1.0/24"), ip_network("fd00:10:1::/64")),
    gateway=Gateway(
        name="antrea-gw0",
        mac="0a:58:0a:0a:01:01",
        addresses=(ip_interface("10.10.1.1/24"), ip_interface("fd00:10:1::1/64")),
    ),
    mtu=1450,
    node_addresses=(ip_address("172.18.0.1"),),
    transport_addresses=(ip_address("172.18.0.1"),),
    tunnel=Tunnel(type=TunnelType.GENEVE, port=0),
    peers=(PEER,),
    masquerade=True,
    cluster_pod_cidrs=(*map(ip_network, ("10.10.1.0/24", "10.10.2.0/24", "fd00:10:1::/64", "fd00:10:2::/64")),),
    pods=(),
    problems=(),
)
NOTHING = Repair(kernel=(), table=False, shielded_ports=frozenset())


@pytest.fixture
def node() -> Iterator[Path]:
    """A Node's namespace, which the test and all that it starts are in, with an uplink and the switch's two ports."""
    name = f"host-{os.getpid()}"
    with namespace(name) as path, inside(path):
        for port in ("antrea-gw0", "antrea-refuse0"):
            run("ip", "link", "add", port, "type", "veth", "peer", "name", port.removeprefix("antrea-"))
            run("ip", "link", "set", port.removeprefix("antrea-"), "up")
        run("ip", "link", "add", "eth0", "mtu", "1500", "type", "veth", "peer", "name", "underlay")
        run("ip", "link", "set", "underlay", "up")
        run("ip", "link", "set", "eth0", "up")
        run("ip", "addr", "add", "172.18.0.1/24", "dev", "eth0")
        yield path


@pytest.fixture
def pod() -> Iterator[Path]:
    """A Pod's namespace."""
    with namespace(f"host-pod-{os.getpid()}") as path:
        yield path


def within(work: Coroutine[Any, Any, None]) -> None:
    """Run a test that must not take long."""
    asyncio.run(asyncio.wait_for(work, 30))


def desired(network: Network = NETWORK) -> HostState:
    """Return what the Node must hold."""
    return desired_host(network, HostServices(), userspace_datapath=True)


def ip(*arguments: str) -> Any:  # noqa: ANN401 - JSON
    """Return what `ip` shows."""
    return json.loads(run("ip", "-j", *arguments) or "[]")


def test_what_is_desired_is_there_afterwards_and_a_second_call_changes_nothing(node: Path) -> None:
    """As ip and nft show it; also by an agent that has just started."""

    async def work() -> None:
        assert await Host(Netlink(), Nft()).apply(desired())
        routes = {(route["dst"], route["gateway"], route["dev"]) for route in ip("route", "show", "proto", "78")}
        routes |= {(route["dst"], route["gateway"], route["dev"]) for route in ip("-6", "route", "show", "proto", "78")}
        assert routes == {
            ("10.10.2.0/24", "10.10.2.1", "antrea-gw0"),
            ("fd00:10:2::/64", "fd00:10:2::1", "antrea-gw0"),
        }
        neighbours = {(item["dst"], item["lladdr"], *item["state"]) for item in ip("neigh", "show", "nud", "permanent")}
        assert ("10.10.2.1", "aa:bb:cc:dd:ee:ff", "PERMANENT") in neighbours
        assert ("fd00:10:2::1", "aa:bb:cc:dd:ee:ff", "PERMANENT") in neighbours
        gateway = ip("addr", "show", "dev", "antrea-gw0")[0]
        assert (gateway["address"], gateway["mtu"], "UP" in gateway["flags"]) == ("0a:58:0a:0a:01:01", 1450, True)
        held = {
            (item["local"], item.get("tentative", False)) for item in gateway["addr_info"] if item["scope"] != "link"
        }
        assert held == {("10.10.1.1", False), ("fd00:10:1::1", False)}
        assert run("sysctl", "-n", "net.ipv4.ip_forward") == "1\n"
        host = Host(Netlink(), Nft())
        again = await host.apply(desired())
        assert (again.kernel, again.shielded_ports) == ((), frozenset())
        assert await host.apply(desired()) == NOTHING

    within(work())


def test_what_somebody_changes_is_mended_and_said(node: Path) -> None:
    """Rules edited, emptied and added; addresses, routes, neighbours, MAC and settings."""

    async def work() -> None:
        host = Host(Netlink(), Nft())
        await host.apply(desired())
        rules = run("nft", "list", "ruleset")
        for vandalism in (
            "nft flush chain inet antrea-proxy postrouting",
            "nft add rule inet antrea-proxy prerouting drop",
            "nft add element inet antrea-proxy cluster_pod_cidrs_v4 { 192.168.0.0/16 }",
            "nft delete table inet antrea-proxy",
        ):
            run(*vandalism.split())
            repair = await host.apply(desired())
            assert (repair.table, repair.kernel) == (True, ())
            assert run("nft", "list", "ruleset") == rules
        for vandalism in (
            "ip link set antrea-gw0 down",
            "ip link set antrea-gw0 address 0a:58:00:00:00:07",
            "ip addr del 10.10.1.1/24 dev antrea-gw0",
            "ip addr add 10.10.1.9/24 dev antrea-gw0",
            "ip addr flush dev antrea-gw0",
            "ip route del 10.10.2.0/24",
            "ip route replace 10.10.2.0/24 via 172.18.0.2 proto 78",
            "ip -6 route flush proto 78",
            "ip route add 10.77.0.0/16 via 172.18.0.2 proto 78",
            "ip neigh del 10.10.2.1 dev antrea-gw0",
            "ip neigh replace 10.10.2.1 lladdr 02:00:00:00:00:01 dev antrea-gw0 nud permanent proto 78",
            "sysctl -w net.ipv4.ip_forward=0",
        ):
            run(*vandalism.split())
            repair = await host.apply(desired())
            assert repair.kernel, vandalism
            assert await host.apply(desired()) == NOTHING, vandalism

    within(work())


def test_what_belongs_to_others_stays_through_repair_and_cleanup(node: Path) -> None:
    """Cleanup leaves exactly theirs, and a second one finds nothing to do."""

    async def work() -> None:
        theirs = "table inet theirs {\n\tchain c {\n\t\tip daddr 192.0.2.1 drop\n\t}\n}\n"
        run("nft", theirs)
        run("ip", "route", "add", "192.0.2.0/24", "via", "172.18.0.9")
        await PodLinks().create_pod_veth(**_pod(node, "0-theirs", "theirs0"))
        before = {"rules": run("nft", "list", "ruleset"), "routes": ip("route", "show", "192.0.2.0/24")}
        host = Host(Netlink(), Nft())
        await host.apply(desired(NETWORK))
        # Only now: the kernel forgets neighbours, permanent ones too, when an interface gets another MAC
        # or loses its last address.
        run("ip", "neigh", "add", "10.10.1.99", "lladdr", "02:00:00:00:00:09", "dev", "antrea-gw0", "nud", "permanent")
        for network in (NETWORK, replace(NETWORK, peers=())):
            await host.apply(desired(network))
        assert [item["dst"] for item in ip("neigh", "show", "nud", "permanent")] == ["10.10.1.99"]
        await host.shield_port("0-theirs")
        assert theirs in run("nft", "list", "ruleset")
        await host.cleanup("antrea-gw0")
        await host.cleanup("antrea-gw0")
        assert run("nft", "list", "ruleset") == before["rules"] == theirs
        assert ip("route", "show", "192.0.2.0/24") == before["routes"]
        assert ip("route", "show", "proto", "78") == []
        assert [
            item for item in ip("addr", "show", "dev", "antrea-gw0")[0]["addr_info"] if item["scope"] != "link"
        ] == []

    within(work())


def test_peers_that_come_and_go_change_elements_and_routes_alone(node: Path) -> None:
    """The table is not replaced for a podCIDR: its chains keep their handles."""

    async def work() -> None:
        host = Host(Netlink(), Nft())
        await host.apply(desired())
        handles = run("nft", "-a", "list", "chain", "inet", "antrea-proxy", "postrouting")
        other = replace(
            PEER, name="node-3", pod_cidrs=(ip_network("10.10.3.0/24"),), tunnel_address=ip_address("172.18.0.3")
        )
        grown = replace(
            NETWORK, peers=(PEER, other), cluster_pod_cidrs=(*NETWORK.cluster_pod_cidrs, ip_network("10.10.3.0/24"))
        )
        assert (await host.apply(desired(grown))).table
        assert "10.10.3.0/24" in run("nft", "list", "set", "inet", "antrea-proxy", "cluster_pod_cidrs_v4")
        assert (await host.apply(desired())).table
        assert "10.10.3.0/24" not in run("nft", "list", "set", "inet", "antrea-proxy", "cluster_pod_cidrs_v4")
        assert run("nft", "-a", "list", "chain", "inet", "antrea-proxy", "postrouting") == handles
        assert await host.apply(desired()) == NOTHING

    within(work())


def test_without_encapsulation_the_route_leads_over_the_uplink(node: Path) -> None:
    """The mode may change at a restart; what is no longer wanted goes."""

    async def work() -> None:
        host = Host(Netlink(), Nft())
        await host.apply(desired())
        routed = replace(PEER, via=Via.ROUTE, tunnel_address=None, next_hops=(ip_address("172.18.0.2"),))
        network = replace(NETWORK, tunnel=None, peers=(routed,))
        await host.apply(desired(network))
        assert [(route["gateway"], route["dev"]) for route in ip("route", "show", "10.10.2.0/24")] == [
            ("172.18.0.2", "eth0")
        ]
        assert ip("-6", "route", "show", "fd00:10:2::/64") == []
        assert ip("neigh", "show", "nud", "permanent") == []
        assert await host.apply(desired(network)) == NOTHING

    within(work())


def test_a_route_of_somebody_else_is_not_taken_and_the_remedy_is_named(node: Path) -> None:
    """All else is done."""

    async def work() -> None:
        run("ip", "route", "add", "10.10.2.0/24", "via", "172.18.0.7")
        with pytest.raises(KernelRefused, match=r"ip route del 10\.10\.2\.0/24"):
            await Host(Netlink(), Nft()).apply(desired())
        assert [route["gateway"] for route in ip("route", "show", "10.10.2.0/24")] == ["172.18.0.7"]
        assert [route["dst"] for route in ip("-6", "route", "show", "proto", "78")] == ["fd00:10:2::/64"]

    within(work())


def test_a_gateway_that_the_switch_has_not_made_is_named(node: Path) -> None:
    """Nothing is tried on it."""

    async def work() -> None:
        run("ip", "link", "del", "antrea-gw0")
        with pytest.raises(InterfaceMissing, match="antrea-gw0"):
            await Host(Netlink(), Nft()).apply(desired())

    within(work())


def test_an_nft_that_is_missing_or_refuses_is_told_with_its_words(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that is refused leaves all as it was."""

    async def work() -> None:
        nft = Nft()
        await nft.write(desired().table)
        before = run("nft", "list", "ruleset")
        wrong = replace(
            desired().table, chains=(replace(desired().table.chains[0], rules=("ip saddr nonsense drop",)),)
        )
        with pytest.raises(NftError, match="nonsense"):
            await nft.write(wrong)
        assert run("nft", "list", "ruleset") == before
        assert await nft.write(desired().table)
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(NftError, match="apt install nftables"):
            await nft.write(desired().table)

    within(work())


def test_the_nodes_uplinks_are_told_without_loopback_and_ours(node: Path) -> None:
    """Name, MTU, addresses with their prefixes."""

    async def work() -> None:
        await Host(Netlink(), Nft()).apply(desired())
        expected = Uplink(name="eth0", mtu=1500, addresses=(ip_interface("172.18.0.1/24"),))
        assert await Netlink().uplinks(frozenset({"antrea-gw0", "antrea-refuse0"})) == (expected,)
        assert "antrea-gw0" in {uplink.name for uplink in await Netlink().uplinks()}

    within(work())


def _pod(pod: Path, host_interface: str = "0-pod.a", interface: str = "eth0") -> dict[str, Any]:
    return {
        "netns": str(pod),
        "pod_interface": interface,
        "host_interface": host_interface,
        "mac": "0a:58:0a:0a:01:0b",
        "mtu": 1450,
        "addresses": (ip_interface("10.10.1.11/24"), ip_interface("fd00:10:1::b/64")),
        "gateways": (ip_address("10.10.1.1"), ip_address("fd00:10:1::1")),
        "checksum_offload": False,
    }


def test_a_pods_interface_is_made_ready_and_told_back(node: Path, pod: Path) -> None:
    """Addresses usable at once, default routes, checksums written by the Pod's kernel; no IPv6 at the Node's end."""

    async def work() -> None:
        links = PodLinks()
        await links.create_pod_veth(**_pod(pod))
        state = await links.pod_interface_state(str(pod), "eth0")
        assert state is not None
        assert (state.mac, state.mtu, state.up) == ("0a:58:0a:0a:01:0b", 1450, True)
        assert state.addresses == _pod(pod)["addresses"]
        assert state.gateways == _pod(pod)["gateways"]
        with inside(pod):
            assert "tx-checksumming: off" in run("ethtool", "-k", "eth0")
            assert not any("tentative" in item for item in ip("addr", "show", "dev", "eth0")[0]["addr_info"][:2])
            assert "UP" in ip("link", "show", "dev", "lo")[0]["flags"]
        assert run("sysctl", "-n", "net/ipv6/conf/0-pod.a/disable_ipv6") == "1\n"
        assert (ip("link", "show", "dev", "0-pod.a")[0]["mtu"]) == 1450
        assert await links.link_exists("0-pod.a")
        await links.delete_link("0-pod.a")
        await links.delete_link("0-pod.a")
        assert not await links.link_exists("0-pod.a")
        assert await links.pod_interface_state(str(pod), "eth0") is None
        assert await links.pod_interface_state("/var/run/netns/nowhere", "eth0") is None

    within(work())


def test_checksum_offload_stays_where_it_is_wanted(node: Path, pod: Path) -> None:
    """The kernel datapath profits from it."""

    async def work() -> None:
        await PodLinks().create_pod_veth(**_pod(pod) | {"checksum_offload": True})
        with inside(pod):
            assert "tx-checksumming: on" in run("ethtool", "-k", "eth0")

    within(work())


def test_a_pods_interface_that_cannot_be_made_leaves_nothing(node: Path, pod: Path) -> None:
    """Names that are taken, at either end; a namespace that is gone; an address that cannot be."""

    async def work() -> None:
        links = PodLinks()
        with pytest.raises(NamespaceMissing, match="/var/run/netns/nowhere"):
            await links.create_pod_veth(**_pod(pod) | {"netns": "/var/run/netns/nowhere"})
        with pytest.raises(KernelRefused, match="eth0"):
            await links.create_pod_veth(**_pod(pod) | {"host_interface": "eth0", "pod_interface": "eth1"})
        with pytest.raises(KernelRefused, match="default route"):
            await links.create_pod_veth(**_pod(pod) | {"gateways": (ip_address("192.0.2.1"),)})
        with inside(pod):
            assert {link["ifname"] for link in ip("link")} == {"lo"}
        await links.create_pod_veth(**_pod(pod))
        with pytest.raises(KernelRefused, match="File exists"):
            await links.create_pod_veth(**_pod(pod, "0-pod.b"))
        assert "0-pod.b" not in {link["ifname"] for link in ip("link")}
        assert "eth0" in {link["ifname"] for link in ip("link")}

    within(work())


def test_a_shielded_port_is_not_seen_by_the_kernel_and_a_changed_shield_is_mended(node: Path, pod: Path) -> None:
    """The Node answers the Pod until its port is shielded, and again when the shield is gone."""

    async def work() -> None:
        host = Host(Netlink(), Nft())
        await PodLinks().create_pod_veth(**_pod(pod))
        run("ip", "addr", "add", "10.10.1.1/24", "dev", "0-pod.a")
        assert await _answered(pod)
        await host.shield_port("0-pod.a")
        assert not await _answered(pod)
        for vandalism in (
            "add rule netdev antrea-proxy-ports port-0-pod.a accept",
            "add chain netdev antrea-proxy-ports port-0-pod.a { policy accept ; }",
            "delete table netdev antrea-proxy-ports",
        ):
            run("nft", vandalism)
            assert await _answered(pod), vandalism
            await host.shield_port("0-pod.a")
            assert not await _answered(pod), vandalism
        await host.unshield_port("0-pod.a")
        await host.unshield_port("0-pod.a")
        assert await _answered(pod)

    within(work())


async def _answered(pod: Path) -> bool:
    process = await asyncio.create_subprocess_exec(
        "nsenter", f"--net={pod}", "ping", "-c1", "-W0.3", "-q", "10.10.1.1", stdout=asyncio.subprocess.DEVNULL
    )
    return await process.wait() == 0


def test_shields_of_interfaces_that_are_gone_go_too_and_those_of_pods_that_are_coming_stay(
    node: Path, pod: Path
) -> None:
    """A later interface of that name must not find one."""

    async def work() -> None:
        host = Host(Netlink(), Nft())
        for name in ("pod-a", "pod-b"):
            run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-peer")
            await host.shield_port(name)
        run("ip", "link", "del", "pod-a")
        await host.apply(desired())
        shields = run("nft", "list", "table", "netdev", "antrea-proxy-ports")
        assert "port-pod-b" in shields
        assert "port-pod-a" not in shields

    within(work())


def test_every_table_that_is_written_reads_back_as_a_fresh_one_would(node: Path) -> None:
    """Elements changed one by one, in sets of nested, adjacent and equal ranges."""

    async def work() -> None:
        nft = Nft()
        base = desired().table
        chosen = ["10.0.0.0/8", "10.0.0.0/24", "10.0.1.0/24", "10.0.0.0/25", "10.0.0.128/25", "10.0.2.0/23"]
        for number in (1, 2, 6, 4, 24, 56, 32, 1, 38, 0, 6):
            elements = frozenset(cidr for bit, cidr in enumerate(chosen) if number >> bit & 1)
            table = Table(
                family=base.family,
                name=base.name,
                sets=(replace(base.sets[0], elements=elements), base.sets[1]),
                chains=base.chains,
            )
            await nft.write(table)
            written = run("nft", "list", "table", "inet", "antrea-proxy")
            await nft.remove("inet", "antrea-proxy")
            await Nft().write(table)
            assert run("nft", "list", "table", "inet", "antrea-proxy") == written
            await nft.write(table)

    within(work())


SERVED = replace(
    NETWORK,
    service_entry=ServiceEntry(
        local_addresses=(ip_address("172.18.0.1"),), node_port_addresses=(ip_address("172.18.0.1"),), localhost=True
    ),
)


def serving(*ports: int) -> HostState:
    """Return what the Node must hold for Services with these NodePorts, and external IPs of the same last number."""
    services = HostServices(
        node_ports=frozenset(
            NodePort(family, protocol, port) for family in (4, 6) for protocol in Protocol for port in ports
        ),
        externals=frozenset(
            External(ip_address(text), Protocol.TCP, 80)
            for port in ports
            for text in (f"172.31.0.{port % 100}", f"fd00:31::{port % 100}", "172.18.0.1")
        ),
        ranges=frozenset({ip_network("10.96.0.0/20"), ip_network("fd00:96::/120")}),
    )
    return desired_host(SERVED, services, userspace_datapath=True)


def test_services_are_added_and_taken_away_one_by_one_and_a_look_finds_nothing_to_mend(node: Path) -> None:
    """Of all protocols and both families."""

    async def work() -> None:
        host = Host(Netlink(), Nft())
        await host.apply(serving(30080))
        for before, after in (((30080,), (30080, 30081)), ((30080, 30081), (30081,)), ((30081,), ())):
            assert await host.change(serving(*before), serving(*after))
            assert await host.apply(serving(*after)) == NOTHING
        assert await host.change(serving(), serving(30082))
        listed = run("nft", "list", "set", "inet", "antrea-proxy", "node_ports_v4")
        assert all(f"{word} . 30082" in listed for word in ("tcp", "udp", "sctp"))
        shown = ip("route", "show", "172.31.0.82") + ip("-6", "route", "show", "fd00:31::82")
        assert [(route["gateway"], route["dev"]) for route in shown] == [
            ("169.254.0.253", "antrea-gw0"),
            ("fc01::aabb:ccdd:eeff", "antrea-gw0"),
        ]

    within(work())


@pytest.mark.parametrize(
    "vandalism",
    [
        "nft delete element inet antrea-proxy node_ports_v4 { tcp . 30080 }",
        "nft add element inet antrea-proxy node_ports_v6 { tcp . 22 }",
        "nft delete element inet antrea-proxy own_services_v4 { 172.18.0.1 . tcp . 80 }",
        "nft flush chain inet antrea-proxy services_prerouting",
        "nft delete table inet antrea-proxy",
        "ip route del 172.31.0.80",
        "ip route del 10.96.0.0/20",
        "ip rule del fwmark 0x2000/0x2000",
        "ip -6 rule del fwmark 0x2000/0x2000",
        "ip route flush table 7800",
        "ip neigh del 169.254.0.253 dev antrea-gw0",
        "sysctl -qw net.ipv4.conf.antrea-gw0.route_localnet=0",
    ],
)
def test_what_somebody_takes_away_from_services_is_mended(node: Path, vandalism: str) -> None:
    """Rules, elements, routes of both tables, the rule that leads to the second, and the virtual neighbour."""

    def shown() -> tuple[object, ...]:
        rules = [{key: item[key] for key in ("priority", "table")} for item in ip("rule") + ip("-6", "rule")]
        routes = [item["dst"] for item in ip("route", "show", "table", "all", "proto", "78")]
        return run("nft", "list", "chain", "inet", "antrea-proxy", "services_prerouting"), rules, sorted(routes)

    async def work() -> None:
        host = Host(Netlink(), Nft())
        await host.apply(serving(30080))
        before = shown()
        run(*vandalism.split())
        assert await host.apply(serving(30080))
        assert shown() == before
        assert await host.apply(serving(30080)) == NOTHING
        assert await Host(Netlink(), Nft()).apply(serving(30080)) == replace(NOTHING, table=True)

    within(work())


def test_a_change_that_meets_what_somebody_took_away_says_so(node: Path) -> None:
    """Then the Node is to be read back."""

    async def work() -> None:
        host = Host(Netlink(), Nft())
        await host.apply(serving(30080))
        run("nft", "delete", "table", "inet", "antrea-proxy")
        with pytest.raises(NftError):
            await host.change(serving(30080), serving(30080, 30081))
        await host.apply(serving(30080, 30081))
        assert "tcp . 30081" in run("nft", "list", "set", "inet", "antrea-proxy", "node_ports_v4")

    within(work())


def test_cleanup_leaves_nothing_of_services(node: Path) -> None:
    """No table, rule, route or neighbour."""

    async def work() -> None:
        host = Host(Netlink(), Nft())
        await host.apply(serving(30080))
        await host.cleanup("antrea-gw0")
        assert not run("nft", "list", "ruleset")
        assert not ip("route", "show", "table", "all", "proto", "78")
        assert not ip("-6", "route", "show", "table", "all", "proto", "78")
        assert not any("fwmark" in item for item in ip("rule") + ip("-6", "rule"))
        assert not [item for item in ip("neigh", "show", "nud", "permanent") if item["dev"] == "antrea-gw0"]

    within(work())


def test_an_address_that_comes_or_goes_wakes_who_waits_and_nothing_else_does(node: Path) -> None:
    async def work() -> None:
        watch = AddressWatch()
        for change in ("add", "del"):
            waiting = asyncio.create_task(watch.wait_for_change())
            await asyncio.sleep(0.1)
            run("ip", "route", "replace", "192.0.2.0/24", "dev", "eth0")
            await asyncio.sleep(0.1)
            assert not waiting.done()
            run("ip", "address", change, "172.18.0.77/24", "dev", "eth0")
            await asyncio.wait_for(waiting, 5)
        watch.close()

    within(work())


@pytest.mark.parametrize("mode", ["iptables", "iptables, legacy", "nftables"])
def test_kube_proxys_rules_are_known_by_the_names_of_chains(node: Path, mode: str) -> None:
    async def work() -> None:
        host = Host(Netlink(), Nft())
        await host.apply(serving(30080))
        assert not await host.beside_kube_proxy()
        if mode == "nftables":
            run("nft", "add", "table", "ip", "kube-proxy")
            run("nft", "add", "chain", "ip", "kube-proxy", "services")
        else:
            program = "iptables-legacy" if "legacy" in mode else "iptables-nft"
            for chain in ("KUBE-SERVICES", "KUBE-PROXY-CANARY"):
                run(program, "-t", "nat", "-N", chain)
        assert await host.beside_kube_proxy()

    within(work())
