"""What becomes of a Service's first packet that came out of the tracker as it went in."""

from __future__ import annotations

import pytest

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import Resubmit, SetField
from antrea_proxy.pipeline.flow_index import CompiledTables
from antrea_proxy.pipeline.registers import MOST_REFUSALS, REFUSALS, SERVICE_MARK
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.walk import walk
from worlds import CLIENT, WORLD, packet

TABLES = CompiledTables(WORLD.units)


@pytest.mark.parametrize("address", ["10.96.0.10", "10.96.0.11", "fd00:96::10"])
def test_the_translation_of_a_service_is_looked_at_before_the_packet_goes_on(address: str) -> None:
    titles = [step.title for step in walk(TABLES, packet(CLIENT, address)).steps]
    assert titles.index("Translated") < titles.index("EgressPolicy")


@pytest.mark.parametrize("mark", [0, 1, 2, 3, 4, 0xF])
def test_an_untranslated_packet_is_looked_up_anew_a_few_times_and_never_noted_as_a_direct_connection(mark: int) -> None:
    for refusals in range(MOST_REFUSALS):
        found = TABLES.look_up(Table.TRANSLATED, {fields.CT_MARK: mark, REFUSALS: refusals})
        assert found.flow is not None
        assert found.flow.actions == (SetField(REFUSALS, refusals + 1), Resubmit(Table.CONNTRACK_STATE.id))
    found = TABLES.look_up(Table.TRANSLATED, {fields.CT_MARK: mark, REFUSALS: MOST_REFUSALS})
    assert found.flow is not None
    assert found.flow.actions == ()
    assert not found.rivals


@pytest.mark.parametrize("mark", [SERVICE_MARK, SERVICE_MARK | 3])
def test_a_translated_packet_goes_on(mark: int) -> None:
    found = TABLES.look_up(Table.TRANSLATED, {fields.CT_MARK: mark})
    assert found.flow is not None
    assert found.flow.actions
