"""POST, PUT, PATCH and DELETE."""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus

from antrea_proxy.lab.api_server import resources
from antrea_proxy.lab.api_server.applying import Applier
from antrea_proxy.lab.api_server.bodies import media_type, parse_json, parse_object, parse_yaml
from antrea_proxy.lab.api_server.conversion import check_object
from antrea_proxy.lab.api_server.errors import (
    ApiError,
    JsonObject,
    bad_request,
    forbidden_field,
    invalid_value,
    invalid_write_options,
    quoted,
    required,
    too_long,
    unsupported_media_type,
)
from antrea_proxy.lab.api_server.patches import PatchType
from antrea_proxy.lab.api_server.reading import Reader
from antrea_proxy.lab.api_server.records import encode
from antrea_proxy.lab.api_server.replies import Reply, list_bytes, object_reply
from antrea_proxy.lab.api_server.requests import Request, Target
from antrea_proxy.lab.api_server.store import Claim, Deletion, Propagation, Store, without_nulls

_APPLY_TYPE = "application/apply-patch+yaml"
_LONGEST_MANAGER = 128
_RETURNED_WHEN_DELETED = frozenset({resources.PODS, resources.SERVICES, resources.SERVICE_ACCOUNTS})


class FieldValidation(StrEnum):
    """What becomes of fields that the kind does not have."""

    IGNORE = "Ignore"
    WARN = "Warn"
    STRICT = "Strict"


def _field_validation(request: Request) -> FieldValidation:
    text = request.query.get("fieldValidation") or FieldValidation.WARN
    try:
        return FieldValidation(text)
    except ValueError as cause:
        raise bad_request(f"fieldValidation must be Ignore, Warn or Strict, not {quoted(text)}") from cause


def _is_dry_run(request: Request) -> bool:
    text = request.query.get("dryRun", "")
    if text not in {"", "All"}:
        raise bad_request(f"dryRun must be All, not {quoted(text)}")
    return text == "All"


def _writer(request: Request) -> str:
    """Give the name under which a request writes: fieldManager, else how the client calls itself.

    Raises ApiError: 422 for a name that is too long or cannot be printed.
    """
    name = request.query.get("fieldManager", "")
    if len(name) > _LONGEST_MANAGER:
        raise invalid_write_options(too_long("fieldManager", _LONGEST_MANAGER))
    if not name.isprintable():
        raise invalid_write_options(invalid_value("fieldManager", name, "should only contain printable characters"))
    return name or request.user_agent.partition("/")[0][:_LONGEST_MANAGER] or "unknown"


