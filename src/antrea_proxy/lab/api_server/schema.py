"""The fields of every kind and their types, read from the table `fields.txt` beside this module.

How strategic merge patches treat a list is the table `MERGE_KEYS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files

from antrea_proxy.lab.api_server.resources import RESOURCES


class ValueType(Enum):
    """What a field holds; the value is the type's name in Go, by which the API's messages call it."""

    STRING = "string"
    INT32 = "int32"
    INT64 = "int64"
    DOUBLE = "double"
    BOOLEAN = "bool"
    TIME = "Time"
    MICRO_TIME = "MicroTime"
    QUANTITY = "Quantity"
    INT_OR_STRING = "IntOrString"
    STRINGS_BY_NAME = "map[string]string"
    BYTES_BY_NAME = "map[string]bytes"
    QUANTITIES_BY_NAME = "map[string]Quantity"
    ANYTHING = "any"
    OBJECT = "object"


MERGE_KEYS = {
    "Container.env": "name",
    "Container.ports": "containerPort",
    "Container.volumeDevices": "devicePath",
    "Container.volumeMounts": "mountPath",
    "DaemonSetStatus.conditions": "type",
    "DeploymentStatus.conditions": "type",
    "NamespaceStatus.conditions": "type",
    "NodeSpec.podCIDRs": "",
    "NodeStatus.addresses": "type",
    "NodeStatus.conditions": "type",
    "ObjectMeta.finalizers": "",
    "ObjectMeta.ownerReferences": "uid",
    "PodSpec.containers": "name",
    "PodSpec.ephemeralContainers": "name",
    "PodSpec.hostAliases": "ip",
    "PodSpec.imagePullSecrets": "name",
    "PodSpec.initContainers": "name",
    "PodSpec.resourceClaims": "name",
    "PodSpec.schedulingGates": "name",
    "PodSpec.topologySpreadConstraints": "topologyKey",
    "PodSpec.volumes": "name",
    "PodStatus.conditions": "type",
    "PodStatus.hostIPs": "ip",
    "PodStatus.podIPs": "ip",
    "ReplicaSetStatus.conditions": "type",
    "ServiceAccount.secrets": "name",
    "ServiceSpec.ports": "port",
    "ServiceStatus.conditions": "type",
}
"""Lists that strategic merge patches merge: by this key of their items, or (empty) as sets of plain values.

Source: the patchStrategy and patchMergeKey tags of k8s.io/api. Every other list is replaced.
"""

RETAIN_KEYS = frozenset({"DeploymentSpec.strategy", "PodSpec.volumes", "PodSpec.resourceClaims"})
"""Fields of which a patch may say, by $retainKeys, that only some keys stay."""

_PLAIN_TYPES = {kind.value: kind for kind in ValueType if kind is not ValueType.OBJECT}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSchema:
    """One field of an object."""

    name: str
    owner: str
    """The Go struct that has the field."""
    type: ValueType
    is_list: bool
    required: bool
    embedded: bool
    """Whether the fields of the struct stand directly in the owner's JSON object."""
    struct: str = ""
    """For objects: where their fields are described, such as `core_v1.ServicePort`."""

    @property
    def object(self) -> ObjectSchema:
        """The fields of the object that the field holds."""
        return object_schema(self.struct)

    @property
    def go_type(self) -> str:
        """How messages call the type: `int32`, `v1.ServicePort`."""
        if self.type is not ValueType.OBJECT:
            return str(self.type.value)
        package, _, name = self.struct.partition(".")
        version = package.rpartition("_")[2]
        return f"{version}.{name}"

    @property
    def merge_key(self) -> str | None:
        """How a strategic merge patch merges the list; None where it replaces it."""
        return MERGE_KEYS.get(f"{self.owner}.{self.name}")

    @property
    def retains_keys(self) -> bool:
        """Whether $retainKeys is understood."""
        return f"{self.owner}.{self.name}" in RETAIN_KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSchema:
    """The fields of one Go struct of the API."""

    struct: str
    """Such as `core_v1.ServicePort`."""
    fields: dict[str, FieldSchema]
    """By their names in JSON."""
    numbers: dict[int, FieldSchema]
    """By their numbers in protobuf; here embedded structs are fields too."""

    @property
    def name(self) -> str:
        """The struct's name in Go."""
        return self.struct.partition(".")[2]

    def field(self, name: str) -> FieldSchema | None:
        """Give a field, None where the struct has none of the name."""
        return self.fields.get(name)


@cache
def _table() -> dict[str, list[str]]:
    """Read the lines of each struct."""
    structs: dict[str, list[str]] = {}
    current: list[str] = []
    for line in files(__package__).joinpath("fields.txt").read_text().splitlines():
        if line.startswith(" "):
            current.append(line)
        elif not line.startswith("#"):
            current = structs.setdefault(line, [])
    return structs


def _read_field(owner: str, line: str) -> tuple[str, FieldSchema]:
    number, name, kind = line.split()
    required = kind.endswith("!")
    is_list = kind.startswith("[]")
    type_name = kind.removesuffix("!").removeprefix("[]")
    type_ = _PLAIN_TYPES.get(type_name, ValueType.OBJECT)
    field = FieldSchema(
        name=name.strip("<>"),
        owner=owner,
        type=type_,
        is_list=is_list,
        required=required,
        embedded=name.startswith("<"),
        struct=type_name if type_ is ValueType.OBJECT else "",
    )
    return number, field


@cache
def object_schema(struct: str) -> ObjectSchema:
    """Describe a struct, such as `core_v1.ServicePort`. Raises KeyError for one that the table lacks."""
    found = [_read_field(struct.partition(".")[2], line) for line in _table()[struct]]
    return ObjectSchema(
        struct=struct,
        fields={field.name: field for _, field in found if not field.embedded},
        numbers={int(number): field for number, field in found if number != "-"},
    )


_PACKAGES = {
    "": "core",
    "apps": "apps",
    "coordination.k8s.io": "coordination",
    "discovery.k8s.io": "discovery",
    "events.k8s.io": "events",
    "rbac.authorization.k8s.io": "rbac",
}
_STRUCTS = {
    **{
        (resource.api_version, resource.kind): f"{_PACKAGES[resource.group]}_{resource.version}.{resource.kind}"
        for resource in RESOURCES
    },
    ("autoscaling/v1", "Scale"): "autoscaling_v1.Scale",
    ("v1", "DeleteOptions"): "meta_v1.DeleteOptions",
}


def schema_of(api_version: str, kind: str) -> ObjectSchema:
    """Describe a kind that the server knows. Raises KeyError for any other."""
    return object_schema(_STRUCTS[api_version, kind])
