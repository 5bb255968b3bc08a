"""From when until when certificates hold (RFC 5280 section 4.1.2.5), read from their DER.

Own reading of three levels of DER: OpenSSL's Python binding tells the dates of a peer's certificate alone, and a
library for certificates takes more memory than the agent's whole client.
"""

from __future__ import annotations

import datetime as dt
import re
import ssl
from dataclasses import dataclass
from typing import Final

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_VERSION_TAG: Final = 0xA0
_UTC_TIME_TAG: Final = 0x17
_LONG_LENGTH: Final = 0x80
_CENTURY_TURNS: Final = 50
"""UTCTime's years below it are of the 21st century."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """A certificate's first and last moment."""

    begins: dt.datetime
    ends: dt.datetime


def validities(pem: str) -> list[Validity]:
    """Give the validity of each certificate of a PEM text, in its order; none for one that is no certificate."""
    found = []
    for text in _PEM.findall(pem):
        try:
            found.append(_validity(ssl.PEM_cert_to_DER_cert(text)))
        except (ValueError, IndexError):
            continue
    return found


def _validity(der: bytes) -> Validity:
    _, certificate, _ = _element(der)
    _, rest, _ = _element(certificate)  # tbsCertificate
    if rest[0] == _VERSION_TAG:
        _, _, rest = _element(rest)
    for _ in ("serialNumber", "signature", "issuer"):
        _, _, rest = _element(rest)
    _, times, _ = _element(rest)
    begins_tag, begins, times = _element(times)
    ends_tag, ends, _ = _element(times)
    return Validity(begins=_time(begins_tag, begins), ends=_time(ends_tag, ends))


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Take the first element of DER: its tag, its content, and what follows it."""
    length, start = data[1], 2
    if length & _LONG_LENGTH:
        start += length & ~_LONG_LENGTH
        length = int.from_bytes(data[2:start])
    return data[0], data[start : start + length], data[start + length :]


def _time(tag: int, content: bytes) -> dt.datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME_TAG:
        text = ("20" if int(text[:2]) < _CENTURY_TURNS else "19") + text
    return dt.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=dt.UTC)
