"""Services that the API refuses, in its own words, and what it fills in."""

from __future__ import annotations

from typing import Any

import pytest

from antrea_proxy.lab.api_server import ApiError, Store
from antrea_proxy.lab.api_server import resources as kinds
from api_samples import service


def _create(**spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    return Store().create(kinds.SERVICES, service(**spec))


def _refusals(**spec: Any) -> list[str]:  # noqa: ANN401 - any JSON value
    with pytest.raises(ApiError) as refused:
        _create(**spec)
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    return [f"{cause['field']}: {cause['message']}" for cause in refused.value.details["causes"]]


def _http(**fields: object) -> list[dict[str, object]]:
    return [{"name": "http", "port": 80, **fields}]


_RANGE = "must be between 1 and 65535, inclusive"


@pytest.mark.parametrize(
    ("spec", "refusal"),
    [
        ({"ports": [{"port": 0, "targetPort": 1}]}, f"spec.ports[0].port: Invalid value: 0: {_RANGE}"),
        ({"ports": [{"port": 70000, "targetPort": 1}]}, f"spec.ports[0].port: Invalid value: 70000: {_RANGE}"),
        ({"ports": _http(targetPort=70000)}, f"spec.ports[0].targetPort: Invalid value: 70000: {_RANGE}"),
        (
            {"ports": _http(targetPort="Not A Name")},
            (
                'spec.ports[0].targetPort: Invalid value: "Not A Name": '
                "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
            ),
        ),
        ({"ports": []}, "spec.ports: Required value"),
        (
            {"ports": _http(protocol="ICMP")},
            'spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
        ),
        ({"ports": [*_http(), {"port": 81}]}, "spec.ports[1].name: Required value"),
        ({"ports": [*_http(), {"name": "http", "port": 81}]}, 'spec.ports[1].name: Duplicate value: "http"'),
        (
            {"ports": [*_http(), {"name": "again", "port": 80}]},
            'spec.ports[1]: Duplicate value: {"protocol":"TCP","port":80}',
        ),
        (
            {"ports": _http(nodePort=30080)},
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            {"type": "NodePort", "ports": _http(nodePort=80)},
            (
                "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
                "The range of valid ports is 30000-32767"
            ),
        ),
        (
            {"type": "Magic"},
            (
                'spec.type: Unsupported value: "Magic": '
                'supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
            ),
        ),
        (
            {"sessionAffinity": "Cookie"},
            'spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"',
        ),
        (
            {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}},
            (
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: "
                "must be greater than 0 and less than 86400"
            ),
        ),
        (
            {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}},
            (
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: "
                "must be greater than 0 and less than 86400"
            ),
        ),
        (
            {"clusterIP": "10.96.0"},
            (
                'spec.clusterIPs[0]: Invalid value: "10.96.0": '
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            ),
        ),
        (
            {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.2"]},
            'spec.clusterIPs: Invalid value: []string{"10.96.0.2"}: first value must match `clusterIP`',
        ),
        (
            {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "10.96.0.2"]},
            (
                'spec.clusterIPs: Invalid value: []string{"10.96.0.1", "10.96.0.2"}: '
                "may specify no more than one IP for each IP family"
            ),
        ),
        (
            {"ipFamilies": ["IPv5"]},
            'spec.ipFamilies[0]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"',
        ),
        ({"ipFamilies": ["IPv4", "IPv4"]}, 'spec.ipFamilies[1]: Duplicate value: "IPv4"'),
        (
            {"type": "NodePort", "clusterIP": "None"},
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
        ),
        ({"type": "ExternalName"}, "spec.externalName: Required value"),
        (
            {"type": "ExternalName", "externalName": "a.b", "clusterIPs": ["10.96.0.1"]},
            "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
        ),
        (
            {"externalIPs": ["127.0.0.1"]},
            'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
        ),
        (
            {"loadBalancerSourceRanges": ["10.0.0.0/8"]},
            "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
        (
            {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0"]},
            (
                'spec.loadBalancerSourceRanges[0]: Invalid value: "10.0.0.0": '
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            ),
        ),
        (
            {"externalTrafficPolicy": "Local"},
            'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services',
        ),
        (
            {"type": "NodePort", "externalTrafficPolicy": "Near"},
            'spec.externalTrafficPolicy: Unsupported value: "Near": supported values: "Cluster", "Local"',
        ),
        (
            {"internalTrafficPolicy": "Near"},
            'spec.internalTrafficPolicy: Unsupported value: "Near": supported values: "Cluster", "Local"',
        ),
        (
            {"type": "NodePort", "healthCheckNodePort": 30000},
            (
                "spec.healthCheckNodePort: Invalid value: 30000: "
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            ),
        ),
    ],
)
def test_a_field_that_cannot_be_is_refused_in_the_words_of_the_api(spec: dict[str, Any], refusal: str) -> None:
    """People search the web for these sentences."""
    assert refusal in _refusals(**spec)


def test_every_problem_of_a_service_is_told_at_once() -> None:
    """The whole message is that of the API, with a list of all causes."""
    with pytest.raises(ApiError) as refused:
        Store().create(kinds.SERVICES, service("Web", type="Magic"))
    assert refused.value.message == (
        'Service "Web" is invalid: [metadata.name: Invalid value: "Web": a DNS-1035 label must consist of lower case '
        "alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character "
        "(e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?'), "
        'spec.type: Unsupported value: "Magic": '
        'supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]'
    )
    assert refused.value.details["kind"] == "Service"
    assert [cause["reason"] for cause in refused.value.details["causes"]] == [
        "FieldValueInvalid",
        "FieldValueNotSupported",
    ]


def test_what_a_user_leaves_out_of_a_service_is_filled_in() -> None:
    """Type, protocol, target port, affinity and policies have their usual values."""
    spec = _create()["spec"]
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert (spec["type"], spec["sessionAffinity"], spec["internalTrafficPolicy"]) == ("ClusterIP", "None", "Cluster")
    assert "externalTrafficPolicy" not in spec
    outside = _create(type="LoadBalancer", sessionAffinity="ClientIP")["spec"]
    assert (outside["externalTrafficPolicy"], outside["allocateLoadBalancerNodePorts"]) == ("Cluster", True)
    assert outside["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}


def test_the_longest_affinity_is_a_day() -> None:
    """86,400 s is still accepted."""
    config = {"clientIP": {"timeoutSeconds": 86400}}
    assert _create(sessionAffinity="ClientIP", sessionAffinityConfig=config)["spec"]["sessionAffinityConfig"] == config


def _store_with(**spec: Any) -> Store:  # noqa: ANN401 - any JSON value
    store = Store()
    store.create(kinds.SERVICES, service(**spec))
    return store


def test_the_cluster_ip_may_not_be_changed() -> None:
    """An address, once given, stays."""
    store = _store_with(clusterIP="10.96.0.1")
    with pytest.raises(ApiError) as refused:
        store.update(kinds.SERVICES, service(clusterIP="10.96.0.2"))
    expected = 'spec.clusterIPs[0]: Invalid value: []string{"10.96.0.2"}: may not change once set'
    assert expected in refused.value.message


def test_an_update_that_names_no_address_keeps_what_was_allocated() -> None:
    """Replacing a Service by its manifest loses neither its address nor its node port."""
    store = _store_with(type="NodePort", clusterIP="10.96.0.1", ports=_http(nodePort=30001))
    spec = store.update(kinds.SERVICES, service(type="NodePort", ports=_http(targetPort=8080)))["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("10.96.0.1", ["10.96.0.1"])
    assert spec["ports"] == _http(targetPort=8080, nodePort=30001, protocol="TCP")


def test_a_service_that_is_no_longer_reached_on_nodes_loses_its_node_ports() -> None:
    """From NodePort to ClusterIP by changing the type alone."""
    store = _store_with(type="NodePort", clusterIP="10.96.0.1", ports=_http(nodePort=30001))
    spec = store.patch(kinds.SERVICES, "default", "web", {"spec": {"type": "ClusterIP"}})["spec"]
    assert spec["ports"] == _http(targetPort=80, protocol="TCP")
    assert "externalTrafficPolicy" not in spec


def test_a_service_that_becomes_an_external_name_loses_its_address() -> None:
    """The address is free again when the type has no use for it."""
    store = _store_with(clusterIP="10.96.0.1")
    patch = {"spec": {"type": "ExternalName", "externalName": "example.com"}}
    spec = store.patch(kinds.SERVICES, "default", "web", patch)["spec"]
    assert not {"clusterIP", "clusterIPs"} & set(spec)


def test_an_address_of_a_load_balancer_is_checked_when_it_is_reported() -> None:
    """status.loadBalancer takes addresses only, and gets their mode."""
    store = _store_with(type="LoadBalancer")

    def report(address: str) -> dict[str, Any]:
        status = {"loadBalancer": {"ingress": [{"ip": address}]}}
        return store.modify(
            kinds.SERVICES, "default", "web", lambda obj: obj.update(status=status), subresource="status"
        )

    with pytest.raises(ApiError, match=r"status.loadBalancer.ingress\[0\].ip: Invalid value"):
        report("192.0.2")
    assert report("192.0.2.1")["status"]["loadBalancer"]["ingress"] == [{"ip": "192.0.2.1", "ipMode": "VIP"}]


@pytest.mark.parametrize(
    ("ingress", "refusal"),
    [
        (
            {"ip": "192.0.2.1", "ipMode": "Direct"},
            r'ingress\[0\].ipMode: Unsupported value: "Direct": supported values: "Proxy", "VIP"',
        ),
        (
            {"hostname": "lb.example", "ipMode": "VIP"},
            r"ingress\[0\].ipMode: Forbidden: may not be specified",
        ),
    ],
)
def test_the_mode_of_an_address_is_vip_or_proxy(ingress: dict[str, str], refusal: str) -> None:
    """KEP 1860."""
    store = _store_with(type="LoadBalancer")
    status = {"loadBalancer": {"ingress": [ingress]}}
    with pytest.raises(ApiError, match=refusal):
        store.modify(kinds.SERVICES, "default", "web", lambda obj: obj.update(status=status), subresource="status")


def test_a_service_that_is_no_load_balancer_any_more_loses_its_addresses() -> None:
    """At once, though the load balancer itself may take its time."""
    store = _store_with(type="LoadBalancer")
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    store.modify(kinds.SERVICES, "default", "web", lambda obj: obj.update(status=status), subresource="status")
    changed = store.patch(kinds.SERVICES, "default", "web", {"spec": {"type": "NodePort"}})
    assert changed["status"] == {"loadBalancer": {}}
