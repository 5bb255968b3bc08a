"""Which lists are merged by keys, which values are one whole: what a field manager can own apart from others.

Source: the listType, listMapKey, mapType and structType tags of k8s.io/api. Lists that are not in the table are atomic.
"""

from __future__ import annotations

from typing import Any, Final

from antrea_proxy.lab.api_server.errors import JsonObject
from antrea_proxy.lab.api_server.ownership.paths import key_word, value_word
from antrea_proxy.lab.api_server.schema import FieldSchema, ValueType

LIST_KEYS: Final = {
    **dict.fromkeys(("Container.env", "EphemeralContainer.env"), ("name",)),
    **dict.fromkeys(("Container.ports", "EphemeralContainer.ports"), ("containerPort", "protocol")),
    **dict.fromkeys(("Container.volumeDevices", "EphemeralContainer.volumeDevices"), ("devicePath",)),
    **dict.fromkeys(("Container.volumeMounts", "EphemeralContainer.volumeMounts"), ("mountPath",)),
    "DaemonSetStatus.conditions": ("type",),
    "DeploymentStatus.conditions": ("type",),
    "NamespaceStatus.conditions": ("type",),
    "NodeStatus.addresses": ("type",),
    "NodeStatus.conditions": ("type",),
    "ObjectMeta.ownerReferences": ("uid",),
    "PodSpec.containers": ("name",),
    "PodSpec.ephemeralContainers": ("name",),
    "PodSpec.hostAliases": ("ip",),
    "PodSpec.imagePullSecrets": ("name",),
    "PodSpec.initContainers": ("name",),
    "PodSpec.resourceClaims": ("name",),
    "PodSpec.schedulingGates": ("name",),
    "PodSpec.topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "PodSpec.volumes": ("name",),
    "PodStatus.conditions": ("type",),
    "PodStatus.hostIPs": ("ip",),
    "PodStatus.podIPs": ("ip",),
    "ReplicaSetStatus.conditions": ("type",),
    "ResourceRequirements.claims": ("name",),
    "ServiceAccount.secrets": ("name",),
    "ServiceSpec.ports": ("port", "protocol"),
    "ServiceStatus.conditions": ("type",),
}
"""Lists of objects of which each item may have another owner, and the fields by which an item is known."""

SETS: Final = frozenset({"Endpoint.addresses", "NodeSpec.podCIDRs", "NodeStatus.volumesInUse", "ObjectMeta.finalizers"})
"""Lists of plain values of which each may have another owner."""

ATOMIC_STRUCTS: Final = frozenset(
    {
        "ConfigMapKeySelector",
        "LabelSelector",
        "LocalObjectReference",
        "NodeSelector",
        "ObjectFieldSelector",
        "ObjectReference",
        "OwnerReference",
        "ResourceFieldSelector",
        "RoleRef",
        "SecretKeySelector",
        "SecretReference",
        "TypedLocalObjectReference",
    }
)
ATOMIC_MAPS: Final = frozenset({"PodSpec.nodeSelector", "ServiceSpec.selector"})
_DEFAULT_KEYS: Final = {"protocol": "TCP"}
_MAPS: Final = frozenset({ValueType.STRINGS_BY_NAME, ValueType.BYTES_BY_NAME, ValueType.QUANTITIES_BY_NAME})


class NoKeyError(ValueError):
    """An item of a list lacks the field by which it is known; the text names it."""


def list_keys(field: FieldSchema) -> tuple[str, ...]:
    """Give the keys of a list's items; none for any other field."""
    return LIST_KEYS.get(_name(field), ()) if field.is_list else ()


def is_set(field: FieldSchema) -> bool:
    """Tell whether a list is a set of values."""
    return field.is_list and _name(field) in SETS


def is_map(field: FieldSchema) -> bool:
    """Tell whether the entries of a map may have owners of their own."""
    return not field.is_list and field.type in _MAPS and _name(field) not in ATOMIC_MAPS


def is_struct(field: FieldSchema) -> bool:
    """Tell whether the fields of an object (of a list's item) may have owners of their own."""
    return field.type is ValueType.OBJECT and field.object.name not in ATOMIC_STRUCTS


def item_word(field: FieldSchema, item: Any) -> str:  # noqa: ANN401 - any JSON value
    """Give the word for an item of a list with keys, or of a set.

    Raises NoKeyError.
    """
    if is_set(field):
        return value_word(item)
    keys: JsonObject = {}
    for key in list_keys(field):
        value = item.get(key, _DEFAULT_KEYS.get(key)) if isinstance(item, dict) else None
        if value is None:
            raise NoKeyError(
                "associative list with keys has an element that omits key field "
                f'"{key}" (and doesn\'t have default value)'
            )
        keys[key] = value
    return key_word(keys)


def _name(field: FieldSchema) -> str:
    return f"{field.owner}.{field.name}"
