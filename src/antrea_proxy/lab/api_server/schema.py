"""The fields of every kind and their types, read from lightkube's generated models of the Kubernetes API.

What the models do not say, how strategic merge patches treat a list, is the table `MERGE_KEYS`.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from enum import Enum
from functools import cache

from antrea_proxy.lab.api_server.resources import RESOURCES

_MODELS = "lightkube.models"


class ValueType(Enum):
    """What JSON a field holds; the value is how Go's decoder names the type in its messages."""

    STRING = "string"
    INTEGER = "int32"
    NUMBER = "float64"
    BOOLEAN = "bool"
    TIME = "Time"
    QUANTITY = "Quantity"
    INT_OR_STRING = "IntOrString"
    STRINGS_BY_NAME = "map[string]string"
    QUANTITIES_BY_NAME = "map[string]Quantity"
    OBJECT = "object"
    ANYTHING = "anything"


MERGE_KEYS = {
    "Container.env": "name",
    "Container.ports": "containerPort",
    "Container.volumeDevices": "devicePath",
    "Container.volumeMounts": "mountPath",
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

_QUANTITY_MAPS = frozenset({"allocatable", "capacity", "limits", "requests", "hard", "used", "overhead", "default"})
_UNTYPED = frozenset({"FieldsV1", "RawExtension"})
_SCALARS = {
    "str": ValueType.STRING,
    "int": ValueType.INTEGER,
    "float": ValueType.NUMBER,
    "bool": ValueType.BOOLEAN,
    "Time": ValueType.TIME,
    "MicroTime": ValueType.TIME,
    "datetime": ValueType.TIME,
    "Quantity": ValueType.QUANTITY,
    "IntOrString": ValueType.INT_OR_STRING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSchema:
    """One field of an object."""

    name: str
    owner: str
    """The Go struct that has the field."""
    type: ValueType
    is_list: bool
    required: bool
    module: str = ""
    model: str = ""
    """For objects: where their fields are described."""

    @property
    def object(self) -> ObjectSchema:
        """The fields of the object that the field holds."""
        return object_schema(self.module, self.model)

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

    name: str
    module: str
    fields: dict[str, FieldSchema]
    description: str = ""

    def field(self, name: str) -> FieldSchema | None:
        """Give a field, None where the struct has none of the name."""
        return self.fields.get(name)


def _without(wrapper: str, text: str) -> tuple[str, bool]:
    found = re.fullmatch(rf"{wrapper}\[(.*)\]", text)
    return (found[1], True) if found else (text, False)


def _field(owner: str, module: str, name: str, annotation: str) -> FieldSchema:
    inner, optional = _without("Optional", annotation)
    inner, is_list = _without("List", inner)
    prefix, _, type_name = inner.rpartition(".")
    model_module = prefix or module
    type_: ValueType | None
    if type_name == "dict":
        type_ = ValueType.QUANTITIES_BY_NAME if name in _QUANTITY_MAPS else ValueType.STRINGS_BY_NAME
    elif type_name in _UNTYPED:
        type_ = ValueType.ANYTHING
    else:
        type_ = _SCALARS.get(type_name)
    # A trailing underscore keeps a field's name from clashing with a Python keyword.
    common = {"name": name.rstrip("_"), "owner": owner, "is_list": is_list, "required": not optional}
    if type_ is None:
        return FieldSchema(**common, type=ValueType.OBJECT, module=model_module, model=type_name)  # type: ignore[arg-type]
    return FieldSchema(**common, type=type_)  # type: ignore[arg-type]


@cache
def object_schema(module: str, model: str) -> ObjectSchema:
    """Describe one model, such as ("core_v1", "ServicePort")."""
    found = getattr(importlib.import_module(f"{_MODELS}.{module}"), model)
    annotations: dict[str, str] = found.__annotations__
    fields = {field.name: field for field in (_field(model, module, *item) for item in annotations.items())}
    return ObjectSchema(name=model, module=module, fields=fields, description=(found.__doc__ or "").split("\n\n")[0])


_MODULES = {
    ("", "v1"): "core_v1",
    ("apps", "v1"): "apps_v1",
    ("discovery.k8s.io", "v1"): "discovery_v1",
    ("events.k8s.io", "v1"): "events_v1",
    ("coordination.k8s.io", "v1"): "coordination_v1",
}
_KINDS = {
    **{
        (resource.api_version, resource.kind): (_MODULES[resource.group, resource.version], resource.kind)
        for resource in RESOURCES
    },
    ("autoscaling/v1", "Scale"): ("autoscaling_v1", "Scale"),
}


def schema_of(api_version: str, kind: str) -> ObjectSchema:
    """Describe a kind that the server knows. Raises KeyError for any other."""
    return object_schema(*_KINDS[api_version, kind])
