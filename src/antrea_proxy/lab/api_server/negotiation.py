"""In which form a client wants its answer: the Accept header."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from antrea_proxy.lab.api_server.errors import not_acceptable


class Form(Enum):
    """Forms in which objects are shown; the value is the `as` parameter of the media type."""

    OBJECT = ""
    TABLE = "Table"
    PARTIAL_METADATA = "PartialObjectMetadata"
    PARTIAL_METADATA_LIST = "PartialObjectMetadataList"
    AGGREGATED_DISCOVERY = "APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The form chosen, and the media type to answer with."""

    form: Form
    version: str = ""
    content_type: str = "application/json"


_SERVED_VERSIONS = {
    Form.TABLE: {"v1": "meta.k8s.io", "v1beta1": "meta.k8s.io"},
    Form.PARTIAL_METADATA: {"v1": "meta.k8s.io"},
    Form.PARTIAL_METADATA_LIST: {"v1": "meta.k8s.io"},
    Form.AGGREGATED_DISCOVERY: {"v2": "apidiscovery.k8s.io"},
}


def negotiate(accept: str, *, forms: frozenset[Form]) -> Accepted:
    """Choose the first form of the Accept header that is among `forms`; the plain object is always served.

    Raises ApiError (406) where no JSON is accepted.
    """
    for offer in (accept or "*/*").split(","):
        media_type, *parameters = (part.strip() for part in offer.split(";"))
        if media_type not in {"application/json", "application/*", "*/*"}:
            continue
        options = dict(part.split("=", 1) for part in parameters if "=" in part)
        wanted = options.get("as", "")
        if not wanted:
            return Accepted(Form.OBJECT)
        form = next((form for form in forms if form.value == wanted), None)
        if form is None or _SERVED_VERSIONS[form].get(options.get("v", "")) != options.get("g"):
            continue
        content_type = f"application/json;g={options['g']};v={options['v']};as={wanted}"
        return Accepted(form, options["v"], content_type if form is Form.AGGREGATED_DISCOVERY else "application/json")
    raise not_acceptable(["application/json"])
