"""The Container Network Interface as values: requests, network configurations, results and errors.

Pure. The rules are those of the CNI specification 1.1.0; of earlier versions 0.3.0, 0.3.1, 0.4.0 and 1.0.0 are spoken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from ipaddress import ip_interface
from typing import NamedTuple

import msgspec

from antrea_proxy.cni.codes import NEWEST_VERSION, SUPPORTED_VERSIONS, ErrorCode
from antrea_proxy.cni.errors import CniError
from antrea_proxy.kubernetes.names import NamespacedName


class Command(Enum):
    """The operations (section 2). VERSION is answered by the plugin itself."""

    ADD = "ADD"
    DEL = "DEL"
    CHECK = "CHECK"
    GC = "GC"
    STATUS = "STATUS"


_SINCE = {Command.CHECK: "0.4.0", Command.GC: "1.1.0", Command.STATUS: "1.1.0"}
_FOR_CONTAINER = frozenset({Command.ADD, Command.DEL, Command.CHECK})
_CONTAINER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_NETWORK_NAME = _CONTAINER_ID
_POD_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_MAXIMUM_POD_NAME = 253
_MAXIMUM_INTERFACE_NAME = 15


class AttachmentKey(NamedTuple):
    """What the runtime means: an interface inside of a container's sandbox. Prints as `container/interface`."""

    container_id: str
    interface: str

    def __str__(self) -> str:
        return f"{self.container_id}/{self.interface}"


class Interface(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={"socket_path": "socketPath", "pci_id": "pciID"},
):
    """One of a result's `interfaces`; an empty `sandbox` means the Node. `mtu` in bytes, 0 for not said."""

    name: str
    mac: str = ""
    mtu: int = 0
    sandbox: str = ""
    socket_path: str = ""
    pci_id: str = ""


class IpConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of a result's `ips`; `address` with its prefix length, `interface` an index, `version` before 1.0.0 only."""

    address: str
    version: str = ""
    gateway: str = ""
    interface: int | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of a result's `routes`."""

    dst: str
    gw: str = ""
    mtu: int = 0
    advmss: int = 0
    priority: int = 0
    table: int | None = None
    scope: int | None = None


