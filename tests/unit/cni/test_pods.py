"""Pods are wired whole or not at all, and nothing of them is left when they are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

import pytest

from antrea_proxy.cni.codes import ErrorCode
from antrea_proxy.cni.errors import CniError
from antrea_proxy.cni.pod_ports import PodPorts, PortKind, port_kind
from antrea_proxy.cni.protocol import AttachmentKey, Dns, Interface, IpConfig, Result, Route
from antrea_proxy.host.errors import KernelRefused
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.network.interfaces import OfPort, PodInterface
from cni_fakes import CIDR4, CIDR6, MTU, Agent, CrashError, FakeNode, start_agent


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a test's own coroutine."""
    asyncio.run(work)


def test_an_added_pod_has_its_interface_port_flows_and_addresses_of_both_families() -> None:
    """ADD answers with what the Pod has, and the agent knows the Pod."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node, (CIDR4, CIDR6))
        result = await agent.add("c1", pod="web-6f")
        (host_interface,) = node.pairs
        assert result == Result(
            interfaces=(
                Interface(name=host_interface, mtu=MTU),
                Interface(name="eth0", mac="0a:58:0a:0a:01:02", mtu=MTU, sandbox="/run/netns/c1"),
            ),
            ips=(
                IpConfig(address="10.10.1.2/24", gateway="10.10.1.1", interface=1),
                IpConfig(address="fd00:10:1::2/64", gateway="fd00:10:1::1", interface=1),
            ),
            routes=(Route(dst="0.0.0.0/0", gw="10.10.1.1"), Route(dst="::/0", gw="fd00:10:1::1")),
        )
        assert host_interface.startswith("web-6f-")
        assert len(host_interface) <= 15
        pod = PodInterface(
            namespace="default",
            name="web-6f",
            container_id="c1",
            netns="/run/netns/c1",
            interface="eth0",
            host_interface=host_interface,
            ofport=OfPort(16),
            mac="0a:58:0a:0a:01:02",
            ipv4=IPv4Address("10.10.1.2"),
            ipv6=IPv6Address("fd00:10:1::2"),
        )
        assert agent.wiring.pods == (pod,)
        assert node.flows == {host_interface: pod}
        assert node.shielded == {host_interface}
        assert node.inner["/run/netns/c1", "eth0"].gateways == (IPv4Address("10.10.1.1"), IPv6Address("fd00:10:1::1"))

    run(scenario())


def test_a_runtime_that_repeats_an_add_gets_the_same_answer_and_nothing_new() -> None:
    """Runtimes retry when the answer was lost."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        assert await agent.add("c1") == await agent.add("c1")
        assert len(node.pairs) == len(agent.pool.leases) == 1

    run(scenario())


def test_an_add_repeated_after_an_agent_restart_gets_the_same_answer() -> None:
    """What is in the switch is enough to answer."""

    async def scenario() -> None:
        node = FakeNode()
        first = await (await start_agent(node, (CIDR4, CIDR6))).add("c1")
        assert await (await start_agent(node, (CIDR4, CIDR6))).add("c1") == first

    run(scenario())


def test_an_add_repeated_when_the_interface_was_lost_wires_the_pod_anew() -> None:
    """An attachment that is not intact is no answer."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        await agent.add("c1")
        node.remove_namespace("/run/netns/c1")
        result = await agent.add("c1")
        assert result.ips[0].address == "10.10.1.3/24"
        assert len(node.bridge_ports) == len(node.pairs) == len(agent.pool.leases) == len(node.flows) == 1

    run(scenario())


def test_a_new_sandbox_of_the_same_pod_gets_an_address_of_its_own() -> None:
    """The kubelet makes a second sandbox before the first is removed."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        first, second = await agent.add("c1", pod="web-1"), await agent.add("c2", pod="web-1")
        assert first.ips[0].address != second.ips[0].address
        assert len(node.pairs) == 2
        await agent.delete("c1")
        assert [pod.container_id for pod in agent.wiring.pods] == ["c2"]

    run(scenario())


