"""The kinds of objects that the API server keeps, and how clients call them."""

from __future__ import annotations

from dataclasses import dataclass

STANDARD_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resource:
    """One kind of object, as discovery describes it.

    There is one instance for each kind; it is compared and hashed by identity.
    """

    group: str
    """Empty for the core group."""
    version: str
    plural: str
    kind: str
    singular: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    verbs: tuple[str, ...] = STANDARD_VERBS
    subresources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_generation: bool = False
    """Whether metadata.generation counts the changes of what the user wants."""

    @property
    def api_version(self) -> str:
        """The object's apiVersion, such as `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The plural with its group, as messages name it: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """The kind with its group, as messages name it: `Deployment.apps`."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def __str__(self) -> str:
        return self.qualified


NAMESPACES = Resource(
    group="",
    version="v1",
    plural="namespaces",
    kind="Namespace",
    singular="namespace",
    short_names=("ns",),
    namespaced=False,
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    subresources=("status", "finalize"),
)
NODES = Resource(
    group="",
    version="v1",
    plural="nodes",
    kind="Node",
    singular="node",
    short_names=("no",),
    namespaced=False,
    subresources=("status",),
)
PODS = Resource(
    group="",
    version="v1",
    plural="pods",
    kind="Pod",
    singular="pod",
    short_names=("po",),
    subresources=("status", "binding", "eviction"),
    categories=("all",),
)
SERVICES = Resource(
    group="",
    version="v1",
    plural="services",
    kind="Service",
    singular="service",
    short_names=("svc",),
    subresources=("status",),
    categories=("all",),
)
ENDPOINTS = Resource(
    group="", version="v1", plural="endpoints", kind="Endpoints", singular="endpoints", short_names=("ep",)
)
CONFIG_MAPS = Resource(
    group="", version="v1", plural="configmaps", kind="ConfigMap", singular="configmap", short_names=("cm",)
)
SECRETS = Resource(group="", version="v1", plural="secrets", kind="Secret", singular="secret")
EVENTS = Resource(group="", version="v1", plural="events", kind="Event", singular="event", short_names=("ev",))
SERVICE_ACCOUNTS = Resource(
    group="",
    version="v1",
    plural="serviceaccounts",
    kind="ServiceAccount",
    singular="serviceaccount",
    short_names=("sa",),
)
DEPLOYMENTS = Resource(
    group="apps",
    version="v1",
    plural="deployments",
    kind="Deployment",
    singular="deployment",
    short_names=("deploy",),
    subresources=("status", "scale"),
    categories=("all",),
    has_generation=True,
)
DAEMON_SETS = Resource(
    group="apps",
    version="v1",
    plural="daemonsets",
    kind="DaemonSet",
    singular="daemonset",
    short_names=("ds",),
    subresources=("status",),
    categories=("all",),
    has_generation=True,
)
REPLICA_SETS = Resource(
    group="apps",
    version="v1",
    plural="replicasets",
    kind="ReplicaSet",
    singular="replicaset",
    short_names=("rs",),
    subresources=("status", "scale"),
    categories=("all",),
    has_generation=True,
)
ENDPOINT_SLICES = Resource(
    group="discovery.k8s.io",
    version="v1",
    plural="endpointslices",
    kind="EndpointSlice",
    singular="endpointslice",
    has_generation=True,
)
EVENTS_V1 = Resource(
    group="events.k8s.io", version="v1", plural="events", kind="Event", singular="event", short_names=("ev",)
)
LEASES = Resource(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease", singular="lease")
CLUSTER_ROLES = Resource(
    group="rbac.authorization.k8s.io",
    version="v1",
    plural="clusterroles",
    kind="ClusterRole",
    singular="clusterrole",
    namespaced=False,
)
CLUSTER_ROLE_BINDINGS = Resource(
    group="rbac.authorization.k8s.io",
    version="v1",
    plural="clusterrolebindings",
    kind="ClusterRoleBinding",
    singular="clusterrolebinding",
    namespaced=False,
)

RESOURCES = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    ENDPOINTS,
    CONFIG_MAPS,
    SECRETS,
    EVENTS,
    SERVICE_ACCOUNTS,
    DEPLOYMENTS,
    DAEMON_SETS,
    REPLICA_SETS,
    ENDPOINT_SLICES,
    EVENTS_V1,
    LEASES,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
)

_BY_PATH = {(resource.group, resource.version, resource.plural): resource for resource in RESOURCES}


def find_resource(group: str, version: str, plural: str) -> Resource | None:
    """Look a kind up by its place in the API; None where nothing is served there."""
    return _BY_PATH.get((group, version, plural))
