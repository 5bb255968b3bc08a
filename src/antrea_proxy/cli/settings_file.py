"""The antrea-agent.conf that a command is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from antrea_proxy.cli.logs import fail

if TYPE_CHECKING:
    from antrea_proxy.settings import Settings


def settings_of(config: Path) -> Settings:
    """Read the file, or end the command with all that is wrong with it."""
    from antrea_proxy import settings

    try:
        return settings.parse(config.read_text("utf-8"))
    except settings.SettingsError as error:
        fail(*(f"{config}: {problem}" for problem in error.problems))
    except OSError as error:
        fail(f"{config}: {error.strerror}")
    except UnicodeDecodeError as error:
        fail(f"{config}: byte {error.start} is no UTF-8 text; write the file as UTF-8")