@pytest.mark.parametrize(
    ("netns", "pod"), [("/run/netns/other", "web-1"), ("/run/netns/c1", "web-2")], ids=["namespace", "Pod"]
)
def test_a_container_that_is_attached_otherwise_is_refused(netns: str, pod: str) -> None:
    """The message names both, and the Pod that has the interface keeps it."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        await agent.add("c1")
        with pytest.raises(CniError, match=r"container c1 is attached already.*DEL it first") as caught:
            await agent.add("c1", netns=netns, pod=pod)
        assert caught.value.code is ErrorCode.ATTACHED_OTHERWISE
        assert len(node.pairs) == 1

    run(scenario())


@pytest.mark.parametrize("effect", ["save", "create_pod_veth", "shield_port", "ensure_port", "wired"])
def test_an_add_that_fails_at_any_step_leaves_nothing(effect: str) -> None:
    """Interface, shield, port, flows and address are all undone, and the next ADD works."""

    async def scenario() -> None:
        node = FakeNode(refusing={effect})
        agent = await start_agent(node)
        with pytest.raises((CniError, KernelRefused)):
            await agent.add("c1")
        assert node.is_clean()
        assert not agent.pool.leases
        node.refusing.clear()
        await agent.add("c1")

    run(scenario())


def test_what_cannot_be_undone_is_said_and_removed_by_a_later_del() -> None:
    """The address is not given to another Pod while the interface that has it may be there."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        node.refusing = {"ensure_port", "unshield_port"}
        with pytest.raises(CniError, match=r"ensure_port refused.*not all undone.*unshield_port refused"):
            await agent.add("c1")
        assert len(agent.pool.leases) == 1
        node.refusing.clear()
        other = await agent.add("c2")
        assert other.ips[0].address == "10.10.1.3/24"
        await agent.delete("c1")
        await agent.delete("c2")
        assert node.is_clean()
        assert not agent.pool.leases

    run(scenario())


def test_an_add_whose_flows_do_not_come_is_undone_and_may_be_repeated() -> None:
    """Code 11: the switch may be back later."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node, flows_timeout_s=0.02)

        async def never(_: PodInterface) -> None:
            await asyncio.Event().wait()

        agent.wiring._wired = never
        with pytest.raises(CniError, match=r"flows of Pod default/web-1 are not in the switch") as caught:
            await agent.add("c1")
        assert caught.value.code is ErrorCode.TRY_AGAIN_LATER
        assert node.is_clean()

    run(scenario())


def test_an_add_that_is_cancelled_leaves_nothing() -> None:
    """An agent that stops does not leave a half-wired Pod."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        waiting = asyncio.Event()

        async def never(_: PodInterface) -> None:
            waiting.set()
            await asyncio.Event().wait()

        agent.wiring._wired = never
        task = asyncio.create_task(agent.add("c1"))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert node.is_clean()
        assert not agent.pool.leases

    run(scenario())


def test_del_is_repeatable_and_needs_neither_namespace_nor_link() -> None:
    """The runtime may have removed the sandbox, and may not know that a DEL succeeded."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        await agent.add("c1")
        node.remove_namespace("/run/netns/c1")
        await agent.delete("c1")
        await agent.delete("c1")
        await agent.delete("never-added")
        assert node.is_clean()
        assert not agent.pool.leases

    run(scenario())


@pytest.mark.parametrize("effect", ["unwired", "delete_port", "unshield_port", "delete_link"])
def test_a_del_that_fails_keeps_the_address_until_it_succeeds(effect: str) -> None:
    """An address is free only once nothing uses it."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        await agent.add("c1")
        node.refusing = {effect}
        with pytest.raises((CniError, KernelRefused)):
            await agent.delete("c1")
        assert len(agent.pool.leases) == 1
        node.refusing.clear()
        await agent.delete("c1")
        assert node.is_clean()
        assert not agent.pool.leases

    run(scenario())


def test_a_full_disk_refuses_new_pods_and_lets_old_ones_go() -> None:
    """Evicting Pods is how a Node gets room again; STATUS says what is wrong until it is right."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        await agent.add("c1")
        node.refusing = {"save"}
        with pytest.raises(CniError, match="No space left on device") as caught:
            await agent.add("c2")
        assert caught.value.code is ErrorCode.IO_FAILURE
        await agent.delete("c1")
        assert node.is_clean()
        with pytest.raises(CniError, match="No space left on device") as caught:
            await agent.wiring.status()
        assert caught.value.code is ErrorCode.NOT_AVAILABLE
        node.refusing.clear()
        await agent.wiring.status()
        assert not (await start_agent(node)).pool.leases

    run(scenario())


def test_adds_of_different_containers_run_beside_each_other() -> None:
    """Thirty Pods that start at once do not wait for each other's flows."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        everyone = asyncio.Barrier(30)

        async def together(_: PodInterface) -> None:
            await everyone.wait()

        agent.wiring._wired = together
        async with asyncio.timeout(5):
            results = await asyncio.gather(*(agent.add(f"c{number}") for number in range(30)))
        assert len({result.ips[0].address for result in results}) == 30
        assert len({port.ofport for port in node.bridge_ports.values()}) == 30

    run(scenario())


