"""A connection to a switch as a state machine, without a socket.

`data_to_send` gives what is to be written, `receive_data` takes what was read and returns what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, ClassVar, Final

from antrea_proxy.openflow import messages
from antrea_proxy.openflow.batch_encoding import ATOMIC_AND_ORDERED, Messages, alone, bundle, message_count
from antrea_proxy.openflow.constants import VERSION, BundleControlType, BundleFlags
from antrea_proxy.openflow.decoding import decode
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.openflow.errors import DecodeError, StateError
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
from antrea_proxy.openflow.framing import FrameBuffer
from antrea_proxy.openflow.messages import Message, MultipartReplyMessage

_MAX_XID: Final = 0xFFFFFFFF
_MAX_BUNDLE_ID: Final = 0xFFFFFFFF

_ANSWERED: Final = (
    messages.EchoRequest,
    messages.FeaturesRequest,
    messages.BarrierRequest,
    messages.FlowDescRequest,
    messages.AggregateStatsRequest,
    messages.GroupDescRequest,
    messages.GroupStatsRequest,
    messages.PortDescRequest,
)


class State(Enum):
    """Where the connection is."""

    AWAIT_HELLO = auto()
    AWAIT_FEATURES = auto()
    READY = auto()
    CLOSED = auto()


class BundlePhase(Enum):
    """Where a bundle is: which of its requests the switch is to answer, or how it ended."""

    ALONE = auto()
    """A message by itself is atomic: it goes without a bundle, with a barrier, and takes one answer in place of two."""
    CLOSING = auto()
    COMMITTING = auto()
    DISCARDING = auto()
    COMMITTED = auto()
    REFUSED = auto()


_NEXT_PHASE: Final = {
    (BundlePhase.ALONE, False): BundlePhase.COMMITTED,
    (BundlePhase.ALONE, True): BundlePhase.REFUSED,
    (BundlePhase.CLOSING, False): BundlePhase.COMMITTING,
    (BundlePhase.CLOSING, True): BundlePhase.DISCARDING,
    (BundlePhase.COMMITTING, False): BundlePhase.COMMITTED,
    (BundlePhase.COMMITTING, True): BundlePhase.REFUSED,
    (BundlePhase.DISCARDING, True): BundlePhase.REFUSED,
}
"""From a phase, and whether anything of the bundle was refused, to the next."""

_REQUEST_OF_PHASE: Final = {
    BundlePhase.COMMITTING: BundleControlType.COMMIT_REQUEST,
    BundlePhase.DISCARDING: BundleControlType.DISCARD_REQUEST,
}


@dataclass(slots=True, kw_only=True)
class _Bundle:
    """A bundle under way. Its transaction ids, in order: opening, messages, closing, then commit or discard.

    A message alone has its barrier in the place of the closing.
    """

    bundle_id: int
    first_xid: int
    count: int
    flags: BundleFlags
    phase: BundlePhase = BundlePhase.CLOSING
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def closing_xid(self) -> int:
        return self.first_xid + 1 + self.count

    @property
    def ending_xid(self) -> int:
        return self.closing_xid + 1

    @property
    def awaited_xid(self) -> int:
        return self.closing_xid if self.phase in {BundlePhase.ALONE, BundlePhase.CLOSING} else self.ending_xid

    def index(self, xid: int) -> int | None:
        """Return the number of the message with that transaction id, or None for the bundle's own requests."""
        index = xid - self.first_xid - 1
        return index if 0 <= index < self.count else None


