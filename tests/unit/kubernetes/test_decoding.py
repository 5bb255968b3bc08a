"""JSON from an API server becomes objects; what is not of its kind's shape becomes a value that says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.kubernetes.decoding import DecodingError, decode_list, decode_watch_event
from antrea_proxy.kubernetes.events import Added, Bookmark, Deleted, ErrorEvent, Modified, Undecodable
from antrea_proxy.kubernetes.kinds import ENDPOINT_SLICES, KINDS, NODES, SERVICES, AnyKind
from antrea_proxy.kubernetes.names import NamespacedName


def _service(name: str, **spec: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
    return {"metadata": {"name": name, "namespace": "web", "resourceVersion": "7"}, "spec": spec}


def _list(*items: object, **metadata: str) -> bytes:
    return json.dumps({"kind": "ServiceList", "metadata": metadata, "items": items}).encode()


def _event(kind: str, item: object) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode()


def test_a_list_keeps_its_order_its_version_and_its_continue_token() -> None:
    """The token is for the next chunk."""
    decoded = decode_list(SERVICES, _list(_service("b"), _service("a"), resourceVersion="9", **{"continue": "next"}))
    assert [item.metadata.name for item in decoded.items] == ["b", "a"]
    assert (decoded.resource_version, decoded.continue_token, decoded.undecodable) == ("9", "next", ())


def test_an_empty_list_may_be_null() -> None:
    """Go writes an empty slice so."""
    assert decode_list(SERVICES, b'{"items": null, "metadata": {}}').items == ()


def test_fields_that_a_proxy_does_not_read_do_no_harm() -> None:
    """Neither those of today nor those of later versions of the API."""
    item = _service("a", ports=[{"port": 80, "appProtocol": "h2c"}], trafficDistribution="PreferClose")
    (decoded,) = decode_list(SERVICES, _list(item | {"apiVersion": "v1", "kind": "Service"})).items
    assert decoded.spec.ports[0].port == 80


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (
            _service("bad", ports=[{"port": 80}, {"port": "x"}]),
            "Service web/bad: spec.ports[1].port: Expected `int`, got `str`",
        ),
        (_service("bad", ports={}), "Service web/bad: spec.ports: Expected `array`, got `object`"),
        ({"metadata": {"namespace": "web"}}, "Service web/: metadata: Object missing required field `name`"),
        ({"metadata": 5}, "Service without a name: metadata: Expected `object`, got `int`"),
        (5, "Service without a name: Expected `object`, got `int`"),
    ],
)
def test_one_bad_object_is_named_with_its_field_and_the_others_are_decoded(item: object, told: str) -> None:
    """The list is not lost for it."""
    decoded = decode_list(SERVICES, _list(_service("a"), item, _service("b"), resourceVersion="3"))
    assert [good.metadata.name for good in decoded.items] == ["a", "b"]
    assert [str(bad) for bad in decoded.undecodable] == [told]
    assert decoded.resource_version == "3"


def test_null_counts_as_absent() -> None:
    """As in the API: an object with nulls in it is no bad object."""
    item = _service("a", ports=None, sessionAffinity=None) | {"status": None}
    decoded = decode_list(SERVICES, _list(item, _service("b")))
    assert decoded.undecodable == ()
    assert decoded.items[0].spec.session_affinity == "None"


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"[]", b'{"items": {}}', b'{"kind": "Status"}', b"[" * 100_000, b"\xff"]
)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_is_no_list_is_refused_as_a_whole(kind: AnyKind, data: bytes) -> None:
    """As from a proxy that answers for the API server."""
    with pytest.raises(DecodingError, match=f"no list of {kind.plural}"):
        decode_list(kind, data)


def test_the_events_of_a_watch() -> None:
    """Each type of the API, and nothing of a bookmark's or a deleted object's shape matters but its name."""
    added, modified = (
        decode_watch_event(SERVICES, _event("ADDED", _service("a"))),
        decode_watch_event(SERVICES, _event("MODIFIED", _service("b"))),
    )
    assert isinstance(added, Added)
    assert added.object.metadata.namespaced_name == NamespacedName("web", "a")
    assert isinstance(modified, Modified)
    assert decode_watch_event(SERVICES, _event("DELETED", _service("c", ports=5))) == Deleted(
        kind=SERVICES, name=NamespacedName("web", "c"), resource_version="7"
    )
    assert decode_watch_event(NODES, _event("BOOKMARK", {"metadata": {"resourceVersion": "12"}})) == Bookmark(
        kind=NODES, resource_version="12"
    )
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    assert decode_watch_event(SERVICES, _event("ERROR", status)) == ErrorEvent(
        kind=SERVICES, code=410, reason="Expired", message="too old"
    )


def test_a_bad_object_in_a_watch_is_a_value_with_its_version() -> None:
    """So that the watch can be resumed after it."""
    bad = decode_watch_event(SERVICES, _event("ADDED", _service("a", clusterIPs="10.0.0.1")))
    assert isinstance(bad, Undecodable)
    assert (bad.path, bad.resource_version) == ("spec.clusterIPs", "7")


@pytest.mark.parametrize(
    "line", [b"x", b"5", b'{"type": "ADDED"}', b'{"object": {}}', b'{"type": "RENAMED", "object": {}}', b"[" * 9999]
)
def test_a_line_that_is_no_event_is_refused(line: bytes) -> None:
    """What it was about cannot be known."""
    with pytest.raises(DecodingError, match="a watch of endpointslices sent"):
        decode_watch_event(ENDPOINT_SLICES, line)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.builds(_service, st.just("s"), ports=_json, clusterIPs=_json, type=_json) | _json, max_size=4))
def test_every_object_of_a_list_is_decoded_or_named(items: list[Any]) -> None:
    """None is lost, whatever it looks like, and none but the bad ones is held back by the others."""
    decoded = decode_list(SERVICES, _list(*items, _service("good"), resourceVersion="1"))
    assert len(decoded.items) + len(decoded.undecodable) == len(items) + 1
    assert decoded.items[-1].metadata.name == "good"


@given(st.binary(max_size=40) | st.builds(lambda item: json.dumps(item).encode(), _json))
def test_any_bytes_are_a_watch_event_or_refused(line: bytes) -> None:
    """Never another exception."""
    try:
        decode_watch_event(SERVICES, line)
    except DecodingError as error:
        told = str(error)
        assert told  # either way is right
