"""The annotation that chooses how a Service's load-balancer and external IPs are served."""

from __future__ import annotations

import msgspec
import pytest

from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.labels import MODE_ANNOTATION
from antrea_proxy.kubernetes.objects import Service
from antrea_proxy.proxy.direct_return import load_balancer_mode
from antrea_proxy.proxy.frontends import Rules
from antrea_proxy.proxy.load_balancers import desired_load_balancers
from antrea_proxy.proxy.problems import Reason
from antrea_proxy.settings import LoadBalancerMode

NAT, DSR = LoadBalancerMode.NAT, LoadBalancerMode.DSR


def service(annotation: str | None, **spec: object) -> Service:
    annotations = {} if annotation is None else {MODE_ANNOTATION: annotation}
    return msgspec.convert(
        {
            "metadata": {"name": "web", "namespace": "shop", "annotations": annotations},
            "spec": {
                "type": "LoadBalancer",
                "clusterIP": "10.96.0.1",
                "clusterIPs": ["10.96.0.1"],
                "ports": [{"port": 80}],
                **spec,
            },
        },
        Service,
    )


@pytest.mark.parametrize("default", [NAT, DSR])
@pytest.mark.parametrize(("text", "mode"), [(None, None), ("nat", NAT), ("dsr", DSR), ("NAT", NAT), ("Dsr", DSR)])
def test_the_annotation_beats_the_default_whatever_its_case(
    text: str | None, mode: LoadBalancerMode | None, default: LoadBalancerMode
) -> None:
    assert load_balancer_mode(service(text), Rules(default_mode=default, direct_return=True)) == (mode or default, None)


@pytest.mark.parametrize("default", [NAT, DSR])
@pytest.mark.parametrize("text", ["", "ipvs", " nat", "nat,dsr"])
def test_the_default_applies_where_the_annotation_makes_no_sense(text: str, default: LoadBalancerMode) -> None:
    mode, problem = load_balancer_mode(service(text), Rules(default_mode=default, direct_return=True))
    assert mode is default
    assert problem == f"metadata.annotations[{MODE_ANNOTATION}]: {text!r}: must be nat or dsr; {default} applies"


def test_dsr_without_its_feature_gate_is_nat_and_said() -> None:
    mode, problem = load_balancer_mode(service("dsr"), Rules())
    assert mode is NAT
    assert problem is not None
    assert problem.endswith("the feature gate LoadBalancerModeDSR is off; nat applies")


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort"])
def test_dsr_without_an_external_address_is_said_and_an_external_ip_is_one(kind: str) -> None:
    rules = Rules(direct_return=True)
    mode, problem = load_balancer_mode(service("dsr", type=kind), rules)
    assert mode is NAT
    assert problem is not None
    assert problem.endswith("'dsr': is for load-balancer and external IPs, and the Service has none")
    assert load_balancer_mode(service("dsr", type=kind, externalIPs=["192.0.2.1"]), rules) == (DSR, None)
    assert load_balancer_mode(service("nat", type=kind), rules) == (NAT, None)


def test_a_service_with_an_invalid_annotation_is_served_all_the_same_and_says_so() -> None:
    cluster = ClusterState()
    cluster.list_services([service("ipvs")])
    table = desired_load_balancers(cluster, cluster.services, node_name="node-1")
    ((_, ports),) = table.services.items()
    assert len(table) == 1
    assert [problem.reason for problem in ports.problems] == [Reason.INVALID_LOAD_BALANCER_MODE]
    assert str(ports.problems[0]).startswith("Service shop/web: metadata.annotations[service.antrea.io/")
