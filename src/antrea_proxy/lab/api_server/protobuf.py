"""Reads the protobuf form of objects, in which `kubectl create configmap`, `create deployment` and the like send them.

Source: k8s.io/apimachinery `pkg/runtime/serializer/protobuf` (the envelope), the generated.proto files of k8s.io/api
(field numbers) and protobuf.dev/programming-guides/encoding. Answers are always JSON, which such clients accept too.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from antrea_proxy.lab.api_server.errors import JsonObject, bad_request, unsupported_media_type
from antrea_proxy.lab.api_server.lifecycle import timestamp
from antrea_proxy.lab.api_server.schema import FieldSchema, ObjectSchema, ValueType, schema_of

_MAGIC = b"k8s\0"
_FIELD_NUMBERS = {
    "ObjectMeta": (
        "1:name 2:generateName 3:namespace 4:selfLink 5:uid 6:resourceVersion 7:generation "
        "8:creationTimestamp 9:deletionTimestamp 10:deletionGracePeriodSeconds 11:labels 12:annotations "
        "13:ownerReferences 14:finalizers 17:managedFields"
    ),
    "OwnerReference": "1:kind 3:name 4:uid 5:apiVersion 6:controller 7:blockOwnerDeletion",
    "ConfigMap": "1:metadata 2:data 3:binaryData 4:immutable",
    "Secret": "1:metadata 2:data 3:type 4:stringData 5:immutable",
    "Namespace": "1:metadata 2:spec",
    "NamespaceSpec": "1:finalizers",
    "ServiceAccount": "1:metadata 2:secrets 3:imagePullSecrets 4:automountServiceAccountToken",
    "ObjectReference": "1:kind 2:namespace 3:name 4:uid 5:apiVersion 6:resourceVersion 7:fieldPath",
    "LocalObjectReference": "1:name",
    "Service": "1:metadata 2:spec",
    "ServiceSpec": (
        "1:ports 2:selector 3:clusterIP 4:type 5:externalIPs 7:sessionAffinity 8:loadBalancerIP "
        "9:loadBalancerSourceRanges 10:externalName 11:externalTrafficPolicy 12:healthCheckNodePort "
        "13:publishNotReadyAddresses 14:sessionAffinityConfig 17:ipFamilyPolicy 18:clusterIPs 19:ipFamilies "
        "20:allocateLoadBalancerNodePorts 21:loadBalancerClass 22:internalTrafficPolicy "
        "23:trafficDistribution"
    ),
    "ServicePort": "1:name 2:protocol 3:port 4:targetPort 5:nodePort 6:appProtocol",
    "SessionAffinityConfig": "1:clientIP",
    "ClientIPConfig": "1:timeoutSeconds",
    "Deployment": "1:metadata 2:spec",
    "DeploymentSpec": (
        "1:replicas 2:selector 3:template 4:strategy 5:minReadySeconds 6:revisionHistoryLimit 7:paused "
        "9:progressDeadlineSeconds"
    ),
    "DeploymentStrategy": "1:type 2:rollingUpdate",
    "RollingUpdateDeployment": "1:maxUnavailable 2:maxSurge",
    "LabelSelector": "1:matchLabels 2:matchExpressions",
    "LabelSelectorRequirement": "1:key 2:operator 3:values",
    "PodTemplateSpec": "1:metadata 2:spec",
    "PodSpec": (
        "1:volumes 2:containers 3:restartPolicy 4:terminationGracePeriodSeconds 5:activeDeadlineSeconds "
        "6:dnsPolicy 7:nodeSelector 8:serviceAccountName 9:serviceAccount 10:nodeName 11:hostNetwork "
        "12:hostPID 13:hostIPC 14:securityContext 15:imagePullSecrets 16:hostname 17:subdomain 18:affinity "
        "19:schedulerName 20:initContainers 21:automountServiceAccountToken 22:tolerations 23:hostAliases "
        "24:priorityClassName 25:priority 26:dnsConfig 27:shareProcessNamespace 28:readinessGates "
        "29:runtimeClassName 30:enableServiceLinks 31:preemptionPolicy 32:overhead "
        "33:topologySpreadConstraints 34:ephemeralContainers 35:setHostnameAsFQDN 36:os 37:hostUsers "
        "38:schedulingGates 39:resourceClaims 40:resources"
    ),
    "Container": (
        "1:name 2:image 3:command 4:args 5:workingDir 6:ports 7:env 8:resources 9:volumeMounts "
        "10:livenessProbe 11:readinessProbe 12:lifecycle 13:terminationMessagePath 14:imagePullPolicy "
        "15:securityContext 16:stdin 17:stdinOnce 18:tty 19:envFrom 20:terminationMessagePolicy "
        "21:volumeDevices 22:startupProbe 23:resizePolicy 24:restartPolicy"
    ),
    "ContainerPort": "1:name 2:hostPort 3:containerPort 4:protocol 5:hostIP",
    "EnvVar": "1:name 2:value 3:valueFrom",
    "ResourceRequirements": "1:limits 2:requests 3:claims",
}
"""Per message: NUMBER:FIELD. These are the messages that kubectl's `create` verbs write; more are not read."""

