"""Rules of ClusterRoles and ClusterRoleBindings. Source: kubernetes `pkg/apis/rbac/validation`.

The lab keeps them and asks none: whoever has its kubeconfig may do everything.
"""

from __future__ import annotations

from antrea_proxy.lab.api_server.errors import FieldError, JsonObject, invalid_value, not_supported, required
from antrea_proxy.lab.api_server.kinds.strategy import Strategy

_GROUP = "rbac.authorization.k8s.io"
_SUBJECTS = ("ServiceAccount", "User", "Group")


def _any_name(_name: str) -> list[str]:
    """Roles have names of any characters but `/` and `%`, which the path of a request rules out by itself."""
    return []


def _role_errors(role: JsonObject) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, rule in enumerate(role.get("rules") or ()):
        path = f"rules[{index}]"
        if not rule.get("verbs"):
            errors.append(required(f"{path}.verbs", "verbs must contain at least one value"))
        if rule.get("nonResourceURLs"):
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                detail = "rules cannot apply to both regular resources and non-resource URLs"
                errors.append(invalid_value(f"{path}.nonResourceURLs", rule["nonResourceURLs"], detail))
            continue
        if not rule.get("apiGroups"):
            errors.append(required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.get("resources"):
            errors.append(required(f"{path}.resources", "resource rules must supply at least one resource"))
    return errors


def _default_binding(binding: JsonObject) -> None:
    if (role := binding.get("roleRef")) is not None and not role.get("apiGroup"):
        role["apiGroup"] = _GROUP
    for subject in binding.get("subjects") or ():
        if not subject.get("apiGroup") and subject.get("kind") in {"User", "Group"}:
            subject["apiGroup"] = _GROUP


def _binding_errors(binding: JsonObject) -> list[FieldError]:
    errors: list[FieldError] = []
    role = binding.get("roleRef") or {}
    if role.get("apiGroup") != _GROUP:
        errors.append(not_supported("roleRef.apiGroup", role.get("apiGroup", ""), (_GROUP,)))
    if role.get("kind") != "ClusterRole":
        errors.append(not_supported("roleRef.kind", role.get("kind", ""), ("ClusterRole",)))
    if not role.get("name"):
        errors.append(required("roleRef.name"))
    for index, subject in enumerate(binding.get("subjects") or ()):
        path = f"subjects[{index}]"
        if not subject.get("name"):
            errors.append(required(f"{path}.name"))
        if subject.get("kind") not in _SUBJECTS:
            errors.append(not_supported(f"{path}.kind", subject.get("kind", ""), _SUBJECTS))
        elif subject["kind"] == "ServiceAccount" and not subject.get("namespace"):
            errors.append(required(f"{path}.namespace"))
    return errors


def _binding_change_errors(new: JsonObject, old: JsonObject) -> list[FieldError]:
    if new.get("roleRef") == old.get("roleRef"):
        return []
    return [invalid_value("roleRef", new.get("roleRef"), "cannot change roleRef")]


CLUSTER_ROLE_STRATEGY = Strategy(name_errors=_any_name, validate=_role_errors)
CLUSTER_ROLE_BINDING_STRATEGY = Strategy(
    name_errors=_any_name,
    default=_default_binding,
    validate=_binding_errors,
    validate_change=_binding_change_errors,
)
