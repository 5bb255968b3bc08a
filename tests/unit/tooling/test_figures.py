"""What the benchmarks read off a running switch is what it did."""

from __future__ import annotations

import pytest

from benchmarks import megaflows
from benchmarks.megaflows import Recirculations
from benchmarks.sandbox import BenchmarkError
from benchmarks.soak import SWEEP, Samples

# Of Open vSwitch 3.1, connections of one Pod (port 7) to a Service; fields that do not matter are left out.
HASHED = """\
flow-dump from the main thread:
ct_state(+new-rpl+trk),recirc_id(0x4),in_port(7),eth_type(0x0800),ipv4(frag=no), packets:9328, flags:S, actions:4
ct_state(-new+rpl-inv+trk),recirc_id(0x5),in_port(4),eth_type(0x0800), packets:46633, flags:SFP., actions:7
recirc_id(0x3),dp_hash(0xd/0xf),in_port(7),eth_type(0x0800), packets:598, actions:ct(commit,zone=1),recirc(0x4)
recirc_id(0x3),dp_hash(0x4/0xf),in_port(7),eth_type(0x0800), packets:596, actions:ct(commit,zone=1),recirc(0x4)
recirc_id(0),in_port(1),eth_type(0x86dd),ipv6(frag=no), packets:0, bytes:0, used:never, actions:2
recirc_id(0),in_port(4),eth_type(0x0800), packets:46633, flags:SFP., actions:ct(zone=1,nat),recirc(0x5)
ct_state(-new-rpl-inv+trk),recirc_id(0x2),in_port(7),eth_type(0x0800), packets:37754, flags:FPR., actions:4
ct_state(+new-inv+trk),recirc_id(0x2),in_port(7),eth_type(0x0800), packets:9328, actions:hash(l4(0)),recirc(0x3)
recirc_id(0),in_port(7),eth_type(0x0800), packets:47083, flags:SFPR., actions:ct(zone=1,nat),recirc(0x2)
"""
# A megaflow for each connection, each made for one packet, which is not counted.
IN_THE_SLOW_PATH = """\
recirc_id(0),in_port(7),eth_type(0x0800), packets:40, actions:ct(zone=1,nat),recirc(0x2)
ct_state(+new-inv+trk),recirc_id(0x2),in_port(7),eth_type(0x0800), packets:0, actions:ct(commit,zone=1),recirc(0x6)
ct_state(+new-inv+trk),recirc_id(0x2),in_port(7),eth_type(0x0800), packets:0, actions:ct(commit,zone=1),recirc(0x7)
ct_state(+new+trk),recirc_id(0x6),in_port(7),eth_type(0x0800), packets:0, actions:4
ct_state(+new+trk),recirc_id(0x7),in_port(7),eth_type(0x0800), packets:0, actions:4
ct_state(-new-inv+trk),recirc_id(0x2),in_port(7),eth_type(0x0800), packets:38, actions:4
recirc_id(0),in_port(4),eth_type(0x0800), packets:40, actions:ct(zone=1,nat),recirc(0x5)
ct_state(-new+rpl-inv+trk),recirc_id(0x5),in_port(4),eth_type(0x0800), packets:40, actions:7
"""


@pytest.mark.parametrize(
    ("dump", "expected"),
    [
        (HASHED, Recirculations(first=3, following=1, reply=1, ids=4)),
        (IN_THE_SLOW_PATH, Recirculations(first=2, following=1, reply=1, ids=4)),
    ],
)
def test_recirculations_are_counted_on_the_way_that_most_packets_took(dump: str, expected: Recirculations) -> None:
    """The look-up, the hash and the commit for a first packet; the look-up alone for all others."""
    assert megaflows.recirculations(dump) == expected


def test_a_packet_that_seldom_takes_a_longer_way_changes_nothing() -> None:
    """One of thousands is sent round once more; the others' way is what is told."""
    longer = "ct_state(+new-rpl+trk),recirc_id(0x4),in_port(7),eth_type(0x0800), packets:2, actions:recirc(0x9)\n"
    end = "recirc_id(0x9),in_port(7),eth_type(0x0800), packets:2, actions:4\n"
    assert megaflows.recirculations(HASHED + longer + end).first == 3


def test_megaflows_are_counted_without_the_headline() -> None:
    """The tool says a line of its own first."""
    assert megaflows.count(HASHED) == 9


def test_a_dump_without_connections_is_refused() -> None:
    """Nothing can be told of a way that no packet took."""
    with pytest.raises(BenchmarkError, match="0 ports"):
        megaflows.recirculations("")


def test_thirds_of_a_soak_are_of_whole_sweeps() -> None:
    """A line that goes up and down with the tracker's sweeper has not grown; one that rises has."""
    seconds = [float(second) for second in range(170)]
    saw = [second % SWEEP for second in range(170)]
    samples = Samples(seconds=seconds, tracked=saw, megaflows=list(range(170)))
    first, last = samples.thirds("tracked", 0, 170)
    assert first == last
    first, last = samples.thirds("megaflows", 0, 170)
    assert last > first + 100