class Dns(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Name resolution: a network configuration's, handed on in the result."""

    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"cni_version": "cniVersion"}):
    """The success result of ADD, and what comes back as `prevResult`."""

    cni_version: str = ""
    interfaces: tuple[Interface, ...] = ()
    ips: tuple[IpConfig, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: Dns = Dns()

    def following(self, previous: Result | None) -> Result:
        """Return this result added to that of the plugins before us in a chain (section 3, ADD)."""
        if previous is None:
            return self
        before = len(previous.interfaces)
        shifted = (
            msgspec.structs.replace(ip, interface=None if ip.interface is None else ip.interface + before)
            for ip in self.ips
        )
        return Result(
            interfaces=previous.interfaces + self.interfaces,
            ips=previous.ips + tuple(shifted),
            routes=previous.routes + self.routes,
            dns=self.dns if self.dns != Dns() else previous.dns,
        )


class _Attachment(msgspec.Struct, frozen=True, kw_only=True, rename={"container_id": "containerID"}):
    container_id: str
    ifname: str


class _Ipam(msgspec.Struct, frozen=True, kw_only=True):
    type: str = ""


class NetworkConfiguration(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename={
        "cni_version": "cniVersion",
        "previous_result": "prevResult",
        "valid_attachments": "cni.dev/valid-attachments",
    },
):
    """The fields of a plugin's configuration (section 1) that are read here; others belong to other plugins."""

    cni_version: str = "0.1.0"
    name: str = ""
    ipam: _Ipam = _Ipam()
    dns: Dns = Dns()
    previous_result: Result | None = None
    valid_attachments: tuple[_Attachment, ...] | msgspec.UnsetType | None = msgspec.UNSET


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose every parameter is present and well formed, as its command needs them.

    `key` is set for ADD, DEL and CHECK; `pod` for ADD; `netns` for ADD and CHECK, and for DEL if the runtime still has
    one; `valid_attachments` for GC.
    """

    command: Command
    version: str
    key: AttachmentKey | None = None
    netns: str = ""
    pod: NamespacedName | None = None
    dns: Dns = Dns()
    previous_result: Result | None = None
    valid_attachments: frozenset[AttachmentKey] = frozenset()


def parse_request(environment: Mapping[str, str], configuration: str) -> Request:
    """Read a request from its environment variables and the text of its network configuration.

    Raises CniError, with the specification's code, for a parameter that is absent, malformed or not supported.
    """
    command = _command(environment)
    config = _configuration(command, configuration)
    request = Request(
        command=command,
        version=config.cni_version,
        dns=config.dns,
        previous_result=config.previous_result,
    )
    if command in _FOR_CONTAINER:
        request = _with_container(request, environment)
    if command is Command.CHECK and config.previous_result is None:
        raise CniError(
            ErrorCode.INVALID_CONFIGURATION,
            "CHECK needs prevResult, the result of the ADD, in the network configuration",
        )
    if command is Command.GC:
        if config.valid_attachments is msgspec.UNSET:
            raise CniError(
                ErrorCode.INVALID_CONFIGURATION,
                "GC needs cni.dev/valid-attachments in the network configuration; without it nothing is removed",
            )
        named = config.valid_attachments or ()  # libcni writes an empty list of Go as null
        valid = frozenset(AttachmentKey(each.container_id, each.ifname) for each in named)
        request = msgspec.structs.replace(request, valid_attachments=valid)
    return request


def answer_version(configuration: str) -> str:
    """Return the version in which to speak to a runtime whose request may be malformed."""
    try:
        version = msgspec.json.decode(configuration, type=NetworkConfiguration).cni_version
    except msgspec.MsgspecError:
        return NEWEST_VERSION
    return version if version in SUPPORTED_VERSIONS else NEWEST_VERSION


def encode_result(result: Result, version: str) -> str:
    """Return the JSON of a success result in the form of `version`, one of SUPPORTED_VERSIONS."""
    if _number(version) < _number("1.1.0"):
        result = msgspec.structs.replace(
            result,
            interfaces=tuple(
                Interface(name=each.name, mac=each.mac, sandbox=each.sandbox) for each in result.interfaces
            ),
            routes=tuple(Route(dst=each.dst, gw=each.gw) for each in result.routes),
        )
    if _number(version) < _number("1.0.0"):
        ips = (msgspec.structs.replace(ip, version=str(ip_interface(ip.address).version)) for ip in result.ips)
    else:
        ips = (msgspec.structs.replace(ip, version="") for ip in result.ips)
    return msgspec.json.encode(msgspec.structs.replace(result, cni_version=version, ips=tuple(ips))).decode()


def encode_error(error: CniError, version: str) -> str:
    """Return the JSON of an error result (section 5)."""
    return msgspec.json.encode({"cniVersion": version, "code": int(error.code), "msg": error.message}).decode()


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _command(environment: Mapping[str, str]) -> Command:
    text = environment.get("CNI_COMMAND", "")
    try:
        return Command(text)
    except ValueError as error:
        known = ", ".join([*(each.value for each in Command), "VERSION"])
        raise CniError(ErrorCode.INVALID_ENVIRONMENT, f"CNI_COMMAND is {text!r}, not one of {known}") from error


def _configuration(command: Command, text: str) -> NetworkConfiguration:
    try:
        config = msgspec.json.decode(text, type=NetworkConfiguration)
    except msgspec.ValidationError as error:
        raise CniError(ErrorCode.INVALID_CONFIGURATION, f"network configuration: {error}") from error
    except msgspec.DecodeError as error:
        raise CniError(ErrorCode.DECODING_FAILURE, f"the network configuration is not JSON: {error}") from error
    version = config.cni_version
    if version not in SUPPORTED_VERSIONS:
        raise CniError(
            ErrorCode.INCOMPATIBLE_VERSION,
            f"cniVersion {version} is not supported: use one of {', '.join(SUPPORTED_VERSIONS)}",
        )
    since = _SINCE.get(command)
    if since is not None and _number(version) < _number(since):
        raise CniError(
            ErrorCode.INCOMPATIBLE_VERSION,
            f"{command.value} exists from cniVersion {since} on; the network configuration has {version}",
        )
    if not _NETWORK_NAME.fullmatch(config.name):
        raise CniError(
            ErrorCode.INVALID_CONFIGURATION,
            f"name of the network configuration is {config.name!r}: "
            "it starts with a letter or digit, then letters, digits, _ . -",
        )
    if config.ipam.type not in {"", "host-local"}:
        raise CniError(
            ErrorCode.UNSUPPORTED_FIELD,
            f"ipam.type {config.ipam.type!r} of the network configuration is not supported: "
            "addresses come from the Node's podCIDR; remove ipam, or say host-local",
        )
    return config


def _with_container(request: Request, environment: Mapping[str, str]) -> Request:
    container_id = environment.get("CNI_CONTAINERID", "")
    if not _CONTAINER_ID.fullmatch(container_id):
        raise CniError(
            ErrorCode.INVALID_ENVIRONMENT,
            f"CNI_CONTAINERID is {container_id!r}: it starts with a letter or digit, then letters, digits, _ . -",
        )
    key = AttachmentKey(container_id, _interface_name(environment))
    netns = environment.get("CNI_NETNS", "")
    if request.command is not Command.DEL and not netns:
        raise CniError(
            ErrorCode.INVALID_ENVIRONMENT,
            f"CNI_NETNS is not set; {request.command.value} needs the network namespace's path",
        )
    pod = _pod_name(_arguments(environment.get("CNI_ARGS", ""))) if request.command is Command.ADD else None
    return msgspec.structs.replace(request, key=key, netns=netns, pod=pod)


def _interface_name(environment: Mapping[str, str]) -> str:
    name = environment.get("CNI_IFNAME", "")
    if (
        not name
        or name in {".", ".."}
        or len(name.encode()) > _MAXIMUM_INTERFACE_NAME
        or any(each in "/:" or each.isspace() for each in name)
    ):
        raise CniError(
            ErrorCode.INVALID_ENVIRONMENT,
            f"CNI_IFNAME is {name!r}: give 1 to {_MAXIMUM_INTERFACE_NAME} bytes, no slash, colon or space, not . or ..",
        )
    return name


def _arguments(text: str) -> dict[str, str]:
    arguments = {}
    for pair in filter(None, text.split(";")):
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise CniError(ErrorCode.INVALID_ENVIRONMENT, f"CNI_ARGS has {pair!r}, which is not of the form NAME=VALUE")
        arguments[name] = value
    return arguments


def _pod_name(arguments: Mapping[str, str]) -> NamespacedName:
    pod = NamespacedName(arguments.get("K8S_POD_NAMESPACE", ""), arguments.get("K8S_POD_NAME", ""))
    for argument, value in zip(("K8S_POD_NAMESPACE", "K8S_POD_NAME"), pod, strict=True):
        if len(value) > _MAXIMUM_POD_NAME or not _POD_NAME.fullmatch(value):
            raise CniError(
                ErrorCode.INVALID_ENVIRONMENT,
                f"{argument} in CNI_ARGS is {value!r}: "
                "the runtime passes the Pod's namespace and name, as Kubernetes writes them",
            )
    return pod