class Writer:
    """Performs writing requests on a store."""

    def __init__(self, store: Store, reader: Reader) -> None:
        self._store = store
        self._applier = Applier(store)
        self._reader = reader

    def create(self, request: Request, target: Target) -> Reply:
        """Answer POST."""
        if target.subresource in {"binding", "eviction"}:
            return self._act_on_pod(request, target)
        obj = parse_object(request)
        warnings = self._check(request, target, obj)
        self._place(target, obj)
        claim = self._claim(request, target)
        created = self._store.create(target.resource, obj, dry_run=_is_dry_run(request), claim=claim)
        return object_reply(created, status=HTTPStatus.CREATED, warnings=warnings)

    def update(self, request: Request, target: Target) -> Reply:
        """Answer PUT."""
        obj = parse_object(request)
        warnings = self._check(request, target, obj)
        self._place(target, obj)
        subresource = None if target.subresource == "finalize" else target.subresource
        updated = self._store.update(
            target.resource,
            obj,
            subresource=subresource,
            dry_run=_is_dry_run(request),
            claim=self._claim(request, target),
        )
        return object_reply(updated, warnings=warnings)

    def patch(self, request: Request, target: Target) -> Reply:
        """Answer PATCH."""
        if media_type(request) == _APPLY_TYPE:
            return self._apply(request, target)
        if request.query.get("force"):
            raise invalid_write_options(forbidden_field("force", "may not be specified for non-apply patch"))
        patch_type, patch = _read_patch(request)
        warnings: list[str] = []

        def check(patched: JsonObject) -> None:
            try:
                warnings.extend(self._check(request, target, patched))
            except ApiError as error:
                raise _patch_refused(request, error) from error

        patched = self._store.patch(
            target.resource,
            target.namespace,
            target.name or "",
            patch,
            patch_type=patch_type,
            subresource=target.subresource,
            dry_run=_is_dry_run(request),
            check=check,
            claim=self._claim(request, target),
        )
        return object_reply(patched, warnings=warnings)

    def _apply(self, request: Request, target: Target) -> Reply:
        """Answer PATCH with all that a manager wants of an object."""
        writer = _writer(request)
        applied = _read_applied(request)
        if unknown := check_object(target.resource, applied):
            path = unknown[0].removeprefix('unknown field "').removesuffix('"')
            kind = f"{target.resource.api_version}, Kind={target.resource.kind}"
            text = f"failed to create typed patch object ({target.namespace or ''}/{target.name}; {kind}): "
            raise bad_request(f"{text}.{path}: field not declared in schema")
        self._place(target, applied)
        obj, made = self._applier.apply(
            target.resource,
            target.namespace,
            target.name or "",
            applied,
            writer=writer,
            force=request.flag("force"),
            subresource=target.subresource,
            dry_run=_is_dry_run(request),
        )
        return object_reply(obj, status=HTTPStatus.CREATED if made else HTTPStatus.OK)

    def _claim(self, request: Request, target: Target) -> Claim | None:
        return self._applier.claim(target.resource, _writer(request), target.subresource)

    def delete(self, request: Request, target: Target) -> Reply:
        """Answer DELETE of one object."""
        deletion = self._delete(request, target.resource, target.namespace, target.name or "")
        if deletion.removed and target.resource not in _RETURNED_WHEN_DELETED:
            metadata = deletion.object["metadata"]
            details = {"name": metadata["name"], "kind": target.resource.plural, "uid": metadata["uid"]}
            if target.resource.group:
                details["group"] = target.resource.group
            status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
            return object_reply(status)
        return object_reply(deletion.object)

    def delete_collection(self, request: Request, target: Target) -> Reply:
        """Answer DELETE of all objects that the selectors match."""
        selection = self._reader.selection(request, target)
        items = []
        for record in self._store.records(target.resource, selection):
            deletion = self._delete(request, target.resource, record.namespace, record.name)
            items.append(encode(deletion.object))
        metadata: JsonObject = {"resourceVersion": str(self._store.resource_version)}
        kind = f"{target.resource.kind}List"
        return Reply(content=list_bytes(kind, target.resource.api_version, metadata, items))

    def _delete(self, request: Request, resource: resources.Resource, namespace: str | None, name: str) -> Deletion:
        options = parse_object(request) if request.body else {}
        grace = options.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
        propagation = options.get("propagationPolicy", request.query.get("propagationPolicy"))
        preconditions = _options(options, "preconditions")
        if options.get("orphanDependents"):
            propagation = Propagation.ORPHAN
        return self._store.delete(
            resource,
            namespace,
            name,
            grace_period_seconds=_grace(grace),
            propagation=_propagation(propagation),
            uid=preconditions.get("uid"),
            resource_version=preconditions.get("resourceVersion"),
            dry_run=_is_dry_run(request) or "All" in (options.get("dryRun") or ()),
        )

    def _act_on_pod(self, request: Request, target: Target) -> Reply:
        """Bind a Pod to a Node, or evict it (there are no disruption budgets here: an eviction is a deletion)."""
        body = parse_object(request)
        name = target.name or ""
        if target.subresource == "eviction":
            options = _options(body, "deleteOptions")
            grace = _grace(options.get("gracePeriodSeconds"))
            self._store.delete(target.resource, target.namespace, name, grace_period_seconds=grace)
        else:
            node = _options(body, "target").get("name")
            if not isinstance(node, str) or not node:
                raise bad_request("a Binding must name the Node in target.name")

            def bind(pod: JsonObject) -> None:
                pod["spec"]["nodeName"] = node

            self._store.modify(target.resource, target.namespace, name, bind)
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        return object_reply(status, status=HTTPStatus.CREATED)

    def _check(self, request: Request, target: Target, obj: JsonObject) -> list[str]:
        """Check types and names of fields; gives the warnings to send."""
        if target.subresource == "scale":
            unknown = check_object(target.resource, obj, api_version="autoscaling/v1", kind="Scale")
        else:
            unknown = check_object(target.resource, obj)
        match _field_validation(request):
            case FieldValidation.STRICT if unknown:
                kind, version = target.resource.kind, target.resource.version
                raise bad_request(
                    f'{kind} in version "{version}" cannot be handled as a {kind}: '
                    f"strict decoding error: {', '.join(unknown)}"
                )
            case FieldValidation.IGNORE:
                return []
        return unknown

    def _place(self, target: Target, obj: JsonObject) -> None:
        """Take namespace and name from the path, where the object leaves them out, and compare them where not."""
        metadata = obj["metadata"] = obj.get("metadata") or {}
        if target.resource.namespaced:
            if metadata.get("namespace") not in {None, "", target.namespace}:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = target.namespace or "default"
        if target.name is not None:
            if metadata.get("name") not in {None, "", target.name}:
                raise bad_request(
                    f"the name of the object ({metadata['name']}) does not match the name on the URL ({target.name})"
                )
            metadata["name"] = target.name


