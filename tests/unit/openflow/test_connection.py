"""The connection says what happened, exactly once, however the bytes are cut."""

from __future__ import annotations

import time

import numpy as np
import pytest

import openflow_samples as samples
from antrea_proxy.openflow import messages
from antrea_proxy.openflow.connection import Connection, State
from antrea_proxy.openflow.constants import MultipartType, TableId
from antrea_proxy.openflow.decoding import decode
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.openflow.errors import StateError
from antrea_proxy.openflow.events import (
    BundleCommitted,
    BundleRefused,
    BundleUnknown,
    Closed,
    Connected,
    Event,
    MultipartReply,
    Notified,
    Refusal,
    ReplyReceived,
    SwitchError,
)
from antrea_proxy.openflow.messages import Error, FlowMod, Message
from openflow_fake import FakeSwitch, hello

FLOWS = [FlowMod(table=TableId(table)) for table in range(3)]
BYTES = [encode(flow) for flow in FLOWS]


def _refuse_table_1(message: Message) -> Error | None:
    return Error(type=2, code=9) if isinstance(message, FlowMod) and message.table == 1 else None


def _exchange(connection: Connection, switch: FakeSwitch, *, piece: int | None = None) -> list[Event]:
    """Carry bytes both ways, those from the switch in pieces of that size, until nobody has more to say."""
    events: list[Event] = []
    while True:
        outgoing = connection.data_to_send()
        switch.receive(outgoing)
        incoming = switch.send()
        if not outgoing and not incoming:
            return events
        size = piece or max(1, len(incoming))
        for start in range(0, len(incoming), size):
            events += connection.receive_data(incoming[start : start + size])


def _connected(switch: FakeSwitch) -> Connection:
    connection = Connection()
    (event,) = _exchange(connection, switch)
    assert isinstance(event, Connected)
    assert event.features.n_tables == 254
    return connection


@pytest.mark.parametrize("piece", [*range(1, 70), 1000])
def test_however_the_bytes_are_cut_the_events_are_the_same(piece: int) -> None:
    """However the bytes are cut the events are the same."""
    switch = FakeSwitch(refuses_to_apply=_refuse_table_1)
    connection = Connection()
    events = _exchange(connection, switch, piece=piece)
    connection.send(messages.FlowDescRequest())
    connection.send(FLOWS[1])
    connection.send(messages.BarrierRequest())
    good = connection.commit([BYTES[0], BYTES[2]])
    bad = connection.commit(BYTES)
    events += _exchange(connection, switch, piece=piece)
    kinds = [type(event) for event in events]
    assert kinds == [Connected, MultipartReply, SwitchError, ReplyReceived, BundleCommitted, BundleRefused]
    assert events[4] == BundleCommitted(bundle_id=good)
    refused = events[5]
    assert isinstance(refused, BundleRefused)
    assert refused.bundle_id == bad
    assert switch.applied == [FLOWS[0], FLOWS[2]]


def test_the_first_bytes_are_a_hello_that_names_openflow_1_5() -> None:
    """The first bytes are a hello that names openflow 1 5."""
    assert decode(Connection().data_to_send()) == (messages.Hello(versions=frozenset({6})), 0)


def test_nothing_can_be_sent_before_the_handshake_is_done() -> None:
    """Nothing can be sent before the handshake is done."""
    connection = Connection()
    with pytest.raises(StateError, match="AWAIT_HELLO; wait for Connected"):
        connection.send(messages.BarrierRequest())
    with pytest.raises(StateError):
        connection.commit([])


@pytest.mark.parametrize("greeting", [hello(), hello(1, 4)])
def test_a_switch_that_does_not_speak_1_5_is_refused_with_the_remedy(greeting: bytes) -> None:
    """A switch that does not speak 1 5 is refused with the remedy."""
    connection = Connection()
    (closed,) = connection.receive_data(greeting)
    assert isinstance(closed, Closed)
    assert "add OpenFlow15 to the bridge's protocols" in closed.reason
    assert connection.state is State.CLOSED


def test_a_handshake_that_the_switch_refuses_ends_with_its_words() -> None:
    """A handshake that the switch refuses ends with its words."""
    connection = Connection()
    (closed,) = connection.receive_data(encode(Error(type=0, code=0, data=b"no version in common")))
    assert closed == Closed(reason="the switch refused the handshake: HELLO_FAILED/INCOMPATIBLE no version in common")


def test_another_message_before_the_handshake_ends_the_connection() -> None:
    """Another message before the handshake ends the connection."""
    (closed,) = Connection().receive_data(encode(messages.BarrierReply()))
    assert closed == Closed(reason="the switch sent a BarrierReply in state AWAIT_HELLO")


