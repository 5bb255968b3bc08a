"""What ovs-appctl dpctl/dump-conntrack printed on Nodes of both datapaths, read and judged."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from antrea_proxy.openflow.messages import ConntrackFlush, ConntrackTuple
from antrea_proxy.pipeline.conntrack_dump import Client, flushes, read_dump
from antrea_proxy.pipeline.stale_connections import Course, Destination, endpoint_at, untranslated
from antrea_proxy.proxy.frontends import Protocol

SERVICE_V4 = Destination(Protocol.UDP, ip_address("10.96.1.1"), 80)
SERVICE_V6 = Destination(Protocol.UDP, ip_address("fd00:96::101"), 80)

TO_POD_V4 = Course(SERVICE_V4, endpoint_at(ip_address("10.10.2.2"), 8080))
TO_POD_V6 = Course(SERVICE_V6, endpoint_at(ip_address("fd00:10:2::2"), 8080))

NETDEV = """\
udp,orig=(src=10.10.1.2,dst=10.96.1.1,sport=20000,dport=80),reply=(src=10.10.2.2,dst=10.10.1.2,sport=8080,dport=20000),zone=65520,mark=16
udp,orig=(src=10.10.1.2,dst=10.96.1.1,sport=20001,dport=80),reply=(src=10.10.2.2,dst=10.10.1.2,sport=8080,dport=20001),zone=65520,mark=16
udp,orig=(src=fd00:10:1::2,dst=fd00:96::101,sport=20009,dport=80),reply=(src=fd00:10:2::2,dst=fd00:10:1::2,sport=8080,dport=20009),zone=65520,mark=16
"""


SYSTEM = """\
tcp,orig=(src=172.18.0.1,dst=172.18.0.254,sport=58414,dport=6443),reply=(src=172.18.0.254,dst=172.18.0.1,sport=6443,dport=58414),protoinfo=(state=ESTABLISHED)
udp,orig=(src=172.18.0.3,dst=172.18.0.1,sport=15755,dport=6081),reply=(src=172.18.0.1,dst=172.18.0.3,sport=6081,dport=15755)
udp,orig=(src=10.10.1.2,dst=10.96.1.1,sport=20008,dport=80),reply=(src=10.10.2.2,dst=10.10.1.2,sport=8080,dport=20008),zone=65520,mark=16
"""
"""The kernel's tracker is the Node's own, too."""


def test_the_nodes_own_connections_are_none_of_ours() -> None:
    assert read_dump(SYSTEM) == {TO_POD_V4: (Client("10.10.1.2", "20008"),)}


def test_clients_of_one_course_are_read_together() -> None:
    assert read_dump(NETDEV) == {
        TO_POD_V4: (Client("10.10.1.2", "20000"), Client("10.10.1.2", "20001")),
        TO_POD_V6: (Client("fd00:10:1::2", "20009"),),
    }


UNCONCERNED = {
    "TCP": """
tcp,orig=(src=10.10.1.2,dst=10.96.1.1,sport=1,dport=80),reply=(src=10.10.2.2,dst=10.10.1.2,sport=8080,dport=1),zone=65520,mark=16,protoinfo=(state=ESTABLISHED)
""",
    "ICMP": """
icmp,orig=(src=10.10.1.2,dst=10.10.2.2,id=7,type=8,code=0),reply=(src=10.10.2.2,dst=10.10.1.2,id=7,type=0,code=0),zone=65520,mark=3
""",
    "another zone": """
udp,orig=(src=10.10.1.2,dst=10.96.1.1,sport=1,dport=80),reply=(src=10.10.2.2,dst=10.10.1.2,sport=8080,dport=1),zone=6552,mark=16
""",
    "no zone": """
udp,orig=(src=10.10.1.2,dst=10.96.1.1,sport=1,dport=80),reply=(src=10.10.2.2,dst=10.10.1.2,sport=8080,dport=1),mark=16
""",
    "another's translation": """
udp,orig=(src=10.10.1.2,dst=10.96.1.1,sport=1,dport=80),reply=(src=10.10.2.2,dst=10.10.1.2,sport=8080,dport=1),zone=65520,mark=3
""",
}
PAST = """\
udp,orig=(src=10.10.1.2,dst=10.96.1.1,sport=1,dport=80),reply=(src=10.96.1.1,dst=10.10.1.2,sport=80,dport=1),zone=65520,mark=3
udp,orig=(src=10.10.1.2,dst=10.96.1.1,sport=2,dport=80),reply=(src=10.96.1.1,dst=10.10.1.2,sport=80,dport=2),zone=65520
udp,orig=(src=10.10.1.2,dst=10.96.1.1,sport=3,dport=80),reply=(src=10.96.1.1,dst=10.10.1.2,sport=80,dport=3),zone=65520,mark=2,labels=0x1
"""


@pytest.mark.parametrize("lines", UNCONCERNED.values(), ids=UNCONCERNED)
def test_what_no_service_of_ours_translated_is_not_looked_at(lines: str) -> None:
    assert read_dump(lines) == {}


def test_what_goes_past_a_service_is_read_with_a_mark_and_without() -> None:
    assert read_dump(PAST) == {untranslated(SERVICE_V4): tuple(Client("10.10.1.2", str(port)) for port in (1, 2, 3))}


def test_each_stale_connection_is_named_by_its_own_client() -> None:
    assert list(flushes(read_dump(NETDEV), lambda course: course == TO_POD_V4)) == [
        ConntrackFlush(
            ip_proto=17,
            zone=65520,
            original=ConntrackTuple(
                source=ip_address("10.10.1.2"),
                source_port=port,
                destination=ip_address("10.96.1.1"),
                destination_port=80,
            ),
        )
        for port in (20000, 20001)
    ]