def test_operations_of_one_container_wait_for_each_other() -> None:
    """A DEL that arrives during an ADD removes what the ADD made."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        adding = asyncio.create_task(agent.add("c1"))
        await asyncio.sleep(0)
        await agent.delete("c1")
        await adding
        assert node.is_clean()

    run(scenario())


def test_check_accepts_what_add_answered() -> None:
    """Also when a later plugin of the chain added an interface and an address."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        result = await agent.add("c1")
        key = AttachmentKey("c1", "eth0")
        await agent.wiring.check(key=key, netns="/run/netns/c1", expected=result)
        chained = Result(
            interfaces=(*result.interfaces, Interface(name="net1", sandbox="/run/netns/c1")),
            ips=(*result.ips, IpConfig(address="192.0.2.1/24", interface=2)),
        )
        await agent.wiring.check(key=key, netns="/run/netns/c1", expected=chained)

    run(scenario())


def test_check_names_everything_that_differs() -> None:
    """One message for all of it: address, MAC, state, route and port."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        result = await agent.add("c1")
        node.change_inner("/run/netns/c1", "eth0", mac="02:00:00:00:00:01", up=False, addresses=(), gateways=())
        node.bridge_ports.clear()
        with pytest.raises(CniError) as caught:
            await agent.wiring.check(key=AttachmentKey("c1", "eth0"), netns="/run/netns/c1", expected=result)
        assert caught.value.code is ErrorCode.STATE_DIFFERS
        for part in (
            "eth0 has MAC 02:00:00:00:00:01, not 0a:58:0a:0a:01:02",
            "eth0 is down",
            "eth0 lacks address 10.10.1.2/24",
            "default route by 10.10.1.1 is missing",
            "bridge br-int has no port web-1-",
        ):
            assert part in caught.value.message

    run(scenario())


def test_check_says_where_the_runtime_remembers_something_else() -> None:
    """The interface, its namespace, MAC and address as prevResult has them."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        await agent.add("c1")
        remembered = Result(
            interfaces=(Interface(name="eth0", mac="02:00:00:00:00:09", sandbox="/run/netns/x"),),
            ips=(IpConfig(address="10.10.1.9/24", interface=0),),
        )
        with pytest.raises(CniError) as caught:
            await agent.wiring.check(key=AttachmentKey("c1", "eth0"), netns="/run/netns/y", expected=remembered)
        for part in (
            "CNI_NETNS is /run/netns/y",
            "prevResult says /run/netns/x",
            "prevResult says 02:00:00:00:00:09",
            "was given 10.10.1.2/24",
        ):
            assert part in caught.value.message

    run(scenario())


def test_check_of_a_container_that_was_never_added_says_so() -> None:
    """Code 3, container unknown."""

    async def scenario() -> None:
        agent = await start_agent(FakeNode())
        with pytest.raises(CniError) as caught:
            await agent.wiring.check(key=AttachmentKey("c9", "eth0"), netns="/run/netns/c9", expected=Result())
        assert caught.value.code is ErrorCode.UNKNOWN_CONTAINER

    run(scenario())


def test_gc_removes_what_the_runtime_does_not_know() -> None:
    """And nothing else."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        for number in range(4):
            await agent.add(f"c{number}")
        valid = frozenset({AttachmentKey("c1", "eth0"), AttachmentKey("c3", "eth0")})
        removed = await agent.wiring.collect_garbage(valid)
        assert removed == (AttachmentKey("c0", "eth0"), AttachmentKey("c2", "eth0"))
        assert set(agent.pool.leases) == valid
        assert len(node.bridge_ports) == len(node.pairs) == len(node.flows) == 2

    run(scenario())


def test_gc_leaves_a_container_alone_whose_add_is_under_way() -> None:
    """The runtime's list is older than that ADD."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        waiting, release = asyncio.Event(), asyncio.Event()

        async def slowly(_: PodInterface) -> None:
            waiting.set()
            await release.wait()

        agent.wiring._wired = slowly
        adding = asyncio.create_task(agent.add("c1"))
        await waiting.wait()
        assert await agent.wiring.collect_garbage(frozenset()) == ()
        release.set()
        await adding
        assert len(agent.wiring.pods) == 1

    run(scenario())


