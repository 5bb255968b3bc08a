"""A request as the API understands it: which object, which verb. Pure; knows no HTTP library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from antrea_proxy.lab.api_server.errors import unknown_path
from antrea_proxy.lab.api_server.resources import NAMESPACES, Resource, find_resource

_TRUE = frozenset({"true", "1", "True", "TRUE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What arrived over HTTP."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    accept: str = "application/json"
    content_type: str = ""
    user_agent: str = ""
    body: bytes = b""

    def flag(self, name: str) -> bool:
        """Read a query parameter that is true or false."""
        return self.query.get(name, "") in _TRUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a path names."""

    resource: Resource
    namespace: str | None
    name: str | None
    subresource: str | None


def parse_target(path: str) -> Target:
    """Read a path below /api/v1 or /apis/GROUP/VERSION.

    Raises ApiError (404) where nothing is served there.
    """
    parts = path.strip("/").split("/")
    match parts:
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            raise unknown_path()
    namespace: str | None = None
    match rest:
        case ["namespaces", found, inner, *tail] if inner not in NAMESPACES.subresources:
            namespace, rest = found, [inner, *tail]
    name: str | None = None
    subresource: str | None = None
    match rest:
        case [plural]:
            pass
        case [plural, name]:
            pass
        case [plural, name, subresource]:
            pass
        case _:
            raise unknown_path()
    resource = find_resource(group, version, plural)
    if resource is None or (namespace is not None and not resource.namespaced):
        raise unknown_path()
    if resource.namespaced and namespace is None and name is not None:
        raise unknown_path()
    if subresource is not None and subresource not in resource.subresources:
        raise unknown_path()
    return Target(resource=resource, namespace=namespace, name=name, subresource=subresource)
