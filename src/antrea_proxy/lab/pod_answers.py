"""What the pod-server understands and answers. Pure, and the standard library alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import parse_qs, unquote_plus

MAX_BODY_BYTES: Final = 64 << 20
MAX_HEAD_BYTES: Final = 64 << 10
_END: Final = b"\r\n\r\n"
_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 413: "Content Too Large"}
_PATHS: Final = "/hostname /clientip /echo?msg= /healthz /bytes?n= /sleep?s= /shutdown"
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer: `body`, or `filler` bytes of no meaning, after `delay` seconds."""

    status: int = 200
    body: bytes = b""
    filler: int = 0
    delay: float = 0.0
    then_exit: bool = False

    def head(self, *, last: bool) -> bytes:
        """Give the head; with `last` it tells the client that the connection closes."""
        closing = "Connection: close\r\n" if last else ""
        return (
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(self.body) + self.filler}\r\n{closing}\r\n"
        ).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The head of an HTTP request; `head_bytes` and `body_bytes` are how much of the stream it takes."""

    method: str
    target: str
    head_bytes: int
    body_bytes: int
    last: bool
    expects_continue: bool


class NotARequestError(ValueError):
    """The stream holds no request that can be answered; `status` says what kind of fault it is."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def read_head(received: bytes | bytearray) -> Request | None:
    """Read the head of the first request of a stream; None while it is not complete.

    Raises NotARequestError.
    """
    end = received.find(_END)
    if end < 0:
        if len(received) > MAX_HEAD_BYTES:
            raise NotARequestError(413, f"the head of a request may have {MAX_HEAD_BYTES} bytes")
        return None
    first, _, lines = received[:end].decode("latin-1").partition("\r\n")
    try:
        method, target, version = first.split(" ")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines.split("\r\n"))
        }
        length = int(headers.get("content-length", "0"))
    except ValueError as error:
        raise NotARequestError(400, "this is not HTTP/1.1 (RFC 9112)") from error
    if not 0 <= length <= MAX_BODY_BYTES:
        raise NotARequestError(413, f"a body may have {MAX_BODY_BYTES} bytes")
    option = headers.get("connection", "").lower()
    return Request(
        method=method,
        target=target,
        head_bytes=end + len(_END),
        body_bytes=length,
        last=option == "close" or (version == "HTTP/1.0" and option != "keep-alive"),
        expects_continue=headers.get("expect", "").lower() == "100-continue",
    )


def answer(target: str, body: bytes, *, hostname: str, peer: str) -> Answer:
    """Answer a request for a path; `peer` is the client's `address:port`."""
    path, _, query = target.partition("?")
    values = {key: found[-1] for key, found in parse_qs(query, keep_blank_values=True).items()}
    try:
        found = _known(unquote_plus(path), values, body, hostname=hostname, peer=peer)
    except ValueError as error:
        return Answer(status=400, body=str(error).encode())
    return found or Answer(status=404, body=f"no such path; there are {_PATHS}".encode())


def _known(path: str, values: Mapping[str, str], body: bytes, *, hostname: str, peer: str) -> Answer | None:
    match path:
        case "/hostname" | "/":
            found = Answer(body=hostname.encode())
        case "/clientip":
            found = Answer(body=peer.encode())
        case "/echo":
            found = Answer(body=values["msg"].encode() if "msg" in values else body)
        case "/healthz":
            found = Answer(body=b"ok")
        case "/bytes":
            found = Answer(filler=_not_negative(values.get("n", "0"), int))
        case "/sleep":
            found = Answer(body=b"slept", delay=_not_negative(values.get("s", "1"), float))
        case "/shutdown":
            found = Answer(body=b"bye", then_exit=True)
        case _:
            return None
    return found


def answer_line(line: bytes, *, hostname: str, peer: str) -> bytes:
    """Answer one line of UDP or SCTP with one line."""
    word, _, rest = line.decode(errors="replace").strip().partition(" ")
    match word.lower():
        case "hostname":
            text = hostname
        case "clientip":
            text = peer
        case "echo":
            text = rest
        case _:
            text = f"unknown command {word!r}: hostname, clientip, echo TEXT"
    return text.encode() + b"\n"


def _not_negative(text: str, read: type[_Number]) -> _Number:
    value = read(text)
    if not 0 <= value < float("inf"):
        raise ValueError(f"{text} is below 0 or without end")
    return value