def test_gc_goes_on_after_a_failure_and_names_it() -> None:
    """One stuck attachment does not keep the others."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        for number in range(3):
            await agent.add(f"c{number}")
        node.stuck_links = {next(iter(node.pairs))}
        with pytest.raises(CniError, match=r"1 attachments could not be removed: c0/eth0.*busy") as caught:
            await agent.wiring.collect_garbage(frozenset())
        assert caught.value.code is ErrorCode.CLEANUP_INCOMPLETE
        assert set(agent.pool.leases) == {AttachmentKey("c0", "eth0")}

    run(scenario())


def test_status_tells_why_no_pod_can_be_added() -> None:
    """Not restored, not ready, no podCIDR; then all is well."""

    async def scenario() -> None:
        agent = Agent(FakeNode(), ())
        with pytest.raises(CniError, match="not read the switch's ports"):
            await agent.wiring.status()
        await agent.wiring.restore()
        agent.reason = "the switch is not connected"
        with pytest.raises(CniError, match="the switch is not connected") as caught:
            await agent.wiring.status()
        assert caught.value.code is ErrorCode.NOT_AVAILABLE
        agent.reason = None
        with pytest.raises(CniError, match="no podCIDR yet"):
            await agent.wiring.status()
        agent.pool.set_cidrs((CIDR4,))
        await agent.wiring.status()

    run(scenario())


def test_an_add_before_the_node_has_a_podcidr_is_told_to_come_back() -> None:
    """Code 11; with the CIDR there it works."""

    async def scenario() -> None:
        agent = await start_agent(FakeNode(), ())
        with pytest.raises(CniError, match="no podCIDR yet") as caught:
            await agent.add("c1")
        assert caught.value.code is ErrorCode.TRY_AGAIN_LATER
        agent.pool.set_cidrs((CIDR4,))
        await agent.add("c1")

    run(scenario())


def test_operations_before_the_ports_were_read_are_told_to_come_back() -> None:
    """Otherwise an address that a Pod holds could be given again."""

    async def scenario() -> None:
        agent = Agent(FakeNode())
        for work in (agent.add("c1"), agent.delete("c1"), agent.wiring.collect_garbage(frozenset())):
            with pytest.raises(CniError) as caught:
                await work
            assert caught.value.code is ErrorCode.TRY_AGAIN_LATER

    run(scenario())


def test_a_restart_finds_every_pod_and_removes_those_whose_node_end_is_gone() -> None:
    """After a reboot the database still has the ports of Pods that are no more."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node, (CIDR4, CIDR6))
        await agent.add("c1", pod="web-1")
        await agent.add("c2", pod="web-2")
        before = {pod.container_id: pod for pod in agent.wiring.pods}
        node.remove_namespace("/run/netns/c1")
        later = Agent(node, (CIDR4, CIDR6))
        restored = await later.wiring.restore()
        assert restored.pods == (before["c2"],)
        assert restored.removed == ("Pod default/web-1: its interface is gone",)
        assert restored.problems == ()
        assert set(later.pool.leases) == {AttachmentKey("c2", "eth0")}
        assert len(node.bridge_ports) == 1

    run(scenario())


