"""Names of objects: how one part of the program tells another which Service or Pod it means."""

from __future__ import annotations

from typing import NamedTuple


class NamespacedName(NamedTuple):
    """The namespace and name of an object; prints as kubectl writes it, `namespace/name`."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> NamespacedName:
        """Read `namespace/name`.

        Raises ValueError for any other form.
        """
        namespace, slash, name = text.partition("/")
        if not (namespace and slash and name) or "/" in name:
            raise ValueError(f"{text!r} is not of the form namespace/name")
        return cls(namespace, name)


class ServicePortName(NamedTuple):
    """One port of one Service; `port` is the port's name, empty where the Service has a single nameless port."""

    service: NamespacedName
    port: str

    def __str__(self) -> str:
        return f"{self.service}:{self.port}" if self.port else str(self.service)
