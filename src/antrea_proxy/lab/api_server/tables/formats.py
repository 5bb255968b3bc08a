"""What a table of one kind consists of, and pieces that several kinds print alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from antrea_proxy.lab.api_server.errors import JsonObject
from antrea_proxy.lab.api_server.tables.durations import age

Cells = list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column; those of priority 1 are shown by `kubectl get -o wide` only."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0

    def to_object(self) -> JsonObject:
        """Give the metav1.TableColumnDefinition."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or self.name,
            "priority": self.priority,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFormat:
    """How objects of one kind become rows."""

    columns: tuple[Column, ...]
    cells: Callable[[JsonObject, datetime], Cells]


NAME = Column(name="Name", format="name", description="Name must be unique within a namespace.")
AGE = Column(name="Age", description="How long ago the object was created.")


def wide(name: str) -> Column:
    """Describe a column that only `-o wide` shows."""
    return Column(name=name, priority=1)


def created(obj: JsonObject, now: datetime) -> str:
    """Print the age of an object."""
    return age(obj["metadata"].get("creationTimestamp"), now)


def pairs(mapping: dict[str, str] | None) -> str:
    """Print labels or a selector: `a=1,b=2`, `<none>` where there are none."""
    return ",".join(f"{key}={value}" for key, value in sorted((mapping or {}).items())) or "<none>"


def label_selector(selector: JsonObject | None) -> str:
    """Print a metav1.LabelSelector."""
    selector = selector or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or ():
        values = ",".join(expression.get("values") or ())
        match expression.get("operator"):
            case "In":
                parts.append(f"{expression.get('key')} in ({values})")
            case "NotIn":
                parts.append(f"{expression.get('key')} notin ({values})")
            case "Exists":
                parts.append(expression.get("key", ""))
            case _:
                parts.append(f"!{expression.get('key')}")
    return ",".join(parts) or "<none>"


def containers(template: JsonObject | None) -> tuple[str, str]:
    """Print the names and the images of a Pod template's containers."""
    found = ((template or {}).get("spec") or {}).get("containers") or ()
    return ",".join(item["name"] for item in found), ",".join(item.get("image", "") for item in found)


def some(items: Iterable[str], maximum: int) -> str:
    """Print the first few of a list and say how many more there are, as EndpointSlices do."""
    listed = list(items)
    if not listed:
        return "<unset>"
    text = ",".join(listed[:maximum])
    return text if len(listed) <= maximum else f"{text} + {len(listed) - maximum} more..."
