"""What the server serves, told in the API's two ways: a document for each group, or one for all (aggregated)."""

from __future__ import annotations

from itertools import groupby

from antrea_proxy.lab.api_server.errors import JsonObject, unknown_path
from antrea_proxy.lab.api_server.resources import RESOURCES, Resource

KUBERNETES_VERSION = "v1.32.0"
_SUBRESOURCE_VERBS = {
    "binding": ("create",),
    "eviction": ("create",),
    "finalize": ("update",),
    "scale": ("get", "patch", "update"),
    "status": ("get", "patch", "update"),
}
_SUBRESOURCE_KINDS = {
    "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
    "scale": ("autoscaling", "v1", "Scale"),
}


def version_document() -> JsonObject:
    """Give /version."""
    _, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    return {
        "major": "1",
        "minor": minor,
        "gitVersion": f"{KUBERNETES_VERSION}+antrea-proxy-lab",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "none",
        "platform": "linux/amd64",
    }


def _groups() -> list[tuple[tuple[str, str], list[Resource]]]:
    """Give the resources of each group and version; the core group first."""
    ordered = sorted(RESOURCES, key=lambda resource: (resource.group, resource.version))
    return [
        (key, list(found)) for key, found in groupby(ordered, key=lambda resource: (resource.group, resource.version))
    ]


def _group_document(group: str, version: str) -> JsonObject:
    served = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [served], "preferredVersion": served}


def _resource_entries(resource: Resource) -> list[JsonObject]:
    entry: JsonObject = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    entries = [entry]
    for name in resource.subresources:
        group, version, kind = _SUBRESOURCE_KINDS.get(name, ("", "", resource.kind))
        sub: JsonObject = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": kind,
            "verbs": list(_SUBRESOURCE_VERBS[name]),
        }
        if group:
            sub.update(group=group, version=version)
        entries.append(sub)
    return entries


def discovery_document(path: str) -> JsonObject:
    """Give /api, /apis, /api/v1, /apis/GROUP or /apis/GROUP/VERSION in the legacy form.

    Raises ApiError (404) for a group or version that is not served.
    """
    groups = _groups()
    match path.strip("/").split("/"):
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            documents = [_group_document(*key) for key, _ in groups if key[0]]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": documents}
        case ["apis", group]:
            for key, _ in groups:
                if key[0] == group and group:
                    return {"kind": "APIGroup", "apiVersion": "v1", **_group_document(*key)}
        case ["api", version] | ["apis", _, version] as parts:
            group = parts[1] if parts[0] == "apis" else ""
            for key, found in groups:
                if key == (group, version):
                    entries = [entry for resource in found for entry in _resource_entries(resource)]
                    name = f"{group}/{version}" if group else version
                    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": entries}
    raise unknown_path()


def _aggregated_resource(resource: Resource) -> JsonObject:
    entry: JsonObject = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [_aggregated_subresource(resource, name) for name in resource.subresources]
    return entry


def _aggregated_subresource(resource: Resource, name: str) -> JsonObject:
    own = (resource.group, resource.version, resource.kind)
    group, version, kind = _SUBRESOURCE_KINDS.get(name, own)
    return {
        "subresource": name,
        "responseKind": {"group": group, "version": version, "kind": kind},
        "verbs": list(_SUBRESOURCE_VERBS[name]),
    }


def aggregated_document(path: str, version: str) -> JsonObject:
    """Give /api or /apis as one APIGroupDiscoveryList of everything below it."""
    items = []
    for (group, group_version), found in _groups():
        if bool(group) is (path.strip("/") == "apis"):
            versions = [
                {
                    "version": group_version,
                    "resources": [_aggregated_resource(resource) for resource in found],
                    "freshness": "Current",
                }
            ]
            items.append({"metadata": {"name": group or None, "creationTimestamp": None}, "versions": versions})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }
