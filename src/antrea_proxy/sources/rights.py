"""Which rule a ClusterRole lacks where the API server answers 403 (Kubernetes "Using RBAC Authorization")."""

from __future__ import annotations

from typing import Final

_VERBS: Final = {"GET": "list, watch", "POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


def missing_right(method: str, path: str, origin: str) -> str:
    """Say whom to grant what, as the rule that a ClusterRole must have; `path` is the request's."""
    match path.strip("/").split("/"):
        case ["api", _, *rest]:
            group = ""
        case ["apis", group, _, *rest]:
            pass
        case _:
            return f"grant the user of {origin} the right to {method.lower()} {path} (nonResourceURLs of a ClusterRole)"
    if rest[:1] == ["namespaces"] and len(rest) > 2:  # noqa: PLR2004  # namespaces/NAME before the resource
        rest = rest[2:]
    resource = "/".join([*rest[:1], *rest[2:]])
    return (
        f"add to a ClusterRole of the user of {origin} the rule "
        f'{{apiGroups: ["{group}"], resources: [{resource}], verbs: [{_VERBS.get(method, method.lower())}]}}'
    )
