"""What nft is told, word for word."""

from __future__ import annotations

from dataclasses import replace

from antrea_proxy.host.nftables import Chain, Set, Table, change, removal, replacement, shield, unshield

CIDRS = Set(name="cidrs", type="ipv4_addr", interval=True, elements=frozenset({"10.10.2.0/24", "10.10.1.0/24"}))
TABLE = Table(
    family="inet",
    name="antrea-proxy",
    sets=(CIDRS,),
    chains=(
        Chain(
            name="postrouting",
            hook="type nat hook postrouting priority srcnat; policy accept;",
            rules=("ip daddr != @cidrs masquerade",),
        ),
    ),
)


def with_elements(*elements: str) -> Table:
    """Return the table with other elements in its set."""
    return replace(TABLE, sets=(replace(CIDRS, elements=frozenset(elements)),))


def test_a_table_is_replaced_whole_in_one_transaction() -> None:
    """Named first, so that the deletion is right whether it was there or not."""
    assert replacement(TABLE) == (
        "table inet antrea-proxy\n"
        "delete table inet antrea-proxy\n"
        "table inet antrea-proxy {\n"
        "  set cidrs { type ipv4_addr; flags interval; elements = { 10.10.1.0/24, 10.10.2.0/24 }; }\n"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority srcnat; policy accept;\n"
        "    ip daddr != @cidrs masquerade\n"
        "  }\n"
        "}\n"
    )


def test_an_empty_set_has_no_elements_clause() -> None:
    """The statement nft would refuse is `elements = { }`."""
    assert "  set cidrs { type ipv4_addr; flags interval; }\n" in replacement(with_elements())


def test_elements_alone_are_changed_one_by_one() -> None:
    """Removals first: a CIDR may take the place of one that it contains."""
    assert change(TABLE, with_elements("10.10.2.0/24", "10.10.3.0/24", "10.10.4.0/24")) == (
        "delete element inet antrea-proxy cidrs { 10.10.1.0/24 }\n"
        "add element inet antrea-proxy cidrs { 10.10.3.0/24, 10.10.4.0/24 }\n"
    )


def test_nothing_is_said_where_nothing_differs() -> None:
    """An empty text is no transaction."""
    assert change(TABLE, TABLE) == ""


def test_other_rules_mean_the_whole_table_anew() -> None:
    """In one transaction, so that there is no moment without it."""
    other = replace(TABLE, chains=())
    assert change(TABLE, other) == replacement(other)


def test_a_table_is_removed_whether_it_is_there_or_not() -> None:
    """Adding one that is there changes nothing."""
    assert removal("inet", "antrea-proxy") == "table inet antrea-proxy\ndelete table inet antrea-proxy\n"


def test_a_shield_drops_all_that_the_kernel_sees_of_an_interface() -> None:
    """The chain's name begins with a letter whatever the interface's does; rules that somebody added go."""
    hook = 'type filter hook ingress device "0a.b-c" priority 0; policy drop;'
    assert shield("netdev", "ports", ["0a.b-c"]) == (
        "add table netdev ports\n"
        f"add chain netdev ports port-0a.b-c {{ {hook} }}\n"
        "flush chain netdev ports port-0a.b-c\n"
    )
    assert unshield("netdev", "ports", "0a.b-c") == "delete chain netdev ports port-0a.b-c\n"
