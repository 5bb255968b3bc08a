"""The three ways to patch an object."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.lab.api_server import ApiError
from antrea_proxy.lab.api_server.patches import (
    PatchType,
    apply_json_patch,
    apply_merge_patch,
    apply_patch,
    apply_strategic_merge_patch,
)
from antrea_proxy.lab.api_server.schema import schema_of
from api_samples import service

_SCALARS = st.one_of(st.booleans(), st.integers(-5, 5), st.sampled_from(["", "a", "b"]))
_KEYS = st.sampled_from(["a", "b", "c", "x/y", "m~n"])
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(_KEYS, _VALUES, max_size=4)


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Make the merge patch that leads from one object to the other, as RFC 7386 describes it."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        if key in before and isinstance(before[key], dict) and isinstance(value, dict):
            patch[key] = _difference(before[key], value)
        elif key not in before or before[key] != value or type(before[key]) is not type(value):
            patch[key] = value
    return patch


@given(_OBJECTS, _OBJECTS)
def test_a_merge_patch_made_from_two_objects_leads_from_one_to_the_other(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Whatever differs is written, whatever is gone is removed, and the original is untouched."""
    kept = json.dumps(before)
    assert apply_merge_patch(before, _difference(before, after)) == after
    assert json.dumps(before) == kept


