"""Two readers that are not ours, ovs-ofctl and os-ken, read in our bytes what we meant."""

from __future__ import annotations

import subprocess
import warnings
from dataclasses import replace
from typing import Any

import pytest

import openflow_samples as samples
from antrea_proxy.openflow import actions, messages
from antrea_proxy.openflow.constants import TableId
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.openflow.messages import FlowMod, Message

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from os_ken.ofproto import ofproto_protocol, ofproto_v1_5, ofproto_v1_5_parser

_READ_AS = {
    "Hello": "OFPT_HELLO (OF1.5) (xid=0x2a):\n version bitmap: 0x06",
    "EchoRequest": "OFPT_ECHO_REQUEST (OF1.5) (xid=0x2a): 13 bytes of payload",
    "FeaturesRequest": "OFPT_FEATURES_REQUEST (OF1.5) (xid=0x2a):",
    "SetConfig": "frags=normal miss_send_len=128",
    "PacketOut": "in_port=3 actions=output:4 data_len=60",
    "BundleControl": "bundle_id=0x1 type=OPEN_REQUEST flags=atomic ordered",
    "BundleAdd": "bundle_id=0x1 flags=atomic ordered\nOFPT_FLOW_MOD (OF1.5) (xid=0x2a): ADD table:3",
    "FlowDescRequest": "OFPST_FLOW request (OF1.5) (xid=0x2a): table=3",
    "AggregateStatsRequest": "arp_tpa=10.10.0.1,arp_op=1,arp_sha=0a:58:00:00:00:01",
    "GroupDescRequest": "OFPST_GROUP_DESC request (OF1.5) (xid=0x2a): group_id=ALL",
    "GroupStatsRequest": "OFPST_GROUP request (OF1.5) (xid=0x2a): group_id=4",
    "PortDescRequest": "port=ANY",
    "PortMod": "config: NO_PACKET_IN",
}


def _ofp_print(data: bytes) -> str:
    done = subprocess.run(["ovs-ofctl", "ofp-print", data.hex()], capture_output=True, text=True, check=True)
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("message", samples.REQUESTS, ids=lambda message: type(message).__name__)
def test_ovs_ofctl_reads_every_message_that_is_sent(message: Message) -> None:
    """Ovs ofctl reads every message that is sent."""
    said = _ofp_print(encode(message, xid=0x2A))
    assert "***decode error" not in said
    assert _READ_AS.get(type(message).__name__, "(OF1.5) (xid=0x2a)") in said


def test_ovs_ofctl_reads_a_flow_as_it_was_meant() -> None:
    """Ovs ofctl reads a flow as it was meant."""
    assert _ofp_print(encode(samples.FLOWS[0])).rstrip() == (
        "OFPT_FLOW_MOD (OF1.5) (xid=0x0): ADD table:3 priority=200,ct_state=+new+trk,tcp,reg3=0x7,reg4=0x1/0xff,"
        "nw_dst=10.96.0.1,tp_dst=80 cookie:0xdeadbeef hard:9 actions="
        "set_field:0x7/0xff->reg0,set_field:0x9->reg1,set_field:0x40000000000000000000000->xxreg3,"
        "set_field:aa:bb:cc:dd:ee:ff->eth_dst,set_field:192.0.2.1->tun_dst,"
        "move:NXM_NX_DP_HASH[0..11]->NXM_NX_REG7[0..11],move:NXM_OF_TCP_SRC[1..12]->NXM_NX_REG7[3..14],"
        "dec_ttl,resubmit(,9),resubmit(5,9),"
        "ct(commit,table=20,zone=65520,nat(dst=10.10.1.2:8080),exec(set_field:0x10/0x10->ct_mark)),"
        "ct(table=3,zone=65520,nat),ct(commit,zone=1,nat(src=10.0.0.1-10.0.0.9:1024-65535,random)),ct_clear,"
        "learn(table=12,hard_timeout=10800,priority=200,delete_learned,cookie=0xabcd,eth_type=0x800,nw_proto=6,"
        "NXM_OF_IP_SRC[],NXM_NX_REG4[0..15]=0x5,load:NXM_NX_REG3[]->NXM_NX_REG3[],load:0x1->NXM_NX_REG0[16],output:NXM_NX_REG1[]),"
        "output:NXM_NX_REG1[],output:NXM_NX_REG1[4..19],group:4,NORMAL,IN_PORT,CONTROLLER:128"
    )


def test_ovs_ofctl_reads_an_ipv6_flow_as_it_was_meant() -> None:
    """Ovs ofctl reads an ipv6 flow as it was meant."""
    assert _ofp_print(encode(samples.FLOWS[1])).rstrip() == (
        "OFPT_FLOW_MOD (OF1.5) (xid=0x0): ADD table:4 priority=190,udp6,reg12=0,reg13=0,reg14=0x50000,reg15=0x6,"
        "ipv6_src=fd01::/16,ipv6_dst=fd00::1,tp_dst=53 idle:5 actions="
        "ct(commit,force,table=20,zone=65520,nat(dst=[fd00:10::2]:8080),exec(set_field:0x5/0x7->ct_label)),"
        "move:NXM_NX_IPV6_SRC[]->NXM_NX_XXREG0[]"
    )


