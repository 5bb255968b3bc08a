"""The sans-IO connection on a blocking socket: the least that a test needs to talk to a switch."""

from __future__ import annotations

import select
import socket
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from antrea_proxy.openflow.batch_encoding import Messages
from antrea_proxy.openflow.connection import Connection
from antrea_proxy.openflow.events import (
    BundleCommitted,
    BundleRefused,
    BundleUnknown,
    Closed,
    Connected,
    Event,
    MultipartReply,
    ReplyReceived,
    SwitchError,
)
from antrea_proxy.openflow.messages import BarrierRequest, Message

Answer: TypeAlias = ReplyReceived | MultipartReply | SwitchError
Outcome: TypeAlias = BundleCommitted | BundleRefused | BundleUnknown

PATIENCE = 20.0
"""Seconds for an answer."""


class OpenFlowClient:
    """A connection to the management socket of a bridge."""

    def __init__(self, path: Path) -> None:
        self.connection = Connection()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(str(path))
        self.events: list[Event] = []
        connected = self.wait_for(Connected)
        assert isinstance(connected, Connected)
        self.features = connected.features

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def wait_for(self, *kinds: type[Event]) -> Event:
        """Exchange bytes until an event of one of these kinds came; the others are kept in `events`."""
        while True:
            for place, event in enumerate(self.events):
                if isinstance(event, kinds):
                    return self.events.pop(place)
                assert not isinstance(event, Closed), event
            self._exchange()

    def _answer(self) -> Answer:
        event = self.wait_for(ReplyReceived, MultipartReply, SwitchError)
        assert isinstance(event, ReplyReceived | MultipartReply | SwitchError)
        return event

    def _exchange(self) -> None:
        """Write what is to be written, reading meanwhile so that neither side waits for the other; then read once."""
        outgoing = memoryview(self.connection.data_to_send())
        while outgoing:
            readable, writable, _ = select.select([self._socket], [self._socket], [], PATIENCE)
            assert readable or writable, "the switch neither reads nor writes"
            if readable:
                self.events += self.connection.receive_data(self._socket.recv(1 << 20))
            if writable:
                outgoing = outgoing[self._socket.send(outgoing[: 1 << 16]) :]
                outgoing = outgoing or memoryview(self.connection.data_to_send())
        if not self.events:
            self.events += self.connection.receive_data(self._socket.recv(1 << 20))

    def ask(self, request: Message) -> Answer:
        """Send a request and wait for its answer."""
        xid = self.connection.send(request)
        answer = self._answer()
        assert answer.xid == xid
        return answer

    def do(self, message: Message) -> list[SwitchError]:
        """Send a message that has no answer, and a barrier; return the errors that came before the barrier's answer."""
        self.connection.send(message)
        barrier = self.connection.send(BarrierRequest())
        errors: list[SwitchError] = []
        while True:
            answer = self._answer()
            if answer.xid == barrier:
                return errors
            assert isinstance(answer, SwitchError)
            errors.append(answer)

    def commit(self, messages: Messages) -> Outcome:
        """Send messages as one bundle and wait for its outcome."""
        bundle_id = self.connection.commit(messages)
        outcome = self.wait_for(BundleCommitted, BundleRefused, BundleUnknown)
        assert isinstance(outcome, BundleCommitted | BundleRefused | BundleUnknown)
        assert outcome.bundle_id == bundle_id
        return outcome
