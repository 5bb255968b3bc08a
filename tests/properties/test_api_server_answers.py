"""Whatever is sent to the lab's API server, it answers as the API does and keeps only what it can show."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from antrea_proxy.lab.api_server import Store
from antrea_proxy.lab.api_server.api import Api
from antrea_proxy.lab.api_server.replies import Reply
from antrea_proxy.lab.api_server.requests import Request
from api_samples import config_map, deployment, endpoint_slice, pod, replica_set, service

_NAMESPACE = "namespaces/default"
_SAMPLES: dict[str, dict[str, Any]] = {
    f"/api/v1/{_NAMESPACE}/services": service(
        type="LoadBalancer",
        clusterIP="10.96.0.1",
        sessionAffinity="ClientIP",
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": 5}},
        externalIPs=["192.0.2.1"],
        loadBalancerSourceRanges=["10.0.0.0/8"],
        ipFamilies=["IPv4"],
        ports=[{"name": "http", "port": 80, "targetPort": "web", "nodePort": 30080, "protocol": "TCP"}],
    ),
    f"/api/v1/{_NAMESPACE}/pods": pod(labels={"app": "web"}, ownerReferences=[]),
    f"/api/v1/{_NAMESPACE}/configmaps": config_map(a="1"),
    "/api/v1/nodes": {
        "metadata": {"name": "node-1"},
        "spec": {"podCIDRs": ["10.10.1.0/24"], "taints": []},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}], "conditions": []},
    },
    f"/apis/apps/v1/{_NAMESPACE}/deployments": deployment(),
    f"/apis/discovery.k8s.io/v1/{_NAMESPACE}/endpointslices": endpoint_slice("web-1", "10.0.0.1"),
    f"/api/v1/{_NAMESPACE}/endpoints": {
        "metadata": {"name": "web"},
        "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}],
    },
    f"/api/v1/{_NAMESPACE}/events": {
        "metadata": {"name": "web.1"},
        "involvedObject": {"kind": "Service", "name": "web", "namespace": "default"},
        "message": "no endpoint",
        "source": {"component": "agent"},
        "lastTimestamp": "2026-01-02T03:04:05Z",
        "firstTimestamp": "2026-01-02T03:04:05Z",
        "eventTime": "2026-01-02T03:04:05.000000Z",
        "count": 3,
        "series": {"count": 2, "lastObservedTime": "2026-01-02T03:04:05.000000Z"},
    },
    "/api/v1/namespaces": {"metadata": {"name": "apart"}, "spec": {"finalizers": []}, "status": {"phase": "Active"}},
    f"/apis/apps/v1/{_NAMESPACE}/replicasets": replica_set(),
    f"/apis/coordination.k8s.io/v1/{_NAMESPACE}/leases": {
        "metadata": {"name": "l"},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 5},
    },
}
_WORDS = ["10.0.0.1", "2026-01-02", "2026-01-02T03:04:05Z", "In", "None", "-1%"]
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.text(max_size=4), st.sampled_from(_WORDS)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["name", "port", "a"]), inner, max_size=2)
    ),
    max_leaves=4,
)
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def _paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        return found + [inner for key, item in value.items() for inner in _paths(item, (*path, key))]
    if isinstance(value, list):
        return found + [inner for index, item in enumerate(value) for inner in _paths(item, (*path, index))]
    return found


def _replaced(obj: dict[str, Any], path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    changed: Any = deepcopy(obj)
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    assert isinstance(changed, dict)
    return changed


def _send(api: Api, method: str, path: str, body: object = None, *, accept: str = "", content_type: str = "") -> Reply:
    content = b"" if body is None else json.dumps(body).encode()
    request = Request(method=method, path=path, body=content, accept=accept, content_type=content_type)
    answer = api.answer(request)
    assert isinstance(answer, Reply)
    return answer


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_an_object_with_any_value_in_any_place_is_kept_and_shown_or_refused_with_a_status(data: st.DataObject) -> None:
    """No value of any field makes the server fail; what it keeps it can list as a table; what not, it explains."""
    url = data.draw(st.sampled_from(sorted(_SAMPLES)))
    sample = _SAMPLES[url]
    given_object = _replaced(sample, data.draw(st.sampled_from(_paths(sample))), data.draw(_JSON))
    api = Api(Store())
    answer = _send(api, "POST", url, given_object)
    body = json.loads(answer.content)
    if answer.status == 201:
        assert json.loads(_send(api, "GET", url, accept=_TABLE).content)["rows"]
        again = _send(api, "PUT", f"{url}/{body['metadata']['name']}", body)
        assert json.loads(again.content) == body
    else:
        assert answer.status in {400, 422}
        assert body["message"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_patch_with_any_value_in_any_place_is_applied_or_refused_with_a_status(data: st.DataObject) -> None:
    """The same for the three types of patches."""
    url = data.draw(st.sampled_from(sorted(_SAMPLES)))
    sample = _SAMPLES[url]
    api = Api(Store())
    assert _send(api, "POST", url, sample).status == 201
    target = f"{url}/{sample['metadata']['name']}"
    path = data.draw(st.sampled_from(_paths(sample)))
    value = data.draw(_JSON)
    kind = data.draw(st.sampled_from(["json", "merge", "strategic-merge"]))
    pointer = "".join(f"/{step}" for step in path)
    operation = {"op": data.draw(st.sampled_from(["add", "replace", "test"])), "path": pointer, "value": value}
    patch: object = [operation] if kind == "json" else _replaced(sample, path, value)
    answer = _send(api, "PATCH", target, patch, content_type=f"application/{kind}-patch+json")
    assert answer.status in {200, 400, 422}, answer.content
    assert _send(api, "GET", target, accept=_TABLE).status == 200