class Connection:
    """One connection, from the first byte to the last; a new connection needs a new object."""

    def __init__(self) -> None:
        self._state = State.AWAIT_HELLO
        self._incoming = FrameBuffer()
        self._outgoing: list[bytes] = [encode(messages.Hello(versions=frozenset({VERSION})))]
        self._next_xid = 1
        self._next_bundle = 1
        self._parts_of_pending: dict[int, list[MultipartReplyMessage]] = {}
        self._bundles: dict[int, _Bundle] = {}

    @property
    def state(self) -> State:
        """Where the connection is."""
        return self._state

    def data_to_send(self) -> bytes:
        """Return the bytes to write to the switch, once; empty if there are none."""
        data = self._outgoing[0] if len(self._outgoing) == 1 else b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def send(self, message: Message) -> int:
        """Queue `message` and return its transaction id.

        A request is answered by a ReplyReceived, MultipartReply or SwitchError with that id, or is among the unanswered
        of Closed. Raises StateError before Connected and after Closed, InvalidValueError as `encode` does.
        """
        self._require_ready()
        return self._queue(message)

    def commit(self, wanted: Messages, *, flags: BundleFlags = ATOMIC_AND_ORDERED) -> int:
        """Queue encoded messages as one bundle and return its id.

        A message alone goes without one, and so may take effect before a bundle that is under way.

        Exactly one of BundleCommitted, BundleRefused and BundleUnknown follows. Raises StateError before Connected and
        after Closed, InvalidValueError as `bundle` does.
        """
        self._require_ready()
        count = message_count(wanted)
        started = _Bundle(bundle_id=self._next_bundle, first_xid=self._take_xids(count + 3), count=count, flags=flags)
        if count == 1:
            (message,) = (part if isinstance(part, bytes) else part.tobytes() for part in wanted if len(part))
            started.phase = BundlePhase.ALONE
            data = alone(message, xid=started.first_xid + 1)
        else:
            data = bundle(wanted, bundle_id=started.bundle_id, first_xid=started.first_xid, flags=flags)
        self._next_bundle = self._next_bundle % _MAX_BUNDLE_ID + 1
        self._bundles[started.bundle_id] = started
        self._outgoing.append(data)
        return started.bundle_id

    def receive_data(self, data: bytes) -> list[Event]:
        """Take bytes that were read (none at the end of the stream) and return what they mean, in order.

        Bytes that are no OpenFlow 1.5 end the connection, with the reason in Closed; write data_to_send() all the same.
        """
        if self._state is State.CLOSED:
            return []
        if not data:
            return self._close("the switch ended the connection")
        events: list[Event] = []
        try:
            for frame in self._incoming.feed(data):
                message, xid = decode(frame)
                events.extend(self._handle(message, xid))
        except DecodeError as error:
            events.extend(self._close(f"the switch sent no valid OpenFlow 1.5: {error}"))
        return events

    def close(self) -> list[Event]:
        """End the connection from this side, or because reading or writing failed; return what remains to be said."""
        return [] if self._state is State.CLOSED else self._close("the connection was closed on this side")

    # --- sending ---

    def _require_ready(self) -> None:
        if self._state is not State.READY:
            raise StateError(f"connection: nothing can be sent in state {self._state.name}; wait for Connected")

    def _take_xids(self, count: int) -> int:
        if self._next_xid + count > _MAX_XID:
            self._next_xid = 1
        first = self._next_xid
        self._next_xid += count
        return first

    def _queue(self, message: Message) -> int:
        xid = self._take_xids(1)
        self._outgoing.append(encode(message, xid=xid))
        if isinstance(message, _ANSWERED):
            self._parts_of_pending[xid] = []
        return xid

    # --- receiving ---

    def _handle(self, message: Message, xid: int) -> Iterator[Event]:
        if self._state is State.CLOSED:
            return
        handler = self._HANDLERS.get((self._state, type(message)))
        if handler is not None:
            yield from handler(self, message, xid)
        elif self._state is State.READY:
            yield Notified(message=message)
        else:
            yield from self._close(f"the switch sent a {type(message).__name__} in state {self._state.name}")

    def _on_hello(self, hello: messages.Hello, _xid: int) -> Iterator[Event]:
        if VERSION not in hello.versions:
            spoken = ", ".join(str(version) for version in sorted(hello.versions))
            yield from self._close(
                f"the switch speaks the OpenFlow wire versions {spoken}, not {VERSION} (OpenFlow 1.5); "
                "add OpenFlow15 to the bridge's protocols"
            )
            return
        self._state = State.AWAIT_FEATURES
        self._queue(messages.FeaturesRequest())

    def _on_features(self, features: messages.FeaturesReply, xid: int) -> Iterator[Event]:
        self._parts_of_pending.pop(xid, None)
        self._state = State.READY
        yield Connected(features=features)

    def _on_early_error(self, error: messages.Error, _xid: int) -> Iterator[Event]:
        said = error.data.decode("ascii", "backslashreplace")
        yield from self._close(f"the switch refused the handshake: {error} {said}".rstrip())

    def _on_echo(self, echo: messages.EchoRequest, xid: int) -> Iterator[Event]:
        self._outgoing.append(encode(messages.EchoReply(data=echo.data), xid=xid))
        yield from ()

    def _on_reply(self, message: Message, xid: int) -> Iterator[Event]:
        if self._parts_of_pending.pop(xid, None) is None:
            yield Notified(message=message)
        else:
            yield ReplyReceived(xid=xid, message=message)

    def _on_barrier(self, barrier: messages.BarrierReply, xid: int) -> Iterator[Event]:
        started = next((one for one in self._bundles.values() if one.awaited_xid == xid), None)
        if started is None:
            yield from self._on_reply(barrier, xid)
        else:
            yield from self._advance(started)

    def _on_multipart(self, part: MultipartReplyMessage, xid: int) -> Iterator[Event]:
        parts = self._parts_of_pending.get(xid)
        if parts is None:
            yield Notified(message=part)
            return
        parts.append(part)
        if not part.more:
            del self._parts_of_pending[xid]
            yield MultipartReply(xid=xid, parts=tuple(parts))

    def _on_bundle_control(self, control: messages.BundleControl, xid: int) -> Iterator[Event]:
        started = self._bundles.get(control.bundle_id)
        if started is None:
            yield Notified(message=control)
        elif xid == started.awaited_xid:
            yield from self._advance(started)

    def _on_error(self, error: messages.Error, xid: int) -> Iterator[Event]:
        started = next((one for one in self._bundles.values() if one.first_xid <= xid <= one.ending_xid), None)
        if started is None:
            self._parts_of_pending.pop(xid, None)
            yield SwitchError(xid=xid, error=error)
            return
        if started.phase is not BundlePhase.DISCARDING:
            started.refusals.append(Refusal(index=started.index(xid), error=error))
        if xid == started.awaited_xid:
            yield from self._advance(started)

    def _advance(self, started: _Bundle) -> Iterator[Event]:
        """Take the bundle one phase further: the request of its phase has been answered."""
        started.phase = _NEXT_PHASE[started.phase, bool(started.refusals)]
        request = _REQUEST_OF_PHASE.get(started.phase)
        if request is not None:
            control = messages.BundleControl(bundle_id=started.bundle_id, type=request, flags=started.flags)
            self._outgoing.append(encode(control, xid=started.ending_xid))
            return
        del self._bundles[started.bundle_id]
        if started.phase is BundlePhase.COMMITTED:
            yield BundleCommitted(bundle_id=started.bundle_id)
        else:
            named = tuple(refusal for refusal in started.refusals if refusal.index is not None)
            yield BundleRefused(bundle_id=started.bundle_id, refusals=named or tuple(started.refusals))

    def _close(self, reason: str) -> list[Event]:
        self._state = State.CLOSED
        unknown = [BundleUnknown(bundle_id=bundle_id) for bundle_id in self._bundles]
        unanswered = tuple(self._parts_of_pending)
        self._bundles.clear()
        self._parts_of_pending.clear()
        return [*unknown, Closed(reason=reason, unanswered=unanswered)]

    _HANDLERS: ClassVar[dict[tuple[State, type], Callable[[Connection, Any, int], Iterator[Event]]]] = {
        (State.AWAIT_HELLO, messages.Hello): _on_hello,
        (State.AWAIT_HELLO, messages.Error): _on_early_error,
        (State.AWAIT_HELLO, messages.EchoRequest): _on_echo,
        (State.AWAIT_FEATURES, messages.FeaturesReply): _on_features,
        (State.AWAIT_FEATURES, messages.Error): _on_early_error,
        (State.AWAIT_FEATURES, messages.EchoRequest): _on_echo,
        (State.READY, messages.EchoRequest): _on_echo,
        (State.READY, messages.EchoReply): _on_reply,
        (State.READY, messages.FeaturesReply): _on_reply,
        (State.READY, messages.BarrierReply): _on_barrier,
        (State.READY, messages.BundleControl): _on_bundle_control,
        (State.READY, messages.Error): _on_error,
        (State.READY, messages.FlowDescReply): _on_multipart,
        (State.READY, messages.AggregateStatsReply): _on_multipart,
        (State.READY, messages.GroupDescReply): _on_multipart,
        (State.READY, messages.GroupStatsReply): _on_multipart,
        (State.READY, messages.PortDescReply): _on_multipart,
    }
