"""Which port numbers Pods ask for."""

from __future__ import annotations

import pytest

from antrea_proxy.cni.port_numbers import FIRST, LAST, PortNumbers
from antrea_proxy.network.interfaces import OfPort


def test_numbers_of_the_nodes_own_ports_are_left_out_and_used_ones_are_skipped() -> None:
    """Pods begin at 16."""
    numbers = PortNumbers()
    assert [numbers.next([OfPort(17)]) for _ in range(3)] == [16, 18, 19]


def test_after_a_restart_numbers_go_on_after_the_highest() -> None:
    """A number that was free a moment ago is not asked for at once."""
    numbers = PortNumbers()
    numbers.continue_after([OfPort(20), OfPort(40), OfPort(3)])
    assert numbers.next([]) == 41


def test_after_the_last_number_comes_the_first_free_one() -> None:
    """Numbers go round."""
    numbers = PortNumbers()
    numbers.continue_after([OfPort(LAST)])
    assert numbers.next([OfPort(FIRST)]) == FIRST + 1


def test_a_port_number_above_what_open_vswitch_takes_does_not_lead_further_up() -> None:
    """A port that asked for none may have one above 65279."""
    numbers = PortNumbers()
    numbers.continue_after([OfPort(0xFFFF00)])
    assert numbers.next([]) == FIRST


def test_when_every_number_is_used_it_is_said() -> None:
    """65,264 Pods on one Node."""
    with pytest.raises(ValueError, match="every port number is used"):
        PortNumbers().next([OfPort(number) for number in range(FIRST, LAST + 1)])
