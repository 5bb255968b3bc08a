"""Which switch is taken: an empty one, our own, or with --take-over somebody else's."""

from __future__ import annotations

from typing import Final

from antrea_proxy.agent.errors import ForeignBridge, SwitchLost
from antrea_proxy.agent.node_keeper import NodeKeeper
from antrea_proxy.agent.switch import OpenFlowSwitch, SwitchContents
from antrea_proxy.ovsdb import OvsdbError, accept_any_sequence
from antrea_proxy.settings import Settings

SHOWN: Final = 5
"""Of what is not ours, so many are named: enough to recognise whose they are."""


class Admission:
    """Refuses a bridge that holds somebody else's flows or groups, unless it may be taken over."""

    def __init__(self, settings: Settings, keeper: NodeKeeper, switch: OpenFlowSwitch, *, take_over: bool) -> None:
        self._settings = settings
        self._keeper = keeper
        self._switch = switch
        self._take_over = take_over

    async def inspect(self) -> None:
        """Look at a bridge that somebody else made, before it is changed in any way.

        Raises ForeignBridge, SwitchLost.
        """
        if await self._keeper.has_bridge() and not await self._keeper.is_ours():
            await self._switch.connect()
            self._refuse_foreign(await self._switch.contents(), bridge_is_ours=False)

    async def admit(self, contents: SwitchContents) -> None:
        """Admit a switch whose contents are ours, mark it as such, and set its connection tracker.

        A switch that was started anew has forgotten the tracker's setting. Raises ForeignBridge, or SwitchLost when the
        switch or its database cannot be asked.
        """
        try:
            self._refuse_foreign(contents, bridge_is_ours=await self._keeper.is_ours())
            await self._keeper.mark_ours()
            if self._keeper.datapath_type == "netdev":
                await accept_any_sequence(self._settings.ovs_run_dir)
        except OvsdbError as error:
            raise SwitchLost(str(error)) from error

    def _refuse_foreign(self, contents: SwitchContents, *, bridge_is_ours: bool) -> None:
        foreign = contents.foreign(groups_are_ours=bridge_is_ours)
        if foreign and not self._take_over:
            bridge = self._settings.ovs_bridge
            shown = "; ".join(foreign[:SHOWN]) + (f"; and {len(foreign) - SHOWN} more" if len(foreign) > SHOWN else "")
            raise ForeignBridge(
                f"bridge {bridge} holds what is not ours: {shown}. Name another bridge (ovsBridge), remove these, or "
                "start with --take-over to have them removed"
            )
