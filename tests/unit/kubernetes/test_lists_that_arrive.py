"""A list that is decoded while it arrives says the same as one that is decoded as a whole, however its bytes come."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.kubernetes.decoding import DecodedList, DecodingError, decode_list
from antrea_proxy.kubernetes.kinds import SERVICES
from antrea_proxy.kubernetes.list_reader import ListReader
from antrea_proxy.kubernetes.objects import Service

COMPACT = (",", ":")
_NAMES = st.text(st.sampled_from('ab"\\{}[],:'), min_size=1, max_size=4)
_TEXTS = st.one_of(_NAMES, st.sampled_from(['},{"metadata":{"name":"x"}}', '"items":[', "}]}"]))


def _service(name: str, text: str = "", port: object = 80) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "resourceVersion": "7", "annotations": {"text": text}},
        "spec": {"ports": [{"port": port}]},
    }


def _list(*items: object) -> dict[str, Any]:
    return {"kind": "ServiceList", "metadata": {"resourceVersion": "9", "continue": "next"}, "items": items}


def _written(document: object) -> bytes:
    return json.dumps(document, separators=COMPACT).encode()


def _read(data: bytes, *, chunk: int, piece: int) -> tuple[DecodedList[Service], int]:
    """Give all that was read, as one list, and how much of it came before the end."""
    reader = ListReader(SERVICES, piece_bytes=piece)
    pieces = [reader.feed(data[start : start + chunk]) for start in range(0, len(data), chunk)]
    end = reader.end()
    early = tuple(item for part in pieces for item in part.items)
    whole = DecodedList(
        items=early + end.items,
        undecodable=tuple(item for part in pieces for item in part.undecodable) + end.undecodable,
        resource_version=end.resource_version,
        continue_token=end.continue_token,
    )
    return whole, len(early)


@given(
    st.lists(st.builds(_service, _NAMES, _TEXTS, st.sampled_from([80, "http"])), max_size=6),
    st.integers(1, 40),
    st.integers(1, 400),
    st.sampled_from([list, reversed]),
)
def test_it_is_the_same_list_however_it_arrives(
    items: list[dict[str, Any]], chunk: int, piece: int, order: Callable[..., Iterable[Any]]
) -> None:
    """Whatever stands in strings, whatever cannot be decoded, and wherever the list's own metadata stand."""
    document = _list(*items)
    data = _written(dict(order(document.items())))
    read, _ = _read(data, chunk=chunk, piece=piece)
    assert read == decode_list(SERVICES, data)


def test_objects_are_given_before_the_list_has_ended() -> None:
    """All but what came last."""
    data = _written(_list(*(_service(f"s{number}") for number in range(100))))
    read, early = _read(data, chunk=50, piece=500)
    assert len(read.items) == 100
    assert early > 90


@pytest.mark.parametrize("of_another_kind", [{"items": [_service("a")] * 9}, [{"metadata": {"items": [5]}}] * 9])
def test_arrays_that_are_not_the_lists_own_are_left_whole(of_another_kind: object) -> None:
    """Which array holds the objects is told by the JSON around it, not by the first that looks like it."""
    data = _written({"metadata": {"odd": of_another_kind}, "items": [_service("b")]})
    read, early = _read(data, chunk=10, piece=20)
    assert read == decode_list(SERVICES, data)
    assert [item.metadata.name for item in read.items] == ["b"]
    assert early == 0


def test_a_server_that_writes_otherwise_is_understood() -> None:
    """With spaces, or with an object's kind before its metadata."""
    data = json.dumps(_list(*({"kind": "Service"} | _service(f"s{number}") for number in range(50))), indent=1).encode()
    assert _read(data, chunk=50, piece=100)[0] == decode_list(SERVICES, data)


@pytest.mark.parametrize("length", [10, 200, 1500])
def test_a_list_that_breaks_off_is_refused(length: int) -> None:
    """What was given before its end is no list."""
    data = _written(_list(*(_service(f"s{number}") for number in range(100))))[:length]
    with pytest.raises(DecodingError):
        _read(data, chunk=50, piece=100)