def test_a_malformed_address_state_is_kept_for_inspection_and_rebuilt_from_the_ports() -> None:
    """No Pod's address is given again."""

    async def scenario() -> None:
        node = FakeNode()
        await (await start_agent(node)).add("c1")
        assert node.disk is not None
        node.disk = node.disk[: len(node.disk) // 2]
        later = Agent(node)
        restored = await later.wiring.restore()
        assert "moved to /state.malformed-1" in restored.problems[0]
        assert set(later.pool.leases) == {AttachmentKey("c1", "eth0")}
        assert (await later.add("c2")).ips[0].address == "10.10.1.3/24"

    run(scenario())


def test_a_port_whose_record_cannot_be_read_stays_and_is_named_and_a_del_removes_it() -> None:
    """Its address stays reserved as long as it is there."""

    async def scenario() -> None:
        node = FakeNode()
        await (await start_agent(node)).add("c1")
        (port,) = node.bridge_ports.values()
        assert isinstance(port.external_ids, dict)
        port.external_ids["antrea-proxy-ip-addresses"] = "garbage"
        later = Agent(node)
        restored = await later.wiring.restore()
        assert restored.pods == ()
        assert "antrea-proxy-ip-addresses is 'garbage'" in restored.problems[0]
        assert (await later.add("c2")).ips[0].address == "10.10.1.3/24"
        await later.delete("c1")
        assert set(node.bridge_ports) == {later.wiring.pods[0].host_interface}

    run(scenario())


def test_ports_of_others_are_left_alone() -> None:
    """Tunnel and gateway have no Pod's record."""

    async def scenario() -> None:
        node = FakeNode()
        await node.ensure_port("br-int", "antrea-gw0", ofport_request=2)
        restored = await (await start_agent(node)).wiring.collect_garbage(frozenset())
        assert restored == ()
        assert set(node.bridge_ports) == {"antrea-gw0"}

    run(scenario())


@pytest.mark.parametrize(
    ("before", "after"), [(PodPorts.AF_PACKET, PodPorts.AF_XDP), (PodPorts.AF_XDP, PodPorts.AF_PACKET)]
)
def test_ports_that_are_there_keep_their_kind_when_another_is_chosen_for_new_ones(
    before: PodPorts, after: PodPorts
) -> None:
    """Type and options: Open vSwitch 3.1 aborts when the type of an AF_XDP port changes."""

    async def scenario() -> None:
        node = FakeNode()
        await (await start_agent(node, new_port=lambda: port_kind(before, "netdev"))).add("c1", pod="old")
        later = await start_agent(node, new_port=lambda: port_kind(after, "netdev"))
        await later.add("c2", pod="new")
        kinds = {
            pod.name: PortKind(type=port.type, options=port.options)
            for pod in later.wiring.pods
            for port in (node.bridge_ports[pod.host_interface],)
        }
        assert kinds == {"old": port_kind(before, "netdev"), "new": port_kind(after, "netdev")}

    run(scenario())


@pytest.mark.parametrize("chosen", PodPorts)
def test_the_kernel_datapath_has_one_kind_of_port_whatever_is_chosen(chosen: PodPorts) -> None:
    """It reads an interface itself, through no socket."""
    assert port_kind(chosen, "system") == PortKind(type="", options={})


@pytest.mark.parametrize("steps", range(6))
def test_a_crash_at_any_step_of_an_add_leaves_nothing_that_a_restart_does_not_find(steps: int) -> None:
    """After the restart the runtime's DEL, or its repeated ADD, works as if there had been no crash."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        node.steps_until_crash = steps
        with pytest.raises(CrashError):
            await agent.add("c1")
        node.revive()
        later = await start_agent(node)
        assert len(later.pool.leases) == len(node.bridge_ports) == len(node.pairs) == len(node.shielded)
        await later.add("c1")
        assert len(later.pool.leases) == len(node.bridge_ports) == len(node.pairs) == 1
        await later.delete("c1")
        assert node.is_clean()

    run(scenario())


def test_a_range_that_is_used_up_is_named() -> None:
    """A /29 has five addresses for Pods."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node, (IPv4Network("10.10.1.0/29"),))
        for number in range(5):
            await agent.add(f"c{number}")
        with pytest.raises(CniError, match=r"10\.10\.1\.0/29: all 5 are given") as caught:
            await agent.add("c5")
        assert caught.value.code is ErrorCode.ADDRESSES_EXHAUSTED
        await agent.delete("c2")
        assert (await agent.add("c5")).ips[0].address == "10.10.1.4/29"

    run(scenario())


def test_two_interfaces_of_one_container_are_two_attachments() -> None:
    """As the specification's key says: container and interface."""

    async def scenario() -> None:
        node = FakeNode()
        agent = await start_agent(node)
        await agent.add("c1")
        await agent.add("c1", interface="net1")
        assert len(node.pairs) == 2
        await agent.delete("c1", "net1")
        assert [pod.interface for pod in agent.wiring.pods] == ["eth0"]

    run(scenario())


def test_dns_of_the_network_configuration_is_handed_on() -> None:
    """The result's `dns` is what the configuration says."""

    async def scenario() -> None:
        node = FakeNode(namespaces={"/run/netns/c1"})
        agent = await start_agent(node)
        dns = Dns(nameservers=("10.96.0.10",))
        pod = NamespacedName("default", "web-1")
        result = await agent.wiring.add(key=AttachmentKey("c1", "eth0"), netns="/run/netns/c1", pod=pod, dns=dns)
        assert result.dns == dns

    run(scenario())
