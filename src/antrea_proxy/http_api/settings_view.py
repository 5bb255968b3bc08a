"""Settings as antrea-agent.conf writes them: the same keys, nested as there."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, TypeAlias

from antrea_proxy.settings import Settings, SkipServices
from antrea_proxy.settings.feature_gates import GATES
from antrea_proxy.settings.known_keys import USED

Json: TypeAlias = dict[str, Any]

_GATES: Final = "featureGates"


def settings_view(settings: Settings) -> Json:
    """Show every key that decides something, defaults too, as plain JSON values."""
    found: Json = {_GATES: {name: settings.feature_gates.enabled(name) for name, gate in GATES.items() if gate.used}}
    for path in USED:
        if path == _GATES:
            continue
        section, value = found, settings
        *sections, key = path.split(".")
        for part in sections:
            section, value = section.setdefault(part, {}), _attribute(value, part)
        section[key] = _plain(_attribute(value, key))
    return found


def _attribute(owner: object, key: str) -> Any:  # noqa: ANN401 - of any field
    """The field of `owner` whose name is the key in snake case, however its capitals are grouped there."""
    wanted = key.lower()
    name = next(name for name in dir(owner) if name.replace("_", "") == wanted)
    return getattr(owner, name)


def _plain(value: object) -> object:
    match value:
        case Enum():
            return value.value
        case bool() | int() | str():
            return value
        case None:
            return ""
        case SkipServices():
            return sorted([*("/".join(name) for name in value.names), *map(str, value.cluster_ips)])
        case tuple():
            return [_plain(item) for item in value]
        case _:
            return str(value)
