"""What is asked of the database is what is missing, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from antrea_proxy.ovsdb import operations
from antrea_proxy.ovsdb.errors import OvsdbProtocolError
from antrea_proxy.ovsdb.notation import Uuid, as_optional, as_set, decode
from antrea_proxy.ovsdb.replica import Replica, Row
from antrea_proxy.ovsdb.rows import BridgeSpec, PortSpec


def bridge_row(**columns: object) -> Row:
    """Return a bridge as it is after `make_bridge` with the defaults."""
    defaults: dict[str, Any] = {
        "name": "br-int",
        "datapath_type": "netdev",
        "fail_mode": "secure",
        "protocols": frozenset({"OpenFlow13", "OpenFlow15"}),
        "other_config": {},
        "ports": frozenset(),
    }
    return Row(Uuid("b"), defaults | columns)


def interface_row(**columns: object) -> Row:
    """Return an interface without anything set."""
    defaults: dict[str, Any] = {
        "type": "",
        "options": {},
        "external_ids": {},
        "ofport_request": frozenset(),
        "mac": frozenset(),
    }
    return Row(Uuid("i"), defaults | columns)


def effects(needed: list[operations.Operation]) -> list[Any]:
    """Return the columns that are updated and the mutations, in order."""
    return [effect for item in needed for effect in ([item["row"]] if item["op"] == "update" else item["mutations"])]


BRIDGE = BridgeSpec(name="br-int", datapath_type="netdev")
PORT = PortSpec(bridge="br-int", name="p1", ofport_request=20, mac="0a:58:0a:0a:01:01", external_ids={"pod": "a"})


def test_a_bridge_that_is_right_needs_nothing() -> None:
    """Also when others added a protocol."""
    protocols = frozenset({"OpenFlow10", "OpenFlow13", "OpenFlow15"})
    assert operations.make_bridge(BRIDGE, bridge_row()) == []
    assert operations.make_bridge(BRIDGE, bridge_row(protocols=protocols)) == []


def test_only_the_columns_of_a_bridge_that_differ_are_changed() -> None:
    """What others set beside them stays."""
    row = bridge_row(fail_mode=frozenset(), protocols=frozenset({"OpenFlow10"}), other_config={"theirs": "1"})
    wanted = BridgeSpec(name="b", datapath_type="netdev", hwaddr="0a:00:00:00:00:01")
    assert effects(operations.make_bridge(wanted, row)) == [
        {"fail_mode": "secure"},
        ["protocols", "insert", ["set", ["OpenFlow13", "OpenFlow15"]]],
        ["other_config", "delete", ["set", ["hwaddr"]]],
        ["other_config", "insert", ["map", [["hwaddr", "0a:00:00:00:00:01"]]]],
    ]


def test_a_bridge_without_a_datapath_type_is_one_of_the_kernel() -> None:
    """An empty column means system (ovs-vswitchd.conf.db(5))."""
    row = bridge_row(datapath_type="")
    assert operations.make_bridge(BridgeSpec(name="br-int", datapath_type="system"), row) == []
    assert effects(operations.make_bridge(BRIDGE, row)) == [{"datapath_type": "netdev"}]


def test_a_port_that_is_right_needs_nothing() -> None:
    """Keys of others in its external_ids do not count."""
    row = interface_row(ofport_request=20, mac="0A:58:0A:0A:01:01", external_ids={"pod": "a", "theirs": "1"})
    assert operations.make_port(PORT, bridge_row(), row) == []


def test_only_the_columns_of_a_port_that_differ_are_changed() -> None:
    """Keys of others in its external_ids stay, strange options go."""
    row = interface_row(ofport_request=21, external_ids={"theirs": "1"}, options={"key": "7"}, type="internal")
    assert effects(operations.make_port(PORT, bridge_row(), row)) == [
        {"type": "", "options": ["map", []], "ofport_request": 20, "mac": "0a:58:0a:0a:01:01"},
        ["external_ids", "delete", ["set", ["pod"]]],
        ["external_ids", "insert", ["map", [["pod", "a"]]]],
    ]


def test_a_new_row_is_made_only_while_there_is_none_of_its_name() -> None:
    """Two rows of one name would break the whole configuration."""
    for needed in (operations.make_bridge(BRIDGE, None), operations.make_port(PORT, bridge_row(), None)):
        first = needed[0]
        assert (first["op"], first["until"], first["rows"], first["timeout"]) == ("wait", "==", [], 0)


def test_keys_are_set_and_removed_and_others_stay() -> None:
    """None removes."""
    row = bridge_row(external_ids={"a": "1", "b": "2"})
    needed = operations.change_map("Bridge", row, "external_ids", {"a": None, "c": "3"})
    assert effects(needed) == [
        ["external_ids", "delete", ["set", ["a", "c"]]],
        ["external_ids", "insert", ["map", [["c", "3"]]]],
    ]
    assert operations.change_map("Bridge", row, "external_ids", {"a": "1", "c": None}) == []


def test_values_are_read_as_rfc_7047_writes_them() -> None:
    """A set of one is written as its element."""
    assert decode(["set", ["a", "b"]]) == frozenset({"a", "b"})
    assert decode(["map", [["k", "v"]]]) == {"k": "v"}
    assert isinstance(decode(["uuid", "u"]), Uuid)
    assert as_set(decode("a")) == as_set(decode(["set", ["a"]])) == frozenset({"a"})
    assert as_optional(decode(["set", []])) is None
    assert as_optional(decode(7)) == 7
    with pytest.raises(OvsdbProtocolError):
        decode(["tuple", []])


def test_rows_follow_the_updates() -> None:
    """Inserted, changed, gone."""
    replica = Replica()
    port = {"name": "p1", "interfaces": ["uuid", "i1"]}
    replica.apply(
        {"Bridge": {"b1": {"new": {"name": "br-int", "ports": ["uuid", "p1"]}}}, "Port": {"p1": {"new": port}}}
    )
    replica.apply({"Interface": {"i1": {"new": {"name": "p1", "ofport": 3}}}})
    bridge = replica.bridge("br-int")
    assert bridge is not None
    interface = replica.interface(next(replica.ports(bridge)))
    assert interface is not None
    assert interface.number("ofport") == 3
    replica.apply({"Port": {"p1": {"old": port}}})
    assert list(replica.ports(bridge)) == []
    assert replica.port("p1") is None


@pytest.mark.parametrize("update", [{"Port": []}, {"Nonsense": {"u": {"new": {}}}}, {"Port": {"u": {"new": 1}}}, []])
def test_an_update_that_is_none_is_refused(update: object) -> None:
    """Rather than half taken in."""
    with pytest.raises(OvsdbProtocolError):
        Replica().apply(update)  # type: ignore[arg-type]  # what a broken server sends


def test_a_database_that_nobody_initialised_is_named_as_such() -> None:
    """With the command that helps."""
    with pytest.raises(OvsdbProtocolError, match="ovs-vsctl --no-wait init"):
        Replica().open_vswitch()