def test_ovs_ofctl_reads_groups_as_they_were_meant() -> None:
    """Ovs ofctl reads groups as they were meant."""
    bucket = "actions=ct(commit,table=20,zone=65520,nat(dst=10.10.1.2:8080),exec(set_field:0x10/0x10->ct_mark))"
    assert _ofp_print(encode(samples.GROUPS[0])).rstrip() == (
        "OFPT_GROUP_MOD (OF1.5) (xid=0x0):\n ADD_OR_MOD group_id=4,type=select,selection_method=dp_hash,"
        f"bucket=bucket_id:0,weight:100,{bucket},bucket=bucket_id:1,weight:99,{bucket},"
        f"bucket=bucket_id:2,weight:98,{bucket}"
    )
    assert "selection_method=hash,fields(ip_src,ip_dst=0.0.0.255)" in _ofp_print(encode(samples.GROUPS[2]))


def test_ovs_ofctl_reads_a_conntrack_flush_as_it_was_meant() -> None:
    """Ovs ofctl reads a conntrack flush as it was meant."""
    flush = next(message for message in samples.REQUESTS if isinstance(message, messages.ConntrackFlush))
    said = _ofp_print(encode(flush))
    assert "zone=65520 'ct_nw_src=::,ct_nw_dst=10.96.0.10,ct_tp_src=0,ct_tp_dst=53,ct_nw_proto=17'" in said
    assert "'ct_nw_src=10.10.1.2,ct_nw_dst=::,ct_tp_src=5353,ct_tp_dst=0'" in said


@pytest.mark.parametrize("data", samples.FROM_SWITCH, ids=range(len(samples.FROM_SWITCH)))
def test_ovs_ofctl_reads_the_samples_of_a_switchs_messages(data: bytes) -> None:
    """So the samples, on which the decoder is tested, are what a switch sends."""
    assert "***decode error" not in _ofp_print(data)


def _os_ken(data: bytes) -> Any:  # noqa: ANN401  # os-ken has no types
    datapath = ofproto_protocol.ProtocolDesc(version=ofproto_v1_5.OFP_VERSION)
    return ofproto_v1_5_parser.msg_parser(datapath, data[0], data[1], len(data), int.from_bytes(data[4:8], "big"), data)


_STANDARD_FLOW = FlowMod(
    table=TableId(3),
    priority=200,
    match=samples.TCP_SERVICE,
    actions=tuple(
        action
        for action in samples.ACTIONS
        if isinstance(action, actions.Output | actions.Group | actions.DecrementTtl | actions.SetField)
    ),
)


@pytest.mark.filterwarnings("ignore")
def test_os_ken_reads_a_flow_mod() -> None:
    """Os ken reads a flow mod."""
    read = _os_ken(encode(_STANDARD_FLOW, xid=9))
    assert (read.table_id, read.priority, read.xid, read.command) == (3, 200, 9, 0)
    assert read.match["ipv4_dst"] == "10.96.0.1"
    assert read.match["tcp_dst"] == 80
    assert read.match["ct_state"] == (0x21, 0x21)
    (instruction,) = read.instructions
    kinds = [type(action).__name__ for action in instruction.actions]
    assert kinds == ["OFPActionSetField"] * 5 + ["OFPActionDecNwTtl", "OFPActionGroup"] + ["OFPActionOutput"] * 3
    assert instruction.actions[0].key == "reg0"
    assert instruction.actions[0].value == (7, 0xFF)


@pytest.mark.filterwarnings("ignore")
def test_os_ken_reads_the_nicira_actions_of_a_flow_mod() -> None:
    """But for copy_field, on whose padding os-ken's own parser fails."""
    known = tuple(action for action in samples.ACTIONS if not isinstance(action, actions.CopyField))
    read = _os_ken(encode(replace(samples.FLOWS[0], actions=known)))
    found = {type(action).__name__: action for action in read.instructions[0].actions}
    assert {"NXActionCT", "NXActionLearn", "NXActionResubmitTable", "NXActionCTClear", "NXActionOutputReg"} <= set(
        found
    )
    assert found["NXActionResubmitTable"].table_id == 9
    assert found["NXActionLearn"].hard_timeout == 10800


@pytest.mark.filterwarnings("ignore")
def test_os_ken_reads_a_group_mod() -> None:
    """Os ken reads a group mod."""
    read = _os_ken(encode(samples.GROUPS[1]))
    assert (read.command, read.type, read.group_id, len(read.buckets)) == (0, 0, 5, 2)
    assert [bucket.bucket_id for bucket in read.buckets] == [0, 1]


@pytest.mark.filterwarnings("ignore")
def test_os_ken_reads_the_messages_of_a_bundle() -> None:
    """Os ken reads the messages of a bundle."""
    opening = next(message for message in samples.REQUESTS if isinstance(message, messages.BundleControl))
    read = _os_ken(encode(opening))
    assert (read.bundle_id, read.type, read.flags) == (1, 0, 3)
