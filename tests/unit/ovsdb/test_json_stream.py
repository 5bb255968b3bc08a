"""Objects come out of a stream of bytes however it is cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.ovsdb.errors import OvsdbProtocolError
from antrea_proxy.ovsdb.json_stream import JsonStream

MESSAGES = [
    {"id": 1, "result": [], "error": None},
    {"method": "update", "params": [None, {"Port": {"u": {"new": {"name": 'br{ace}"quote{\\back\\\\'}}}}], "id": None},
    {"ü": "}{"},
    {},
]
STREAM = " \n".join(json.dumps(message, ensure_ascii=False) for message in MESSAGES).encode()


def test_messages_are_the_same_for_every_place_where_the_stream_may_be_cut() -> None:
    """Braces and quotes within strings, escapes and bytes of one character may all be cut apart."""
    for cut in range(len(STREAM) + 1):
        stream = JsonStream()
        assert stream.receive(STREAM[:cut]) + stream.receive(STREAM[cut:]) == MESSAGES


def test_messages_are_the_same_byte_by_byte() -> None:
    """The slowest sender possible."""
    stream = JsonStream()
    assert [message for byte in STREAM for message in stream.receive(bytes([byte]))] == MESSAGES


TEXT = st.text(max_size=6) | st.text('"\\{}[]', max_size=8)
VALUES = (
    st.none()
    | st.integers(-(2**53), 2**53)
    | TEXT
    | st.lists(TEXT, max_size=3)
    | st.dictionaries(TEXT, TEXT, max_size=2)
)


@given(st.lists(st.dictionaries(TEXT, VALUES, max_size=3), max_size=4), st.integers(1, 50))
def test_any_objects_pass_in_pieces_of_any_size(messages: list[dict[str, object]], size: int) -> None:
    """Nothing between them, as ovsdb-server sends them."""
    data = "".join(map(json.dumps, messages)).encode()
    stream = JsonStream()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert [message for piece in pieces for message in stream.receive(piece)] == messages


@pytest.mark.parametrize("data", [b"}", b"hello {}", b'{"a": nul}', b"[] {}"])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    """Somebody else's socket, most likely."""
    with pytest.raises(OvsdbProtocolError, match="not JSON"):
        JsonStream().receive(data)
