"""What can go wrong between the agent and the switch."""

from __future__ import annotations

from collections.abc import Mapping


class AgentError(Exception):
    """Base of this room's errors."""


class SwitchLost(AgentError):  # noqa: N818 - a state of affairs, as its handlers read it
    """The connection to the switch ended, or never came about; what was under way may or may not have happened."""


class CommitRefused(AgentError):  # noqa: N818 - a state of affairs, as its handlers read it
    """The switch refused a bundle as a whole.

    `errors` are its words by the place of the message that they are about.
    """

    def __init__(self, errors: Mapping[int, str]) -> None:
        super().__init__("; ".join(f"message {place}: {text}" for place, text in errors.items()) or "no reason given")
        self.errors = errors


class FlushRefused(AgentError):  # noqa: N818 - a state of affairs, as its handlers read it
    """The switch would not forget connections, in its own words."""


class NetworkUnknown(AgentError):  # noqa: N818 - a state of affairs, as its handlers read it
    """This Node's place in the Pod network cannot be told yet."""


class ForeignBridge(AgentError):  # noqa: N818 - a state of affairs, as its handlers read it
    """The bridge holds flows or groups of somebody else."""


class PortNumberTaken(AgentError):  # noqa: N818 - a state of affairs, as its handlers read it
    """Another port of the bridge has the OpenFlow number of one of our fixed ports, which flows name."""


class AnotherAgent(AgentError):  # noqa: N818 - a state of affairs, as its handlers read it
    """An agent runs on this Node already."""


class RunDirectoryUnusable(AgentError):  # noqa: N818 - a state of affairs, as its handlers read it
    """The agent's run directory cannot be made or written to."""
