"""The kinds of objects that a source can list and watch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from antrea_proxy.kubernetes.objects import EndpointSlice, Node, Service

KubernetesObject = Service | EndpointSlice | Node
ObjectT = TypeVar("ObjectT", bound=KubernetesObject)
ObjectT_co = TypeVar("ObjectT_co", bound=KubernetesObject, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[ObjectT_co]):
    """One kind as the API names it, and the type that its objects are decoded into."""

    name: str
    api_version: str
    plural: str
    namespaced: bool
    type: type[ObjectT_co]

    @property
    def path(self) -> str:
        """Where the API server serves the kind across all namespaces, as `/api/v1/services`."""
        root = "apis" if "/" in self.api_version else "api"
        return f"/{root}/{self.api_version}/{self.plural}"

    def __str__(self) -> str:
        return self.name


SERVICES = Kind(name="Service", api_version="v1", plural="services", namespaced=True, type=Service)
ENDPOINT_SLICES = Kind(
    name="EndpointSlice",
    api_version="discovery.k8s.io/v1",
    plural="endpointslices",
    namespaced=True,
    type=EndpointSlice,
)
NODES = Kind(name="Node", api_version="v1", plural="nodes", namespaced=False, type=Node)

AnyKind = Kind[KubernetesObject]
KINDS: tuple[AnyKind, ...] = (SERVICES, ENDPOINT_SLICES, NODES)
