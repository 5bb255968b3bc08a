"""What happened on a connection to a switch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from antrea_proxy.openflow.messages import Error, FeaturesReply, Message, MultipartReplyMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The handshake is done; messages can be sent."""

    features: FeaturesReply


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyReceived:
    """The answer to the request that had the transaction id `xid`."""

    xid: int
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipartReply:
    """The whole answer, in as many parts as the switch made of it."""

    xid: int
    parts: tuple[MultipartReplyMessage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchError:
    """The switch refused the message that had the transaction id `xid`; it gets no other answer."""

    xid: int
    error: Error


@dataclass(frozen=True, slots=True, kw_only=True)
class Notified:
    """A message that answers nothing: a port's change, a packet."""

    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleCommitted:
    """All messages of a bundle are in effect."""

    bundle_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What the switch refused: the bundle's message number `index`, counted from 0, or None for the bundle itself."""

    index: int | None
    error: Error

    def __str__(self) -> str:
        return f"{'the bundle' if self.index is None else f'message {self.index}'}: {self.error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRefused:
    """No message of a bundle is in effect."""

    bundle_id: int
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleUnknown:
    """The connection ended before the switch told whether a bundle is in effect: read the switch back."""

    bundle_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The connection is over; `unanswered` are the transaction ids of requests that get no answer."""

    reason: str
    unanswered: tuple[int, ...] = ()


Event: TypeAlias = (
    Connected
    | ReplyReceived
    | MultipartReply
    | SwitchError
    | Notified
    | BundleCommitted
    | BundleRefused
    | BundleUnknown
    | Closed
)
