"""The agent's stages one after the other, by the same public functions: `python -m benchmarks.stages`, a child process.

The agent itself is not slowed by clocks: here the stages do not overlap, and what the agent adds around them (its
status, its log, the work for the Node's own network stack) is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from antrea_proxy.agent.feed import Feed
from antrea_proxy.agent.switch import OpenFlowSwitch
from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.events import Listing
from antrea_proxy.kubernetes.kinds import KINDS
from antrea_proxy.kubernetes.list_reader import ListReader
from antrea_proxy.network.desired import desired_network
from antrea_proxy.network.values import Network, Uplink
from antrea_proxy.openflow.batch_encoding import bundle
from antrea_proxy.pipeline.changes import completion
from antrea_proxy.pipeline.compilation import compile_network
from antrea_proxy.pipeline.group_ids import GroupIds
from antrea_proxy.pipeline.service_flows import compile_services
from antrea_proxy.proxy.load_balancers import LoadBalancerName, desired_load_balancers
from antrea_proxy.settings import parse
from antrea_proxy.sources import ApiClient, cluster_access
from antrea_proxy.sources.client import Request
from benchmarks.workload import NODE_NAME

RECEIVE: Final = "receive (TLS, HTTP)"
DECODE: Final = "decode (JSON)"
COLUMNS: Final = "columns (ClusterState)"
DECIDE: Final = "decide (proxy)"
COMPILE: Final = "compile (pipeline)"
COMPARE: Final = "compare with the switch, bundle up"
ENCODE: Final = "encode (wrap into bundles)"
SWITCH: Final = "send, and the switch's answers"
STAGES: Final = (RECEIVE, DECODE, COLUMNS, DECIDE, COMPILE, COMPARE, ENCODE, SWITCH)


@dataclass(slots=True)
class Clock:
    """Seconds by stage, of the clock and of the processor, and how much of them was the garbage collector's."""

    seconds: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)
    collecting: float = 0.0
    _collection_began: float = 0.0

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block's time to a stage."""
        began, busy = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
        self.processor[name] = self.processor.get(name, 0.0) + time.process_time() - busy

    def watch_collector(self, phase: str, _info: dict[str, int]) -> None:
        """Count the garbage collector's time (a callback of the gc module)."""
        if phase == "start":
            self._collection_began = time.perf_counter()
        else:
            self.collecting += time.perf_counter() - self._collection_began


async def measure(kubeconfig: Path, socket: Path) -> dict[str, Any]:
    """Take the cluster from the API server to an empty switch; return the seconds of each stage."""
    clock = Clock()
    gc.callbacks.append(clock.watch_collector)
    cluster = ClusterState()
    feed = Feed(cluster)
    async with ApiClient(cluster_access(kubeconfig, os.environ)) as client:
        for kind in KINDS:
            reader = ListReader(kind)
            async with client.open(Request(path=kind.path, query={}, silence_s=60.0)) as response:
                while True:
                    with clock.stage(RECEIVE):
                        data = await client.read_some(response)
                    with clock.stage(DECODE):
                        objects = reader.feed(data).items if data else reader.end().items
                    with clock.stage(COLUMNS):
                        feed.apply([Listing(kind=kind, objects=objects)] if objects else [])
                    if not data:
                        break
    with clock.stage(DECIDE):
        table = desired_load_balancers(cluster, cluster.services, node_name=NODE_NAME)
    with clock.stage(COMPILE):
        ids: GroupIds[LoadBalancerName] = GroupIds()
        units = compile_network(_network(cluster)) | compile_services(table, ids)
    with clock.stage(COMPARE):
        steps = completion((), {}, units)
    with clock.stage(ENCODE):
        for number, step in enumerate(steps, start=1):
            bundle(step.messages, bundle_id=number, first_xid=1)
    switch = OpenFlowSwitch(socket)
    await switch.connect()
    with clock.stage(SWITCH):
        for step in steps:
            await switch.commit(step.messages)
    # Committing wraps once more what was wrapped above to know its share.
    clock.seconds[SWITCH] -= clock.seconds[ENCODE]
    clock.processor[SWITCH] -= clock.processor[ENCODE]
    return {
        "seconds": clock.seconds,
        "processorSeconds": clock.processor,
        "collectingSeconds": clock.collecting,
        "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _network(cluster: ClusterState) -> Network:
    settings = parse("defaultMTU: 1450\n")
    uplinks: tuple[Uplink, ...] = ()
    network = desired_network(cluster.nodes.values(), NODE_NAME, settings, uplinks, ())
    assert isinstance(network, Network), network
    return network


def main() -> None:
    """Print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--socket", type=Path, required=True, help="on which the bridge speaks OpenFlow")
    arguments = parser.parse_args()
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(measure(arguments.kubeconfig, arguments.socket))))


if __name__ == "__main__":
    main()
