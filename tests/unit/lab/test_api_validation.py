"""EndpointSlices, Pods, Deployments and small kinds that the API refuses, in its own words."""

from __future__ import annotations

from typing import Any

import pytest

from antrea_proxy.lab.api_server import ApiError, Store
from antrea_proxy.lab.api_server import resources as kinds
from api_samples import config_map, deployment, endpoint_slice, pod


def _refusals(kind: kinds.Resource, obj: dict[str, Any]) -> list[str]:
    with pytest.raises(ApiError) as refused:
        Store().create(kind, obj)
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    return [f"{cause['field']}: {cause['message']}" for cause in refused.value.details["causes"]]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("10.0.0", "must be a valid IPv4 address"),
        ("not-an-address", "must be a valid IPv4 address"),
        ("fd00::1", "must be a valid IPv4 address"),
        ("127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        ("169.254.1.1", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        ("0.0.0.0", "may not be unspecified (0.0.0.0)"),
        ("224.0.0.5", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ],
)
def test_an_endpoint_that_can_be_no_address_is_refused(address: str, why: str) -> None:
    """The message names the endpoint, the address, and why."""
    expected = f'endpoints[1].addresses[0]: Invalid value: "{address}": {why}'
    assert _refusals(kinds.ENDPOINT_SLICES, endpoint_slice("web-1", "10.0.0.1", address)) == [expected]


def test_a_slice_holds_a_thousand_endpoints_and_not_one_more() -> None:
    """1,000 are kept, 1,001 are refused with the number."""
    addresses = [f"10.0.{number // 250}.{number % 250 + 1}" for number in range(1001)]
    assert Store().create(kinds.ENDPOINT_SLICES, endpoint_slice("web-1", *addresses[:1000]))
    assert _refusals(kinds.ENDPOINT_SLICES, endpoint_slice("web-1", *addresses)) == [
        "endpoints: Too many: 1001: must have at most 1000 items"
    ]


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"addressType": ""}, "addressType: Required value"),
        (
            {"addressType": "IPX"},
            'addressType: Unsupported value: "IPX": supported values: "FQDN", "IPv4", "IPv6"',
        ),
        (
            {"ports": [{"port": 70000}]},
            "ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        ({"ports": [{"port": 1}, {"port": 2}]}, 'ports[1].name: Duplicate value: ""'),
        (
            {"ports": [{"port": 1, "protocol": "IP"}]},
            'ports[0].protocol: Unsupported value: "IP": supported values: "SCTP", "TCP", "UDP"',
        ),
        (
            {"ports": [{"name": f"p{number}", "port": 1} for number in range(101)]},
            "ports: Too many: 101: must have at most 100 items",
        ),
        (
            {"endpoints": [{"addresses": []}]},
            "endpoints[0].addresses: Required value: must contain at least 1 address",
        ),
    ],
)
def test_a_slice_of_the_wrong_form_is_refused(fields: dict[str, Any], refusal: str) -> None:
    """Types, ports and counts."""
    assert refusal in _refusals(kinds.ENDPOINT_SLICES, endpoint_slice("web-1", **fields))


def test_the_address_type_of_a_slice_cannot_be_changed() -> None:
    """An IPv4 slice stays one."""
    store = Store()
    store.create(kinds.ENDPOINT_SLICES, endpoint_slice("web-1"))
    with pytest.raises(ApiError, match='addressType: Invalid value: "IPv6": field is immutable'):
        store.update(kinds.ENDPOINT_SLICES, endpoint_slice("web-1", addressType="IPv6"))


def _pod(**spec: object) -> dict[str, Any]:
    found = pod()
    found["spec"].update(spec)
    return found


_WEB = {"name": "web", "image": "web"}


@pytest.mark.parametrize(
    ("spec", "refusal"),
    [
        ({"containers": []}, "spec.containers: Required value"),
        ({"containers": [{"image": "web"}]}, "spec.containers[0].name: Required value"),
        ({"containers": [{"name": "web"}]}, "spec.containers[0].image: Required value"),
        ({"containers": [_WEB, _WEB]}, 'spec.containers[1].name: Duplicate value: "web"'),
        (
            {"containers": [{**_WEB, "ports": [{"containerPort": 70000}]}]},
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            {"restartPolicy": "Sometimes"},
            'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
        ),
        (
            {"containers": [{**_WEB, "readinessProbe": {"periodSeconds": 1}}]},
            "spec.containers[0].readinessProbe: Required value: must specify a handler type",
        ),
        (
            {"terminationGracePeriodSeconds": -1},
            "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
    ],
)
def test_a_pod_of_the_wrong_form_is_refused(spec: dict[str, Any], refusal: str) -> None:
    """Containers, names, ports and policies."""
    assert refusal in _refusals(kinds.PODS, _pod(**spec))


def test_a_pod_may_be_given_a_node_and_nothing_else_of_its_spec_changes() -> None:
    """The scheduler binds; later updates are refused as the API refuses them."""
    store = Store()
    store.create(kinds.PODS, pod(node=None))
    bound = store.modify(kinds.PODS, "default", "web-1", lambda obj: obj["spec"].update(nodeName="node-1"))
    assert bound["spec"]["nodeName"] == "node-1"
    with pytest.raises(ApiError, match="spec: Forbidden: pod updates may not change fields other than"):
        store.modify(kinds.PODS, "default", "web-1", lambda obj: obj["spec"].update(nodeName="node-2"))


def test_a_new_pod_is_pending_with_the_usual_defaults() -> None:
    """What the control plane and kubectl describe rely on."""
    created = Store().create(kinds.PODS, pod())
    assert created["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    spec = created["spec"]
    assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"]) == ("Always", 30)
    assert spec["containers"][0]["imagePullPolicy"] == "IfNotPresent"


def _deployment(**spec: object) -> dict[str, Any]:
    found = deployment()
    found["spec"].update(spec)
    return found


@pytest.mark.parametrize(
    ("spec", "refusal"),
    [
        (
            {"selector": {"matchLabels": {"app": "other"}}},
            (
                'spec.template.metadata.labels: Invalid value: map[string]string{"app":"web"}: '
                "`selector` does not match template `labels`"
            ),
        ),
        ({"selector": None}, "spec.selector: Required value"),
        (
            {"selector": {}},
            "spec.selector: Invalid value: map[string]string{}: empty selector is invalid for deployment",
        ),
        ({"replicas": -1}, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (
            {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}},
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}},
            'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0',
        ),
    ],
)
def test_a_deployment_of_the_wrong_form_is_refused(spec: dict[str, Any], refusal: str) -> None:
    """Selector, replicas and strategy."""
    assert refusal in _refusals(kinds.DEPLOYMENTS, _deployment(**spec))