@given(_OBJECTS, _OBJECTS)
def test_without_known_lists_a_strategic_merge_patch_is_a_merge_patch(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Where no list has a merge key the two agree."""
    patch = _difference(before, after)
    assert apply_strategic_merge_patch(None, before, patch) == apply_merge_patch(before, patch)


@given(_OBJECTS, _KEYS, _VALUES)
def test_a_json_patch_that_adds_and_removes_again_changes_nothing(
    before: dict[str, Any], key: str, value: object
) -> None:
    """Paths are escaped and read back, and a removal undoes an addition."""
    path = "/" + ("new" + key).replace("~", "~0").replace("/", "~1")
    patch = [
        {"op": "add", "path": path, "value": value},
        {"op": "test", "path": path, "value": value},
        {"op": "remove", "path": path},
    ]
    assert apply_json_patch(before, patch) == before


@pytest.mark.parametrize(
    ("operation", "after"),
    [
        ({"op": "add", "path": "/list/1", "value": 9}, {"list": [1, 9, 2], "map": {"k": "v"}}),
        ({"op": "add", "path": "/list/-", "value": 9}, {"list": [1, 2, 9], "map": {"k": "v"}}),
        ({"op": "replace", "path": "/map/k", "value": None}, {"list": [1, 2], "map": {"k": None}}),
        ({"op": "remove", "path": "/list/0"}, {"list": [2], "map": {"k": "v"}}),
        ({"op": "move", "from": "/map/k", "path": "/k"}, {"list": [1, 2], "map": {}, "k": "v"}),
        ({"op": "copy", "from": "/map", "path": "/list/0"}, {"list": [{"k": "v"}, 1, 2], "map": {"k": "v"}}),
    ],
)
def test_each_json_patch_operation_does_what_rfc_6902_says(operation: dict[str, Any], after: dict[str, Any]) -> None:
    """One operation, one result."""
    assert apply_json_patch({"list": [1, 2], "map": {"k": "v"}}, [operation]) == after


@pytest.mark.parametrize(
    ("patch", "code", "words"),
    [
        ([{"op": "test", "path": "/a", "value": 2}], 422, "testing path /a failed"),
        ([{"op": "remove", "path": "/b"}], 422, "the path /b does not exist"),
        ([{"op": "replace", "path": "/list/7", "value": 1}], 422, "names no item of a list of 1"),
        ([{"op": "move", "from": "/list", "path": "/list/0"}], 422, "cannot be moved into itself"),
        ([{"op": "add", "path": "a", "value": 2}], 400, "begins with /"),
        ([{"op": "add", "path": "/a"}], 400, "must have the member value"),
        ([{"op": "frob", "path": "/a"}], 400, "not 'frob'"),
        ({"op": "add"}, 400, "a list of operations"),
    ],
)
def test_a_json_patch_that_does_not_apply_is_refused_with_the_reason(patch: object, code: int, words: str) -> None:
    """The message names the path or the member."""
    with pytest.raises(ApiError, match=words) as refused:
        apply_json_patch({"a": 1, "list": [1]}, patch)
    assert refused.value.code == code


def _service(*ports: dict[str, Any], **spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    return {"apiVersion": "v1", "kind": "Service", **service(ports=list(ports), **spec)}


def _patched(before: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    return apply_patch(PatchType.STRATEGIC, before, patch)


def test_ports_of_a_service_are_merged_by_their_number() -> None:
    """A strategic merge patch changes the port it names, adds a new one, and deletes on request."""
    before = _service({"port": 80, "name": "http"}, {"port": 443, "name": "https"})
    patch = {
        "spec": {
            "ports": [
                {"port": 80, "targetPort": 8080},
                {"port": 443, "$patch": "delete"},
                {"port": 90, "name": "more"},
            ]
        }
    }
    assert _patched(before, patch)["spec"]["ports"] == [
        {"port": 80, "name": "http", "targetPort": 8080},
        {"port": 90, "name": "more"},
    ]


def test_a_port_number_of_two_protocols_is_told_apart_where_the_patch_names_the_protocol() -> None:
    """TCP 53 and UDP 53 are two ports."""
    before = _service({"port": 53, "protocol": "TCP", "name": "tcp"}, {"port": 53, "protocol": "UDP", "name": "udp"})
    patch = {"spec": {"ports": [{"port": 53, "protocol": "UDP", "targetPort": 5353}]}}
    tcp, udp = _patched(before, patch)["spec"]["ports"]
    assert ("targetPort" in tcp, udp["targetPort"]) == (False, 5353)


def test_the_order_that_a_patch_asks_for_is_kept() -> None:
    """$setElementOrder sorts the merged list."""
    before = _service({"port": 1}, {"port": 2}, {"port": 3})
    patch = {"spec": {"$setElementOrder/ports": [{"port": 3}, {"port": 4}, {"port": 1}], "ports": [{"port": 4}]}}
    assert [port["port"] for port in _patched(before, patch)["spec"]["ports"]] == [3, 4, 1, 2]


def test_containers_and_their_variables_are_merged_by_name() -> None:
    """Merge keys hold at every depth."""
    before = {
        "apiVersion": "v1",
        "kind": "Pod",
        "spec": {"containers": [{"name": "web", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]},
    }
    patch = {"spec": {"containers": [{"name": "web", "image": "web:2", "env": [{"name": "B", "value": "3"}]}]}}
    assert _patched(before, patch)["spec"]["containers"] == [
        {"name": "web", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}], "image": "web:2"}
    ]


def test_finalizers_are_merged_as_a_set_and_deleted_by_value() -> None:
    """Lists of plain values with a patch strategy are sets."""
    before = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"finalizers": ["a", "b"]}}
    patch = {"metadata": {"finalizers": ["c", "a"], "$deleteFromPrimitiveList/finalizers": ["b"]}}
    assert _patched(before, patch)["metadata"]["finalizers"] == ["a", "c"]


def test_a_list_without_a_merge_key_is_replaced() -> None:
    """Endpoints of a slice are atomic."""
    before = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "endpoints": [{"addresses": ["10.0.0.1"]}]}
    patch = {"endpoints": [{"addresses": ["10.0.0.2"]}]}
    assert _patched(before, patch)["endpoints"] == patch["endpoints"]


def test_retain_keys_drops_what_the_new_strategy_does_not_have() -> None:
    """Changing a Deployment to Recreate takes rollingUpdate away, as kubectl asks for."""
    before = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
    }
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert _patched(before, patch)["spec"]["strategy"] == {"type": "Recreate"}


def test_replace_directives_replace_lists_and_objects() -> None:
    """$patch: replace ends merging, in a list and in an object."""
    before = _service({"port": 80}, selector={"app": "web", "tier": "front"})
    patch = {"spec": {"ports": [{"$patch": "replace"}, {"port": 1}], "selector": {"$patch": "replace", "app": "db"}}}
    spec = _patched(before, patch)["spec"]
    assert (spec["ports"], spec["selector"]) == ([{"port": 1}], {"app": "db"})


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"spec": {"ports": [{"name": "x"}]}}, "does not contain declared merge key: port"),
        ({"spec": {"$patch": "frob"}}, "unknown patch directive"),
        ({"spec": {"$retainKeys": ["a"], "b": 1}}, "lacks 'b'"),
        (["spec"], "not a JSON object"),
    ],
)
def test_a_strategic_merge_patch_of_the_wrong_form_is_refused_with_the_reason(patch: Any, words: str) -> None:  # noqa: ANN401
    """The message says what is missing."""
    with pytest.raises(ApiError, match=words) as refused:
        _patched(_service({"port": 80}), patch)
    assert refused.value.code == 400


def test_lists_that_merge_are_those_of_the_kubernetes_api() -> None:
    """The table of merge keys names fields that exist."""
    pod_spec = schema_of("v1", "Pod").fields["spec"].object
    assert pod_spec.fields["containers"].merge_key == "name"
    assert pod_spec.fields["tolerations"].merge_key is None
    assert schema_of("v1", "Service").fields["metadata"].object.fields["finalizers"].merge_key == ""
