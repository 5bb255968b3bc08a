"""OpenAPI v3 documents, as far as clients read them: fields, merge keys, and that fieldValidation is understood.

kubectl calculates `apply` patches and `explain` from these, and looks there before it asks for Strict field validation.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from antrea_proxy.lab.api_server.errors import JsonObject, unknown_path
from antrea_proxy.lab.api_server.ownership.topology import is_set, list_keys
from antrea_proxy.lab.api_server.resources import RESOURCES, Resource
from antrea_proxy.lab.api_server.schema import FieldSchema, ObjectSchema, ValueType, schema_of

_PREFIX = "io.k8s.api"
_TYPES: dict[ValueType, JsonObject] = {
    ValueType.STRING: {"type": "string"},
    ValueType.INT32: {"type": "integer", "format": "int32"},
    ValueType.INT64: {"type": "integer", "format": "int64"},
    ValueType.DOUBLE: {"type": "number"},
    ValueType.BOOLEAN: {"type": "boolean"},
    ValueType.TIME: {"type": "string", "format": "date-time"},
    ValueType.MICRO_TIME: {"type": "string", "format": "date-time"},
    ValueType.QUANTITY: {"type": "string"},
    ValueType.INT_OR_STRING: {"type": "string", "format": "int-or-string"},
    ValueType.STRINGS_BY_NAME: {"type": "object", "additionalProperties": {"type": "string"}},
    ValueType.BYTES_BY_NAME: {"type": "object", "additionalProperties": {"type": "string", "format": "byte"}},
    ValueType.QUANTITIES_BY_NAME: {"type": "object", "additionalProperties": {"type": "string"}},
    ValueType.ANYTHING: {"type": "object"},
}


def group_versions() -> dict[str, list[Resource]]:
    """Give the resources of each document, by its path such as `api/v1` and `apis/apps/v1`."""
    found: dict[str, list[Resource]] = {}
    for resource in RESOURCES:
        path = f"apis/{resource.group}/{resource.version}" if resource.group else f"api/{resource.version}"
        found.setdefault(path, []).append(resource)
    return found


def index_document() -> JsonObject:
    """Give /openapi/v3."""
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in group_versions()}}


def _component_name(schema: ObjectSchema) -> str:
    return f"{_PREFIX}.{schema.struct.replace('_', '.')}"


def _field(field: FieldSchema, pending: list[ObjectSchema]) -> JsonObject:
    item: JsonObject
    if field.type is ValueType.OBJECT:
        pending.append(field.object)
        item = {"allOf": [{"$ref": f"#/components/schemas/{_component_name(field.object)}"}], "default": {}}
    else:
        item = dict(_TYPES[field.type])
    if not field.is_list:
        if field.retains_keys:
            item["x-kubernetes-patch-strategy"] = "retainKeys"
        return item
    listed: JsonObject = {"type": "array", "items": item, "x-kubernetes-list-type": "atomic"}
    if keys := list_keys(field):
        listed |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
    elif is_set(field):
        listed["x-kubernetes-list-type"] = "set"
    if (merge_key := field.merge_key) is not None:
        listed["x-kubernetes-patch-strategy"] = "merge,retainKeys" if field.retains_keys else "merge"
        if merge_key:
            listed["x-kubernetes-patch-merge-key"] = merge_key
    return listed


def _schemas(roots: list[tuple[ObjectSchema, Resource]]) -> JsonObject:
    found: JsonObject = {}
    kinds = {_component_name(schema): resource for schema, resource in roots}
    pending = [schema for schema, _ in roots]
    while pending:
        schema = pending.pop()
        name = _component_name(schema)
        if name in found:
            continue
        component: JsonObject = {"type": "object"}
        found[name] = component
        properties = {field.name: _field(field, pending) for field in schema.fields.values()}
        component["properties"] = properties
        if required := [field.name for field in schema.fields.values() if field.required]:
            component["required"] = required
        if (resource := kinds.get(name)) is not None:
            component["x-kubernetes-group-version-kind"] = [_group_version_kind(resource)]
    return found


def _group_version_kind(resource: Resource) -> JsonObject:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _parameter(name: str) -> JsonObject:
    return {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}


def _operation(resource: Resource, action: str) -> JsonObject:
    return {
        "operationId": f"{action}{resource.kind}",
        "parameters": [_parameter(name) for name in ("dryRun", "fieldManager", "fieldValidation")],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _group_version_kind(resource),
    }


def _paths(path: str, found: list[Resource]) -> JsonObject:
    paths: JsonObject = {}
    for resource in found:
        base = f"/{path}/namespaces/{{namespace}}" if resource.namespaced else f"/{path}"
        paths[f"{base}/{resource.plural}"] = {"post": _operation(resource, "post")}
        paths[f"{base}/{resource.plural}/{{name}}"] = {
            "put": _operation(resource, "put"),
            "patch": _operation(resource, "patch"),
        }
    return paths


@cache
def group_document(path: str) -> bytes:
    """Give the document of one group and version, by its path such as `apis/apps/v1`, as JSON.

    Raises ApiError (404) where nothing is served there.
    """
    found = group_versions().get(path)
    if found is None:
        raise unknown_path()
    roots = [(schema_of(resource.api_version, resource.kind), resource) for resource in found]
    document: dict[str, Any] = {
        "openapi": "3.0.0",
        "info": {"title": "antrea-proxy lab", "version": "v1"},
        "paths": _paths(path, found),
        "components": {"schemas": _schemas(roots)},
    }
    return msgspec.json.encode(document)
