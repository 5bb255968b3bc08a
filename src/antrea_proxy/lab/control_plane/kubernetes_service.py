"""The Service `kubernetes` and its EndpointSlices, which the API server of a real cluster writes itself."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from antrea_proxy.lab.addressing import Network
from antrea_proxy.lab.api_server.resources import ENDPOINT_SLICES, SERVICES
from antrea_proxy.lab.api_server.store import Store

NAME = "kubernetes"
PORT = 443


def create(store: Store, *, service_ranges: Sequence[Network], addresses: Sequence[str], port: int) -> None:
    """Write them: the first address of the first Service range, to the API server's addresses of that family."""
    family = service_ranges[0].version
    labels = {"component": "apiserver", "provider": "kubernetes"}
    store.create(
        SERVICES,
        {
            "metadata": {"name": NAME, "namespace": "default", "labels": labels},
            "spec": {
                "clusterIP": str(service_ranges[0][1]),
                "ports": [{"name": "https", "port": PORT, "protocol": "TCP", "targetPort": port}],
            },
        },
    )
    store.create(
        ENDPOINT_SLICES,
        {
            "metadata": {"name": NAME, "namespace": "default", "labels": {"kubernetes.io/service-name": NAME}},
            "addressType": f"IPv{family}",
            "endpoints": [
                {"addresses": [address], "conditions": {"ready": True}}
                for address in addresses
                if ip_address(address).version == family
            ],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        },
    )