def test_an_echo_request_is_answered_with_its_data_and_transaction_id() -> None:
    """An echo request is answered with its data and transaction id."""
    connection = _connected(FakeSwitch())
    assert connection.receive_data(encode(messages.EchoRequest(data=b"hi"), xid=77)) == []
    assert decode(connection.data_to_send()) == (messages.EchoReply(data=b"hi"), 77)


def test_each_answer_carries_the_transaction_id_of_its_request() -> None:
    """Each answer carries the transaction id of its request."""
    switch = FakeSwitch()
    connection = _connected(switch)
    barrier = connection.send(messages.BarrierRequest())
    echo = connection.send(messages.EchoRequest(data=b"x"))
    assert _exchange(connection, switch) == [
        ReplyReceived(xid=barrier, message=messages.BarrierReply()),
        ReplyReceived(xid=echo, message=messages.EchoReply(data=b"x")),
    ]


def test_a_list_in_several_parts_is_one_event() -> None:
    """A list in several parts is one event."""
    switch = FakeSwitch()
    connection = _connected(switch)
    xid = connection.send(messages.FlowDescRequest())
    (event,) = _exchange(connection, switch)
    assert isinstance(event, MultipartReply)
    assert event.xid == xid
    flows = [flow for part in event.parts if isinstance(part, messages.FlowDescReply) for flow in part.flows]
    assert [flow.match for flow in flows] == [flow.match for flow in samples.FLOWS]


def test_an_error_names_the_message_that_was_refused_and_why() -> None:
    """An error names the message that was refused and why."""
    switch = FakeSwitch(refuses_to_apply=_refuse_table_1)
    connection = _connected(switch)
    connection.send(FLOWS[0])
    xid = connection.send(FLOWS[1])
    (event,) = _exchange(connection, switch)
    assert isinstance(event, SwitchError)
    assert event.xid == xid
    assert str(event.error) == "BAD_ACTION/BAD_OUT_GROUP"


def test_a_bundle_is_committed_as_a_whole() -> None:
    """A bundle is committed as a whole."""
    switch = FakeSwitch()
    connection = _connected(switch)
    bundle_id = connection.commit(BYTES)
    assert _exchange(connection, switch) == [BundleCommitted(bundle_id=bundle_id)]
    assert switch.applied == FLOWS


@pytest.mark.parametrize(
    "switch",
    [
        pytest.param(FakeSwitch(refuses_to_add=_refuse_table_1), id="cannot be added"),
        pytest.param(FakeSwitch(refuses_to_apply=_refuse_table_1), id="cannot be applied"),
    ],
)
def test_a_refused_bundle_leaves_nothing_and_names_the_message(switch: FakeSwitch) -> None:
    """A refused bundle leaves nothing and names the message."""
    connection = _connected(switch)
    bundle_id = connection.commit(BYTES)
    (event,) = _exchange(connection, switch)
    assert isinstance(event, BundleRefused)
    assert event.bundle_id == bundle_id
    assert [refusal.index for refusal in event.refusals] == [1]
    assert str(event.refusals[0]) == "message 1: BAD_ACTION/BAD_OUT_GROUP"
    assert switch.applied == []


def test_a_bundle_that_the_switch_has_lost_is_refused_as_a_whole() -> None:
    """A bundle that the switch has lost is refused as a whole."""
    switch = FakeSwitch()
    connection = _connected(switch)
    connection.commit(BYTES)
    switch.receive(connection.data_to_send())
    switch._bundles.clear()
    events = connection.receive_data(switch.send()) + _exchange(connection, switch)
    assert [type(event) for event in events] == [BundleRefused]
    assert str(events[0]).find("index=None") > 0
    assert switch.applied == []


@pytest.mark.parametrize("refused", [False, True])
def test_a_message_alone_is_sent_without_a_bundle_and_takes_one_answer(*, refused: bool) -> None:
    switch = FakeSwitch(refuses_to_apply=_refuse_table_1)
    connection = _connected(switch)
    connection.commit(BYTES[:1] * 2)  # its answers are told apart from the other's
    bundle_id = connection.commit([BYTES[1 if refused else 0]])
    switch.receive(connection.data_to_send())
    (outcome,) = connection.receive_data(switch.send())
    if refused:
        refusal = Refusal(index=0, error=Error(type=2, code=9))
        assert outcome == BundleRefused(bundle_id=bundle_id, refusals=(refusal,))
    else:
        assert outcome == BundleCommitted(bundle_id=bundle_id)
    assert switch.applied == ([] if refused else [FLOWS[0]])


