"""The options that several benchmarks have, each with one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

RESULTS: Final = Path("build/bench")

Rounds = Annotated[int, typer.Option(min=1, help="How often all that is compared has its turn.")]
Seconds = Annotated[int, typer.Option(min=1, help="How long each turn is.")]
Connections = Annotated[int, typer.Option(min=1, help="Connections at once.")]
Many = Annotated[int, typer.Option(min=2, help="The most Services; one alone and up to 1,000 are measured, too.")]
Output = Annotated[Path, typer.Option(help="Where to write the results as JSON.", dir_okay=False)]
