"""Whatever runtimes ask, whatever fails and whenever the agent ends: no address twice, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from antrea_proxy.cni.errors import CniError
from antrea_proxy.cni.protocol import AttachmentKey
from antrea_proxy.host.errors import KernelRefused
from antrea_proxy.ovsdb.errors import OvsdbError
from cni_fakes import Agent, CrashError, FakeNode

CIDRS = (IPv4Network("10.10.1.0/28"), IPv6Network("fd00:10:1::/64"))
EFFECTS = (
    "save",
    "create_pod_veth",
    "shield_port",
    "ensure_port",
    "wired",
    "unwired",
    "delete_port",
    "unshield_port",
    "delete_link",
    "pod_interface_state",
)
containers = st.sampled_from([f"c{number}" for number in range(6)])
failures = st.sets(st.sampled_from(EFFECTS), max_size=2)


class AnySequence(RuleBasedStateMachine):
    """One Node, and agents that come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.node = FakeNode()
        self.agent = Agent(self.node, CIDRS)
        self.start()

    def run(self, work: Coroutine[Any, Any, object], *, may_fail: bool = False) -> None:
        """Run an operation; it ends well, with an error where effects fail, or the agent ends and starts anew."""
        try:
            asyncio.run(work)
        except (CniError, KernelRefused, OvsdbError):
            assert may_fail
        except CrashError:
            self.start()
        self.node.refusing = set()
        self.node.steps_until_crash = None

    def start(self) -> None:
        """Start an agent, which writes the flows of the Pods that it finds and sweeps the rest."""
        self.node.revive()
        self.node.refusing = set()
        self.agent = Agent(self.node, CIDRS)
        restored = asyncio.run(self.agent.wiring.restore())
        self.node.flows = {pod.host_interface: pod for pod in restored.pods}

    @rule(container=containers, pod=st.sampled_from(["web-1", "web-2"]), failing=failures)
    def add(self, container: str, pod: str, failing: set[str]) -> None:
        """ADD; a container that is attached as another Pod is refused, and a range may be used up."""
        self.node.refusing = failing
        self.run(self.agent.add(container, pod=pod), may_fail=True)

    @rule(container=containers)
    def add_undisturbed(self, container: str) -> None:
        """ADD where nothing fails works, and answers the same when it is repeated."""
        known = [pod for pod in self.agent.wiring.pods if pod.container_id == container]
        name = known[0].name if known else "web-1"
        first = asyncio.run(self.agent.add(container, pod=name))
        assert asyncio.run(self.agent.add(container, pod=name)) == first
        check = self.agent.wiring.check(
            key=AttachmentKey(container, "eth0"), netns=f"/run/netns/{container}", expected=first
        )
        asyncio.run(check)

    @rule(container=containers, failing=failures)
    def delete(self, container: str, failing: set[str]) -> None:
        """DEL."""
        self.node.refusing = failing
        self.run(self.agent.delete(container), may_fail=bool(failing))
        if not failing:
            assert AttachmentKey(container, "eth0") not in self.agent.pool.leases

    @rule(keep=st.sets(containers), failing=failures)
    def collect_garbage(self, keep: set[str], failing: set[str]) -> None:
        """GC."""
        valid = frozenset(AttachmentKey(container, "eth0") for container in keep)
        self.node.refusing = failing
        self.run(self.agent.wiring.collect_garbage(valid), may_fail=bool(failing))
        if not failing:
            assert set(self.agent.pool.leases) <= valid

    @rule(container=containers, steps=st.integers(0, 7), failing=st.sets(st.sampled_from(EFFECTS), max_size=1))
    def crash_in_add(self, container: str, steps: int, failing: set[str]) -> None:
        """The agent ends between two steps of an ADD, or of its undoing."""
        self.node.steps_until_crash, self.node.refusing = steps, failing
        self.run(self.agent.add(container), may_fail=True)

    @rule(container=containers, steps=st.integers(0, 4))
    def crash_in_del(self, container: str, steps: int) -> None:
        """The agent ends between two steps of a DEL."""
        self.node.steps_until_crash = steps
        self.run(self.agent.delete(container))

    @rule(steps=st.integers(0, 8), torn=st.booleans())
    def crash_in_restart(self, steps: int, torn: bool) -> None:  # noqa: FBT001 -- hypothesis passes names
        """The agent ends while it starts, and somebody may have damaged the address state.

        Damage while an operation is half done is left out: a link that no port and no lease names cannot be found, and
        goes with its sandbox.
        """
        half_done = {lease.host_interface for lease in self.agent.pool.leases.values()} != set(self.node.bridge_ports)
        if torn and self.node.disk and not half_done:
            self.node.disk = self.node.disk[: len(self.node.disk) // 2]
        self.agent = Agent(self.node, CIDRS)
        self.node.steps_until_crash = steps
        with suppress(CrashError):
            asyncio.run(self.agent.wiring.restore())
        self.start()

    @rule(container=containers)
    def remove_sandbox(self, container: str) -> None:
        """The runtime removes a namespace before the DEL, with the interfaces in it."""
        self.node.remove_namespace(f"/run/netns/{container}")

    @rule()
    def reboot(self) -> None:
        """Interfaces, namespaces and shields are gone; database and disk stay."""
        for netns in tuple(self.node.namespaces):
            self.node.remove_namespace(netns)
        self.node.shielded.clear()
        self.start()

    @invariant()
    def no_address_is_held_twice(self) -> None:
        """Neither by interfaces nor by leases."""
        held = Counter(address.ip for link in self.node.inner.values() for address in link.addresses)
        leased = Counter(address.ip for lease in self.agent.pool.leases.values() for address in lease.addresses)
        assert max([*held.values(), *leased.values()], default=0) <= 1
        assert set(held) <= set(leased)

    @invariant()
    def everything_that_exists_has_a_lease_by_which_it_is_found(self) -> None:
        """Ports, links, shields and flows."""
        known = {lease.host_interface for lease in self.agent.pool.leases.values()}
        assert set(self.node.bridge_ports) <= known
        assert set(self.node.pairs) <= known
        assert self.node.shielded <= known
        assert set(self.node.flows) <= known

    @invariant()
    def pods_that_are_wired_have_flows_and_a_port_of_their_own(self) -> None:
        """Each with its own number."""
        pods = self.agent.wiring.pods
        assert {pod.host_interface for pod in pods} <= set(self.node.flows)
        assert len({pod.ofport for pod in pods}) == len(pods)

    def teardown(self) -> None:
        """After a GC without any valid attachment nothing is left."""
        self.node.revive()
        self.node.refusing = set()
        asyncio.run(self.agent.wiring.collect_garbage(frozenset()))
        assert self.node.is_clean()
        assert not self.agent.pool.leases
        self.start()
        assert not self.agent.pool.leases


AnySequence.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAnySequence = AnySequence.TestCase
