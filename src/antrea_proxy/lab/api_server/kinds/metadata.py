"""Checks of metadata that hold for every kind.

Source: k8s.io/apimachinery `pkg/api/validation`.
"""

from __future__ import annotations

from collections.abc import Callable

from antrea_proxy.lab.api_server.errors import (
    FieldError,
    FieldErrorKind,
    JsonObject,
    invalid_value,
    required,
)
from antrea_proxy.lab.api_server.kinds.names import dns_label_errors, label_value_errors, qualified_name_errors

LARGEST_ANNOTATIONS = 256 * 1024
"""Bytes of all keys and values together."""


def label_errors(path: str, labels: JsonObject | None) -> list[FieldError]:
    """Check a map of labels."""
    errors: list[FieldError] = []
    for key, value in (labels or {}).items():
        errors.extend(invalid_value(path, key, complaint) for complaint in qualified_name_errors(key))
        errors.extend(invalid_value(path, value, complaint) for complaint in label_value_errors(value))
    return errors


def _annotation_errors(annotations: JsonObject | None) -> list[FieldError]:
    path = "metadata.annotations"
    errors: list[FieldError] = []
    size = 0
    for key, value in (annotations or {}).items():
        errors.extend(invalid_value(path, key, complaint) for complaint in qualified_name_errors(key.lower()))
        size += len(key) + len(value.encode())
    if size > LARGEST_ANNOTATIONS:
        detail = f"may not be more than {LARGEST_ANNOTATIONS} bytes"
        errors.append(FieldError(path, FieldErrorKind.TOO_LONG, detail=detail))
    return errors


def _owner_errors(owners: list[JsonObject] | None) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, owner in enumerate(owners or ()):
        path = f"metadata.ownerReferences[{index}]"
        for name, words in (
            ("apiVersion", "version must not be empty"),
            ("kind", "kind must not be empty"),
            ("name", "name must not be empty"),
            ("uid", "uid must not be empty"),
        ):
            if not owner.get(name):
                errors.append(invalid_value(f"{path}.{name}", owner.get(name, ""), words))
    controllers = [owner.get("name", "") for owner in owners or () if owner.get("controller")]
    if len(controllers) > 1:
        detail = (
            "Only one reference can have Controller set to true. "
            f'Found "true" in references for {controllers[0]} and {controllers[1]}'
        )
        errors.append(invalid_value("metadata.ownerReferences", owners, detail))
    return errors


def metadata_errors(
    metadata: JsonObject, *, namespaced: bool, name_errors: Callable[[str], list[str]]
) -> list[FieldError]:
    """Check the metadata of an object that is about to be kept."""
    errors: list[FieldError] = []
    if generate := metadata.get("generateName"):
        trial = generate[:-1] + "a" if generate.endswith("-") else generate
        errors.extend(invalid_value("metadata.generateName", generate, text) for text in name_errors(trial))
    if not (name := metadata.get("name")):
        errors.append(required("metadata.name", "name or generateName is required"))
    else:
        errors.extend(invalid_value("metadata.name", name, text) for text in name_errors(name))
    if namespaced:
        namespace = metadata["namespace"]
        errors.extend(invalid_value("metadata.namespace", namespace, text) for text in dns_label_errors(namespace))
    elif metadata.get("namespace"):
        errors.append(FieldError("metadata.namespace", FieldErrorKind.FORBIDDEN, detail="not allowed on this type"))
    errors.extend(label_errors("metadata.labels", metadata.get("labels")))
    errors.extend(_annotation_errors(metadata.get("annotations")))
    errors.extend(_owner_errors(metadata.get("ownerReferences")))
    for finalizer in metadata.get("finalizers") or ():
        errors.extend(
            invalid_value("metadata.finalizers", finalizer, complaint) for complaint in qualified_name_errors(finalizer)
        )
    return errors
