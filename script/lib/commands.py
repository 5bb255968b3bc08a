"""The reference of the command line as a page of docs/, printed: what the commands say of themselves."""  # noqa: INP001 - a script, run by its path

import re
import sys
from collections.abc import Iterator
from typing import Any

import typer.main

from antrea_proxy.cli.groups import COMMANDS, SHORT_WAYS, group

HEAD = """# Commands

Made from the program itself by `script/reference`. `--help` after any of these words says the same, with examples.
"""


def page() -> str:
    """Return the whole page."""
    lines = [HEAD]
    for name, summary in COMMANDS.items():
        lines += [f"## antrea-proxy {name}", "", summary, ""]
        if name not in SHORT_WAYS:  # these read their words themselves
            lines += _command(typer.main.get_command(group(name)), f"antrea-proxy {name}")
    return "\n".join(lines).rstrip() + "\n"


def _command(command: Any, words: str) -> Iterator[str]:  # noqa: ANN401 - typer's copy of click is private
    rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    if command.help:
        yield from (_text(command.help), "")
    if rows:
        yield from ("| | |", "|---|---|", *rows, "")
    for name, inner in getattr(command, "commands", {}).items():
        yield from (f"### {words} {name}", "")
        yield from _command(inner, f"{words} {name}")


def _row(parameter: Any) -> str:  # noqa: ANN401 - as above
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
        names = f"`{name}`"
    else:
        names = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    told = isinstance(default, str | int | float) and not isinstance(default, bool) and default != ""
    text = _text(parameter.help or "") + (f" Default: `{default}`." if told else "")
    return f"| {names.replace('|', chr(92) + '|')} | {text.strip().replace('|', chr(92) + '|')} |"


def _text(text: str) -> str:
    """One paragraph; what looks like a tag to Markdown is shown as it is."""
    return re.sub(r"\s+", " ", text.replace("\b", "")).strip().replace("<", "&lt;")


if __name__ == "__main__":
    sys.stdout.write(page())