_NOT_READ = frozenset({"status", "managedFields"})
_ZERO_IS_SAID = frozenset(
    {
        "DeploymentSpec.replicas",
        "DeploymentSpec.revisionHistoryLimit",
        "DeploymentSpec.progressDeadlineSeconds",
        "PodSpec.terminationGracePeriodSeconds",
        "PodSpec.activeDeadlineSeconds",
        "PodSpec.automountServiceAccountToken",
        "PodSpec.enableServiceLinks",
        "ServiceAccount.automountServiceAccountToken",
        "ServiceSpec.allocateLoadBalancerNodePorts",
        "ClientIPConfig.timeoutSeconds",
    }
)
"""Pointers in the Go structs: there zero is a value. Elsewhere zero is written too, and means nothing."""

_SIGN_BIT, _WORD = 1 << 63, 1 << 64
_INT_OR_STRING_IS_STRING = 1


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, position


def _parts(data: bytes) -> Iterator[tuple[int, Any]]:
    """Split a message into (field number, int or bytes)."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        match tag & 7:
            case 0:
                value, position = _varint(data, position)
                yield tag >> 3, value - _WORD if value & _SIGN_BIT else value
                continue
            case 1:
                size = 8
            case 2:
                size, position = _varint(data, position)
            case 5:
                size = 4
            case other:
                raise ValueError(f"wire type {other} is unknown")
        if position + size > len(data):
            raise ValueError("the message ends in the middle of a field")
        yield tag >> 3, data[position : position + size]
        position += size


def decode_protobuf(body: bytes) -> JsonObject:
    """Decode an object with its envelope.

    Raises ApiError: 415 for a kind or a field that is not read in this form, 400 where the body is no such message.
    """
    if not body.startswith(_MAGIC):
        raise bad_request("the body of the request is not Kubernetes' protobuf: it does not begin with k8s\\0")
    try:
        envelope = dict(_parts(body[len(_MAGIC) :]))
        type_meta = {number: value.decode() for number, value in _parts(envelope[1])}
        api_version, kind = type_meta[1], type_meta[2]
        schema = schema_of(api_version, kind)
        fields = _message(schema, envelope.get(2, b""))
    except KeyError as cause:
        raise unsupported_media_type(f"the protobuf form of {cause} is not read here; send JSON") from cause
    except (ValueError, IndexError, AttributeError, TypeError) as cause:
        raise bad_request(f"the body of the request is not Kubernetes' protobuf: {cause}") from cause
    return {"kind": kind, "apiVersion": api_version, **fields}


def _message(schema: ObjectSchema, data: bytes) -> JsonObject:
    numbers = dict(item.split(":") for item in _FIELD_NUMBERS[schema.name].split())
    found: JsonObject = {}
    for number, raw in _parts(data):
        name = numbers.get(str(number), "status" if number == 3 else "")  # noqa: PLR2004 - status is field 3 of every kind
        if name in _NOT_READ:
            continue
        if not name:
            raise KeyError(f"{schema.name} with field {number}")
        field = schema.fields[name]
        if field.type in {ValueType.STRINGS_BY_NAME, ValueType.QUANTITIES_BY_NAME}:
            entry = dict(_parts(raw))
            found.setdefault(name, {})[entry[1].decode()] = _map_value(field, entry.get(2, b""))
        elif field.is_list:
            found.setdefault(name, []).append(_value(field, raw))
        elif (value := _value(field, raw)) or f"{schema.name}.{name}" in _ZERO_IS_SAID:
            found[name] = value
    return found


def _map_value(field: FieldSchema, raw: bytes) -> str:
    if field.type is ValueType.QUANTITIES_BY_NAME:
        quantity: bytes = dict(_parts(raw)).get(1, b"")
        return quantity.decode()
    binary = field.name == "binaryData" or (field.owner, field.name) == ("Secret", "data")
    return b64encode(raw).decode() if binary else raw.decode()


def _value(field: FieldSchema, raw: Any) -> Any:  # noqa: ANN401 - any JSON value
    match field.type:
        case ValueType.OBJECT:
            return _message(field.object, raw)
        case ValueType.BOOLEAN:
            return bool(raw)
        case ValueType.INTEGER:
            return int(raw)
        case ValueType.TIME:
            seconds = dict(_parts(raw)).get(1, 0)
            return timestamp(datetime.fromtimestamp(seconds, UTC)) if seconds > 0 else None
        case ValueType.INT_OR_STRING:
            parts = dict(_parts(raw))
            return parts.get(3, b"").decode() if parts.get(1) == _INT_OR_STRING_IS_STRING else parts.get(2, 0)
        case _:
            return raw.decode()