def test_the_selector_of_a_deployment_cannot_be_changed() -> None:
    """A Deployment keeps to its Pods."""
    store = Store()
    store.create(kinds.DEPLOYMENTS, deployment())
    changed = _deployment(selector={"matchLabels": {"app": "web", "more": "1"}})
    changed["spec"]["template"]["metadata"]["labels"]["more"] = "1"
    with pytest.raises(ApiError, match=r"spec.selector: .*: field is immutable"):
        store.update(kinds.DEPLOYMENTS, changed)


def test_what_a_user_leaves_out_of_a_deployment_is_filled_in() -> None:
    """One replica, a rolling update of a quarter."""
    given = deployment()
    del given["spec"]["replicas"]
    spec = Store().create(kinds.DEPLOYMENTS, given)["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }


@pytest.mark.parametrize(
    ("metadata", "refusal"),
    [
        ({"name": ""}, "metadata.name: Required value: name or generateName is required"),
        ({"labels": {"a b": "c"}}, 'metadata.labels: Invalid value: "a b": name part must consist of alphanumeric'),
        ({"labels": {"a": "b c"}}, 'metadata.labels: Invalid value: "b c": a valid label must be an empty string or'),
        (
            {"annotations": {"a": "x" * 262_144}},
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
        ({"ownerReferences": [{"kind": "Pod"}]}, "metadata.ownerReferences[0].uid: Invalid value"),
        ({"name": "x" * 254}, f'metadata.name: Invalid value: "{"x" * 254}": must be no more than 253 bytes'),
    ],
)
def test_metadata_of_the_wrong_form_is_refused(metadata: dict[str, Any], refusal: str) -> None:
    """Names, labels, annotations and owners, for every kind."""
    given = config_map()
    given["metadata"].update(metadata)
    assert any(found.startswith(refusal) for found in _refusals(kinds.CONFIG_MAPS, given))


def test_a_config_map_that_says_it_is_immutable_is() -> None:
    """Neither its data nor its immutability can be changed."""
    store = Store()
    store.create(kinds.CONFIG_MAPS, {**config_map(a="1"), "immutable": True})
    with pytest.raises(ApiError, match="data: Forbidden: field is immutable when `immutable` is set"):
        store.update(kinds.CONFIG_MAPS, {**config_map(a="2"), "immutable": True})
    with pytest.raises(ApiError, match="immutable: Forbidden"):
        store.update(kinds.CONFIG_MAPS, config_map(a="1"))


def test_text_of_a_secret_is_kept_as_base64() -> None:
    """What is in stringData becomes data."""
    created = Store().create(kinds.SECRETS, {**config_map(), "stringData": {"password": "open sesame"}})
    assert (created["data"], created["type"]) == ({"password": "b3BlbiBzZXNhbWU="}, "Opaque")


def test_the_pod_ranges_of_a_node_are_checked_and_stay() -> None:
    """A range is a CIDR, one for each family, and is given once."""
    store = Store()
    node = {"metadata": {"name": "node-1"}, "spec": {"podCIDRs": ["10.10.1.0/24", "fd00:10:1::/64"]}}
    assert store.create(kinds.NODES, node)["spec"]["podCIDR"] == "10.10.1.0/24"
    with pytest.raises(ApiError, match=r"spec.podCIDRs: Forbidden"):
        store.modify(kinds.NODES, None, "node-1", lambda obj: obj["spec"].update(podCIDRs=["10.10.2.0/24"]))
    for ranges, words in (
        (["10.10.1.0"], "must be a valid CIDR"),
        (["10.0.0.0/24", "10.0.1.0/24"], "no more than one"),
    ):
        refusals = _refusals(kinds.NODES, {"metadata": {"name": "n"}, "spec": {"podCIDRs": ranges}})
        assert any(words in refusal for refusal in refusals)
