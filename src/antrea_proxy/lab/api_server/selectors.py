"""Label and field selectors: the query parameters that narrow lists and watches.

Grammar and messages follow k8s.io/apimachinery `pkg/labels` and `pkg/fields`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from antrea_proxy.lab.api_server import resources
from antrea_proxy.lab.api_server.errors import JsonObject, bad_request
from antrea_proxy.lab.api_server.records import Event, EventType, Record
from antrea_proxy.lab.api_server.resources import Resource

_KEY = r"(?:[A-Za-z0-9.-]+/)?[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)?"
_SET_FORM = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EQUALITY_FORM = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_ORDER_FORM = re.compile(rf"({_KEY})\s*([<>])\s*(-?[0-9]+)")
_EXISTENCE_FORM = re.compile(rf"(!?)\s*({_KEY})")
_COMMA_OUTSIDE_OF_SETS = re.compile(r",(?![^()]*\))")

Test = Callable[[Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Requirements that an object's labels must all meet."""

    tests: tuple[Test, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the labels meet every requirement."""
        return all(test(labels) for test in self.tests)

    @classmethod
    def parse(cls, text: str) -> LabelSelector:
        """Read a selector such as `app=web,tier in (a, b),!legacy`.

        Raises ApiError (400) where the text is no selector.
        """
        if not text.strip():
            return cls()
        return cls(tuple(_requirement(part.strip(), text) for part in _COMMA_OUTSIDE_OF_SETS.split(text)))

    @classmethod
    def from_object(cls, selector: Mapping[str, Any]) -> LabelSelector:
        """Read a metav1.LabelSelector: matchLabels and matchExpressions."""
        tests = [_among(key, frozenset({value})) for key, value in (selector.get("matchLabels") or {}).items()]
        tests.extend(_expression(expression) for expression in selector.get("matchExpressions") or ())
        return cls(tuple(tests))


def _among(key: str, values: frozenset[str]) -> Test:
    return lambda labels: labels.get(key) in values


def _not_among(key: str, values: frozenset[str]) -> Test:
    return lambda labels: labels.get(key) not in values


def _exists(key: str) -> Test:
    return lambda labels: key in labels


def _absent(key: str) -> Test:
    return lambda labels: key not in labels


def _ordered(key: str, sign: str, bound: int) -> Test:
    def compare(labels: Mapping[str, str]) -> bool:
        try:
            value = int(labels[key])
        except (KeyError, ValueError):
            return False
        return value > bound if sign == ">" else value < bound

    return compare


def _expression(expression: Mapping[str, Any]) -> Test:
    key, values = expression["key"], frozenset(expression.get("values") or ())
    match expression["operator"]:
        case "In":
            return _among(key, values)
        case "NotIn":
            return _not_among(key, values)
        case "Exists":
            return _exists(key)
        case "DoesNotExist":
            return _absent(key)
        case other:
            raise bad_request(f'"{other}" is not a valid label selector operator')


def _requirement(part: str, whole: str) -> Test:
    if found := _SET_FORM.fullmatch(part):
        values = frozenset(value.strip() for value in found[3].split(","))
        return _among(found[1], values) if found[2] == "in" else _not_among(found[1], values)
    if found := _EQUALITY_FORM.fullmatch(part):
        values = frozenset({found[3]})
        return _not_among(found[1], values) if found[2] == "!=" else _among(found[1], values)
    if found := _ORDER_FORM.fullmatch(part):
        return _ordered(found[1], found[2], int(found[3]))
    if found := _EXISTENCE_FORM.fullmatch(part):
        return _absent(found[2]) if found[1] else _exists(found[2])
    raise bad_request(f'unable to parse requirement: "{part}" in the label selector "{whole}" is not understood')


def _at(obj: JsonObject, path: str) -> str:
    value: object = obj
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


_EVENT_OBJECT_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_FIELDS: dict[Resource, dict[str, str]] = {
    resources.PODS: {
        path: path
        for path in (
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        )
    },
    resources.NODES: {"spec.unschedulable": "spec.unschedulable"},
    resources.NAMESPACES: {"status.phase": "status.phase", "name": "metadata.name"},
    resources.SECRETS: {"type": "type"},
    resources.SERVICES: {"spec.clusterIP": "spec.clusterIP", "spec.type": "spec.type"},
    resources.REPLICA_SETS: {"status.replicas": "status.replicas"},
    resources.EVENTS: {
        **{f"involvedObject.{name}": f"involvedObject.{name}" for name in _EVENT_OBJECT_FIELDS},
        "reason": "reason",
        "reportingComponent": "reportingComponent",
        "source": "source.component",
        "type": "type",
    },
    resources.EVENTS_V1: {
        **{f"regarding.{name}": f"regarding.{name}" for name in _EVENT_OBJECT_FIELDS},
        "reason": "reason",
        "reportingController": "reportingController",
        "type": "type",
    },
}
"""For each kind the field labels that can be selected by, and the path of the value."""


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Fields that must, or must not, have a value."""

    requirements: tuple[tuple[str, bool, str], ...] = ()
    """(path, whether equal is wanted, value)."""

    def matches(self, record: Record) -> bool:
        """Tell whether the object meets every requirement. Decodes the object only where names do not suffice."""
        obj: JsonObject | None = None
        for path, wanted, value in self.requirements:
            if path == "metadata.name":
                found = record.name
            elif path == "metadata.namespace":
                found = record.namespace
            else:
                obj = record.object if obj is None else obj
                found = _at(obj, path)
            if (found == value) is not wanted:
                return False
        return True

    @classmethod
    def parse(cls, resource: Resource, text: str) -> FieldSelector:
        """Read a selector such as `spec.nodeName=node-1,status.phase!=Running`.

        Raises ApiError (400) where the text is no selector, or the kind cannot be selected by the field.
        """
        known = {"metadata.name": "metadata.name", **_FIELDS.get(resource, {})}
        if resource.namespaced:
            known["metadata.namespace"] = "metadata.namespace"
        requirements = []
        for part in filter(None, re.split(r"(?<!\\),", text)):
            found = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", part.strip(), re.DOTALL)
            if found is None:
                raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
            if found[1] not in known:
                raise bad_request(f"field label not supported: {found[1]}")
            value = re.sub(r"\\([\\,=])", r"\1", found[3])
            requirements.append((known[found[1]], found[2] != "!=", value))
        return cls(tuple(requirements))


@dataclass(frozen=True, slots=True)
class Selection:
    """What a list or watch is narrowed to."""

    namespace: str | None = None
    labels: LabelSelector = LabelSelector()
    fields: FieldSelector = FieldSelector()

    def matches(self, record: Record) -> bool:
        """Tell whether the object is selected."""
        if self.namespace is not None and record.namespace != self.namespace:
            return False
        return self.labels.matches(record.labels) and self.fields.matches(record)

    @property
    def is_everything(self) -> bool:
        """Whether nothing beyond the namespace narrows the list."""
        return not self.labels.tests and not self.fields.requirements


def selection_of(
    resource: Resource,
    namespace: str | None,
    label_selector: LabelSelector | str | None,
    field_selector: str | None,
) -> Selection:
    """Read what a list or watch is narrowed to. Raises ApiError (400) for a selector that is none."""
    labels = label_selector if isinstance(label_selector, LabelSelector) else LabelSelector.parse(label_selector or "")
    fields = FieldSelector.parse(resource, field_selector or "")
    return Selection(namespace=namespace or None, labels=labels, fields=fields)


def select_event(event: Event, selection: Selection) -> Event | None:
    """Show an event as a narrowed watch sees it: what begins to match is ADDED, what ceases to is DELETED."""
    if selection.is_everything:
        return event if selection.namespace in (None, event.record.namespace) else None
    matched = event.previous is not None and selection.matches(event.previous)
    matches = event.type is not EventType.DELETED and selection.matches(event.record)
    if event.type is EventType.DELETED:
        return event if matched else None
    if matches:
        kind = EventType.MODIFIED if matched else EventType.ADDED
    elif matched:
        kind = EventType.DELETED
    else:
        return None
    return Event(type=kind, resource=event.resource, record=event.record, previous=event.previous)
