"""A match says what is wrong with it, and two matches with the same conditions are one."""

from __future__ import annotations

import itertools

import pytest

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.encoding import match_bytes
from antrea_proxy.openflow.errors import InvalidValueError, OpenFlowError
from antrea_proxy.openflow.fields import ETH_TYPE, IP_PROTO, IPV4_DST, IPV4_SRC, REG0, TCP_DST
from antrea_proxy.openflow.match import Criterion, Match


def test_the_order_of_conditions_does_not_matter() -> None:
    """The order of conditions does not matter."""
    conditions: tuple[Criterion, ...] = (
        (ETH_TYPE, 0x0800),
        (IP_PROTO, 6),
        (IPV4_SRC, 0x0A000000, 0xFF000000),
        (TCP_DST, 80),
    )
    orders = [Match(*order) for order in itertools.permutations(conditions)]
    assert len(set(orders)) == 1
    assert len({match_bytes(match) for match in orders}) == 1


def test_a_mask_of_all_bits_is_no_mask() -> None:
    """A mask of all bits is no mask."""
    assert Match((REG0, 5, 0xFFFFFFFF)) == Match((REG0, 5))


def test_a_wide_register_is_its_four_registers() -> None:
    """A wide register is its four registers."""
    assert Match((fields.XXREG0, 0x1_00000002_00000003_00000004)) == Match(
        (fields.REG0, 1), (fields.REG1, 2), (fields.REG2, 3), (fields.REG3, 4)
    )
    assert Match((fields.XXREG3, 5 << 32, 0xFF << 32)) == Match((fields.REG14, 5, 0xFF))


def test_a_match_prints_addresses_as_people_write_them() -> None:
    """A match prints addresses as people write them."""
    assert (
        str(Match((ETH_TYPE, 0x0800), (IPV4_SRC, 0x0A0A0000, 0xFFFF0000), (REG0, 3)))
        == "eth_type=0x800,ipv4_src=10.10.0.0/255.255.0.0,reg0=0x3"
    )
    assert str(Match((fields.ETH_DST, 0xAABBCCDDEEFF))) == "eth_dst=aa:bb:cc:dd:ee:ff"
    assert str(Match()) == "any"


def test_a_condition_holds_for_the_packets_that_it_describes() -> None:
    """A condition holds for the packets that it describes."""
    condition = Match((REG0, 0x10, 0xF0)).get(REG0)
    assert condition is not None
    assert condition.holds(0xABC1F)
    assert not condition.holds(0x20)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        pytest.param([(ETH_TYPE, 0x10000)], "eth_type = 65536 does not fit", id="too large"),
        pytest.param([(REG0, -1)], "reg0 = -1 does not fit", id="negative"),
        pytest.param([(REG0, 1, 1 << 32)], "reg0's mask", id="mask too large"),
        pytest.param([(REG0, 3, 1)], "bits outside its mask", id="bits outside the mask"),
        pytest.param([(REG0, 0, 0)], "leave the field out", id="empty mask"),
        pytest.param([(ETH_TYPE, 0x0800, 0xFF00)], "eth_type takes no mask", id="mask on an unmaskable field"),
        pytest.param([(REG0, 1), (REG0, 1)], "reg0 is matched twice", id="twice"),
        pytest.param([(fields.XXREG0, 1), (fields.REG3, 1)], "reg3 is matched twice", id="twice through xxreg"),
        pytest.param([(IPV4_DST, 1)], "ipv4_dst needs eth_type to be 0x800, but it is not matched", id="no eth_type"),
        pytest.param([(ETH_TYPE, 0x86DD), (IPV4_DST, 1)], "but it is 0x86dd", id="other eth_type"),
        pytest.param([(ETH_TYPE, 0x0800), (TCP_DST, 1)], "tcp_dst needs ip_proto to be 6", id="no ip_proto"),
        pytest.param([(IP_PROTO, 6)], "eth_type to be 0x800 or 0x86dd", id="ip_proto alone"),
    ],
)
def test_a_match_that_openflow_has_no_bytes_for_is_refused_with_the_reason(
    conditions: list[Criterion], words: str
) -> None:
    """A match that openflow has no bytes for is refused with the reason."""
    with pytest.raises(InvalidValueError, match=r"^match: ") as caught:
        Match(*conditions)
    assert words in str(caught.value)
    assert isinstance(caught.value, OpenFlowError)
