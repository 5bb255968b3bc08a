"""A switch in memory: it takes the bytes of a connection and answers as Open vSwitch does, atomically."""

from __future__ import annotations

import struct
from collections.abc import Callable

import openflow_samples as samples
from antrea_proxy.openflow import messages
from antrea_proxy.openflow.constants import BundleControlType, MessageType, MultipartType
from antrea_proxy.openflow.decoding import decode
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.openflow.framing import FrameBuffer
from antrea_proxy.openflow.messages import Error, Message

FEATURES = samples.FROM_SWITCH[0][8:]
MESSAGE_FAILED = Error(type=17, code=13)
BAD_ID = Error(type=17, code=2)


class FakeSwitch:
    """What it holds is `applied`. `refuses_to_add` and `refuses_to_apply` tell which messages it refuses, and when."""

    def __init__(
        self,
        *,
        refuses_to_add: Callable[[Message], Error | None] = lambda _message: None,
        refuses_to_apply: Callable[[Message], Error | None] = lambda _message: None,
    ) -> None:
        self.applied: list[Message] = []
        self._refuses_to_add = refuses_to_add
        self._refuses_to_apply = refuses_to_apply
        self._bundles: dict[int, list[tuple[Message, int]]] = {}
        self._incoming = FrameBuffer()
        self._outgoing: list[bytes] = [encode(messages.Hello(versions=frozenset({1, 4, 6})), xid=1)]

    def receive(self, data: bytes) -> None:
        """Take bytes from the controller."""
        for frame in self._incoming.feed(data):
            if frame[1] == MessageType.MULTIPART_REQUEST:
                self._list(int.from_bytes(frame[4:8], "big"))
            else:
                self._handle(*decode(frame))

    def send(self) -> bytes:
        """Return the bytes for the controller."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def _answer(self, message: Message, xid: int) -> None:
        self._outgoing.append(encode(message, xid=xid))

    def _list(self, xid: int) -> None:
        """Answer any multipart request with the sample flows, each in a part of its own."""
        entries = [samples.flow_entry(flow) for flow in samples.FLOWS]
        for place, entry in enumerate(entries, start=1):
            more = place < len(entries)
            self._outgoing.append(samples.multipart(MultipartType.FLOW_DESC, entry, more=more, xid=xid))

    def _handle(self, message: Message, xid: int) -> None:
        match message:
            case messages.FeaturesRequest():
                self._outgoing.append(samples.frame(MessageType.FEATURES_REPLY, FEATURES, xid))
            case messages.EchoRequest(data=data):
                self._answer(messages.EchoReply(data=data), xid)
            case messages.BarrierRequest():
                self._answer(messages.BarrierReply(), xid)
            case messages.BundleControl():
                self._control(message, xid)
            case messages.BundleAdd():
                refused = self._refuses_to_add(message.message)
                if refused is None:
                    self._bundles[message.bundle_id].append((message.message, xid))
                else:
                    self._answer(refused, xid)
            case messages.FlowMod() | messages.GroupMod():
                refused = self._refuses_to_add(message) or self._refuses_to_apply(message)
                if refused is None:
                    self.applied.append(message)
                else:
                    self._answer(refused, xid)

    def _control(self, control: messages.BundleControl, xid: int) -> None:
        if control.type is BundleControlType.OPEN_REQUEST:
            self._bundles[control.bundle_id] = []
        elif control.bundle_id not in self._bundles:
            self._answer(BAD_ID, xid)
            return
        elif control.type is BundleControlType.DISCARD_REQUEST:
            del self._bundles[control.bundle_id]
        elif control.type is BundleControlType.COMMIT_REQUEST and not self._commit(control.bundle_id):
            self._answer(MESSAGE_FAILED, xid)
            return
        done = BundleControlType(control.type + 1)
        self._answer(messages.BundleControl(bundle_id=control.bundle_id, type=done, flags=control.flags), xid)

    def _commit(self, bundle_id: int) -> bool:
        wanted = self._bundles.pop(bundle_id)
        for message, xid in wanted:
            refused = self._refuses_to_apply(message)
            if refused is not None:
                self._answer(refused, xid)
                return False
        self.applied += [message for message, _xid in wanted]
        return True


def hello(*versions: int) -> bytes:
    """A Hello without a bitmap, as switches of old send it, or with these versions."""
    if not versions:
        return struct.pack("!BBHI", 1, 0, 8, 1)
    return encode(messages.Hello(versions=frozenset(versions)), xid=1)