def test_a_row_of_a_matrix_may_be_the_message_alone() -> None:
    switch = FakeSwitch()
    connection = _connected(switch)
    rows = np.frombuffer(BYTES[2], np.uint8)[np.newaxis]
    bundle_id = connection.commit([rows[:0], rows])
    assert _exchange(connection, switch) == [BundleCommitted(bundle_id=bundle_id)]
    assert switch.applied == [FLOWS[2]]


def test_a_message_alone_whose_connection_ends_is_unknown() -> None:
    connection = _connected(FakeSwitch())
    bundle_id = connection.commit([BYTES[0]])
    connection.data_to_send()
    assert connection.receive_data(b"")[0] == BundleUnknown(bundle_id=bundle_id)


def test_several_bundles_under_way_each_have_their_outcome_in_order() -> None:
    """Several bundles under way each have their outcome in order."""
    switch = FakeSwitch(refuses_to_add=_refuse_table_1)
    connection = _connected(switch)
    ids = [connection.commit([data, data]) for data in BYTES]
    outcomes = _exchange(connection, switch)
    assert [type(outcome) for outcome in outcomes].count(BundleRefused) == 1
    assert {getattr(outcome, "bundle_id", None) for outcome in outcomes} == set(ids)
    assert switch.applied == [FLOWS[0], FLOWS[0], FLOWS[2], FLOWS[2]]


@pytest.mark.parametrize("moment", ["sent", "closing answered", "commit sent"])
def test_a_bundle_whose_connection_ends_is_unknown_whenever_that_happens(moment: str) -> None:
    """A bundle whose connection ends is unknown whenever that happens."""
    switch = FakeSwitch()
    connection = _connected(switch)
    bundle_id = connection.commit(BYTES)
    barrier = connection.send(messages.BarrierRequest())
    if moment != "sent":
        switch.receive(connection.data_to_send())
        connection.receive_data(switch.send()[:64])
    if moment == "commit sent":
        connection.data_to_send()
    events = connection.receive_data(b"")
    assert events[0] == BundleUnknown(bundle_id=bundle_id)
    assert events[-1] in {
        Closed(reason="the switch ended the connection", unanswered=(barrier,)),
        Closed(reason="the switch ended the connection"),
    }
    assert len(events) == 2


def test_bytes_that_are_no_openflow_end_the_connection_and_every_bundle() -> None:
    """Bytes that are no openflow end the connection and every bundle."""
    switch = FakeSwitch()
    connection = _connected(switch)
    bundle_id = connection.commit(BYTES)
    unknown, closed = connection.receive_data(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert unknown == BundleUnknown(bundle_id=bundle_id)
    assert isinstance(closed, Closed)
    assert "no valid OpenFlow 1.5" in closed.reason
    assert connection.receive_data(b"more") == []
    with pytest.raises(StateError):
        connection.send(messages.BarrierRequest())


def test_a_message_shorter_than_its_own_header_ends_the_connection() -> None:
    """A message shorter than its own header ends the connection."""
    (closed,) = _connected(FakeSwitch()).receive_data(bytes.fromhex("0600000700000000"))
    assert isinstance(closed, Closed)
    assert "a header alone has 8" in closed.reason


def test_closing_twice_says_it_once() -> None:
    """Closing twice says it once."""
    connection = _connected(FakeSwitch())
    assert connection.close() == [Closed(reason="the connection was closed on this side")]
    assert connection.close() == []


def test_what_nobody_asked_for_is_told_as_it_is() -> None:
    """What nobody asked for is told as it is."""
    connection = _connected(FakeSwitch())
    for data in samples.FROM_SWITCH[3:5]:
        assert connection.receive_data(data) == [Notified(message=decode(data)[0])]
    stray = samples.multipart(MultipartType.PORT_DESC, samples.PORT, xid=999)
    assert connection.receive_data(stray) == [Notified(message=decode(stray)[0])]


def test_a_long_list_in_small_pieces_takes_time_in_proportion() -> None:
    """A dump of 4 MB in pieces of 1,400 bytes is read within seconds; a quadratic buffer would take minutes."""
    connection = _connected(FakeSwitch())
    xid = connection.send(messages.FlowDescRequest())
    entries = samples.flow_entry(samples.FLOWS[3]) * 400
    part = samples.multipart(MultipartType.FLOW_DESC, entries, more=True, xid=xid)
    last = samples.multipart(MultipartType.FLOW_DESC, b"", xid=xid)
    data = part * (4_000_000 // len(part)) + last
    started = time.monotonic()
    events: list[Event] = []
    for start in range(0, len(data), 1400):
        events += connection.receive_data(data[start : start + 1400])
    assert [type(event) for event in events] == [MultipartReply]
    assert time.monotonic() - started < 5
