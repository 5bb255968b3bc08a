"""Whatever comes from outside is read or refused; what is written for a restart reads the same."""

from __future__ import annotations

import json
from contextlib import suppress
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.cni.attachment import host_interface_name, mac_of, new_attachment, read_attachment
from antrea_proxy.cni.codes import ENVIRONMENT, SUPPORTED_VERSIONS
from antrea_proxy.cni.errors import CniError
from antrea_proxy.cni.ipam import Lease
from antrea_proxy.cni.protocol import AttachmentKey, Dns, encode_result, parse_request
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.network.interfaces import OfPort
from antrea_proxy.ovsdb.rows import BridgePort

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,60}[a-z0-9])?", fullmatch=True)
configurations = st.fixed_dictionaries(
    {"cniVersion": st.sampled_from(SUPPORTED_VERSIONS), "name": st.just("antrea")},
    optional={
        "prevResult": st.fixed_dictionaries(
            {}, optional={"ips": json_values, "interfaces": json_values, "routes": json_values, "dns": json_values}
        ),
        "cni.dev/valid-attachments": json_values,
        "ipam": json_values,
        "dns": json_values,
        "other": json_values,
    },
)


@given(
    st.dictionaries(st.sampled_from(ENVIRONMENT), st.text(max_size=20)),
    st.sampled_from(["ADD", "DEL", "CHECK", "GC", "STATUS", "x"]),
    configurations | json_values,
)
def test_any_request_is_read_or_refused_with_a_code(variables: dict[str, str], command: str, config: Any) -> None:  # noqa: ANN401 -- any JSON
    """Nothing else comes out of reading one."""
    with suppress(CniError):
        assert parse_request({**variables, "CNI_COMMAND": command}, json.dumps(config)).command.value == command


@given(names, names, st.binary(min_size=8, max_size=8), st.integers(0, 65279))
def test_a_pods_record_in_the_switch_reads_as_it_was_written(
    namespace: str, name: str, last_bytes: bytes, ofport: int
) -> None:
    """Prefix lengths, MTU and all."""
    addresses = (IPv4Interface((last_bytes[:4], 24)), IPv6Interface((b"\xfd" + bytes(7) + last_bytes, 64)))
    lease = Lease(key=AttachmentKey("c1", "eth0"), host_interface="web-1-abcdef", addresses=addresses)
    attachment = new_attachment(
        pod=NamespacedName(namespace, name), lease=lease, netns="/run/netns/c1", mtu=1450, ofport=OfPort(ofport)
    )
    port = BridgePort(
        name="web-1-abcdef",
        type="",
        ofport=OfPort(ofport) or None,
        mac_in_use="",
        error="",
        options={},
        external_ids=attachment.external_ids() | {"of-somebody-else": "x"},
    )
    assert read_attachment(port) == attachment
    for version in SUPPORTED_VERSIONS:
        assert json.loads(encode_result(attachment.result(Dns()), version))["cniVersion"] == version


@given(names, st.text(min_size=1, max_size=64))
def test_a_host_interface_name_is_one_that_linux_takes_and_nobody_has(pod: str, container: str) -> None:
    """Fifteen bytes, without a dot; two that would be equal are not."""
    key = AttachmentKey(container, "eth0")
    first = host_interface_name(pod, key, ())
    second = host_interface_name(pod, key, {first})
    assert first != second
    for name in (first, second):
        assert len(name.encode()) <= 15
        assert not set(name) & set("./: ")
    assert host_interface_name(pod, key, ()) == first


@pytest.mark.parametrize(
    ("addresses", "mac"),
    [
        ((IPv4Interface("10.10.1.11/24"), IPv6Interface("fd00::b/64")), "0a:58:0a:0a:01:0b"),
        ((IPv6Interface("fd00:10:1::1:b/64"),), "0a:58:00:01:00:0b"),
    ],
    ids=["IPv4", "IPv6 alone"],
)
def test_a_mac_is_made_of_the_pods_address(addresses: tuple[IPv4Interface | IPv6Interface, ...], mac: str) -> None:
    """As the pipeline and the other Nodes expect it."""
    assert mac_of(addresses) == mac