def _read_patch(request: Request) -> tuple[PatchType, object]:
    kind = media_type(request)
    try:
        patch_type = PatchType(kind)
    except ValueError as cause:
        readable = ", ".join([*(known.value for known in PatchType), _APPLY_TYPE])
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {readable}"
        ) from cause
    body = request.body
    return patch_type, parse_json(body) if body.lstrip()[:1] in {b"{", b"["} else parse_yaml(body)


def _read_applied(request: Request) -> JsonObject:
    """Read an applied configuration.

    Raises ApiError: 400 where it is no object, lacks its kind, or says who owns its fields; 422 without fieldManager.
    """
    if not request.query.get("fieldManager"):
        raise invalid_write_options(required("fieldManager", "is required for apply patch"))
    found = parse_yaml(request.body) if request.body.lstrip()[:1] != b"{" else parse_json(request.body)
    if not isinstance(found, dict):
        raise bad_request("the body of the request is not an object with fields")
    applied = without_nulls(found)
    for name in ("apiVersion", "kind"):
        if not applied.get(name):
            raise bad_request(f"an applied configuration must have {name}")
    metadata = applied.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise bad_request("metadata is not an object with fields")
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    return applied


def _patch_refused(request: Request, error: ApiError) -> ApiError:
    """Say of an unknown field in a patch what the real server says: that the patch is invalid."""
    marker = "strict decoding error: "
    if marker not in error.message:
        return error
    detail = marker + error.message.partition(marker)[2]
    message = f"Invalid value: {quoted(request.body.decode(errors='replace'))}: {detail}"
    cause = {"reason": "FieldValueInvalid", "message": message, "field": "patch"}
    return ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", f' "" is invalid: patch: {message}', {"causes": [cause]}
    )


def _options(body: JsonObject, name: str) -> JsonObject:
    found = body.get(name) or {}
    if not isinstance(found, dict):
        raise bad_request(f"{name} is not an object with fields")
    return found


def _grace(value: object) -> int | None:
    if value in (None, ""):
        return None
    try:
        seconds = int(str(value))
    except ValueError as cause:
        raise bad_request(f"gracePeriodSeconds must be a whole number of seconds, not {value!r}") from cause
    return max(seconds, 0)


def _propagation(value: object) -> Propagation | None:
    if value in (None, ""):
        return None
    try:
        return Propagation(str(value))
    except ValueError as cause:
        known = ", ".join(Propagation)
        raise bad_request(f"propagationPolicy must be one of {known}, not {value!r}") from cause
