"""What people get wrong, and what kubectl tells them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antrea_proxy.lab.api_server import resources as kinds
from antrea_proxy.lab.api_server.certificates import Certificates, make_certificates
from antrea_proxy.lab.api_server.kubeconfig import kubeconfig
from kubectl_cluster import KubectlCluster, kubectl_cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KubectlCluster]:
    """Give a fresh cluster."""
    with kubectl_cluster(tmp_path) as found:
        yield found


def _service(port: int) -> str:
    ports = f"ports: [{{port: {port}, targetPort: 80}}]"
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: bad}}\nspec: {{selector: {{a: b}}, {ports}}}\n"


@pytest.mark.parametrize("port", [0, 70000])
def test_a_service_port_out_of_range_is_refused_by_field_and_value(cluster: KubectlCluster, port: int) -> None:
    """Exactly the sentence of a real cluster, and nothing is created."""
    complaint = cluster.refused("apply", "-f", "-", manifest=_service(port))
    assert complaint == (
        'The Service "bad" is invalid: '
        f"spec.ports[0].port: Invalid value: {port}: must be between 1 and 65535, inclusive\n"
    )
    assert cluster.do(lambda store: store.list(kinds.SERVICES)[0]) == []


def test_bad_endpoints_are_refused(cluster: KubectlCluster) -> None:
    """An endpoint that is no address, and a slice of 1,001 endpoints."""
    head = (
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: bad}\naddressType: IPv4\nendpoints:\n"
    )
    complaint = cluster.refused("create", "-f", "-", manifest=f"{head}- addresses: [here]\n")
    assert complaint == (
        'The EndpointSlice "bad" is invalid: '
        'endpoints[0].addresses[0]: Invalid value: "here": must be a valid IPv4 address\n'
    )
    many = "".join(f"- addresses: [10.0.{number // 250}.{number % 250 + 1}]\n" for number in range(1001))
    complaint = cluster.refused("create", "-f", "-", manifest=head + many)
    assert "endpoints: Too many: 1001: must have at most 1000 items" in complaint


def test_malformed_manifests_unknown_kinds_and_misspelt_fields_are_named(cluster: KubectlCluster) -> None:
    """Each gives one clear complaint."""
    assert "error parsing STDIN" in cluster.refused("apply", "-f", "-", manifest="kind: [")
    unknown = "apiVersion: v1\nkind: Frob\nmetadata: {name: bad}\n"
    assert 'no matches for kind "Frob" in version "v1"' in cluster.refused("apply", "-f", "-", manifest=unknown)
    misspelt = _service(80).replace("selector", "slector")
    assert 'strict decoding error: unknown field "spec.slector"' in cluster.refused(
        "create", "-f", "-", manifest=misspelt
    )
    wrong_type = _service(80).replace("port: 80,", "port: http,")
    assert "cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32" in cluster.refused(
        "create", "-f", "-", manifest=wrong_type
    )
    assert 'the server doesn\'t have a resource type "frobs"' in cluster.refused("get", "frobs")
    assert 'services "nothing" not found' in cluster.refused("get", "svc", "nothing")


def test_a_stranger_is_not_let_in(cluster: KubectlCluster, tmp_path: Path) -> None:
    """A server whose certificate is another authority's, a client of another authority, and a wrong token."""
    other = make_certificates()
    ours = cluster.server.certificates
    url = cluster.server.url

    def complaint(*, server_of: Certificates, client_of: Certificates) -> str:
        mixed = Certificates(
            authority=server_of.authority,
            server=ours.server,
            client_certificate=client_of.client_certificate,
            client_key=client_of.client_key,
        )
        path = tmp_path / "other-kubeconfig"
        path.write_bytes(kubeconfig(server_url=url, certificates=mixed, user="admin"))
        return cluster.refused("get", "svc", KUBECONFIG=str(path))

    assert "certificate signed by unknown authority" in complaint(server_of=other, client_of=ours)
    assert "unknown certificate authority" in complaint(server_of=ours, client_of=other)

    config = tmp_path / "tokens"
    nobody = '{"apiVersion":"v1","kind":"Config"}'
    config.write_text(nobody)
    authority = tmp_path / "ca.pem"
    authority.write_bytes(ours.authority)
    anonymous = ("--server", url, "--certificate-authority", str(authority))
    wrong = cluster.refused("get", "svc", *anonymous, "--token", "wrong", KUBECONFIG=str(config))
    assert "You must be logged in to the server" in wrong
    token = cluster.server.token
    assert cluster.kubectl("get", "ns", "default", *anonymous, "--token", token, KUBECONFIG=str(config))
