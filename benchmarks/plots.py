"""Pictures of what the benchmarks wrote, one message each: `python -m benchmarks.plots`."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final

import msgspec
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from PIL import Image

from benchmarks.options import RESULTS

OURS: Final = "#1f6fb4"
OTHER: Final = "#8c8c8c"
THIRD: Final = "#d9822b"
WIDTH: Final = 8.0
"""Inches, of 100 pixels."""

COLOURS: Final = 48
THOUSANDS: Final = FuncFormatter(lambda value, _: f"{value:,.0f}")

Results = dict[str, Any]
"""The contents of all JSON files of one size, by the benchmark's name."""


class Size(StrEnum):
    """Which results to draw, as `script/bench` names them."""

    QUICK = "quick"
    FULL = "full"


def soak(results: Results) -> Figure | None:
    """What agent and switch hold while connections come and go."""
    if "soak" not in results:
        return None
    taken = results["soak"]["soak"]
    samples = taken["samples"]
    figure = Figure(figsize=(WIDTH, 5.2))
    memory, megaflows, tracked = figure.subplots(3, sharex=True)
    for line, name, colour in (("agentBytes", "agent", OURS), ("switchBytes", "ovs-vswitchd", OTHER)):
        memory.plot(samples["seconds"], [value / 1e6 for value in samples[line]], color=colour, label=name)
    memory.legend(loc="lower right", ncols=2, frameon=False, fontsize=9)
    megaflows.plot(samples["seconds"], samples["megaflows"], color=OURS)
    tracked.plot(samples["seconds"], samples["tracked"], color=OURS)
    for axes, label in ((memory, "memory, MB"), (megaflows, "megaflows"), (tracked, "tracked\nconnections")):
        _plain(axes)
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.1)
        axes.yaxis.set_major_formatter(THOUSANDS)
        axes.axvspan(taken["judged"]["to"], samples["seconds"][-1], color="#f2f2f2", zorder=0)
    tracked.set_xlabel("seconds (grey: no new connections any more)")
    kinds = "direct and through Services, TCP and UDP"
    _entitle(
        figure, f"{taken['connections']:,} connections, {kinds}; {taken['changes']} changes of endpoints meanwhile"
    )
    return figure


def cold_start(results: Results) -> Figure | None:
    """The agent's cold start beside the switch alone."""
    if "cold_start" not in results:
        return None
    taken = results["cold_start"]
    bars = (
        ("the switch alone,\nthe same bytes replayed", taken["floorSeconds"], OTHER),
        ("the agent, first byte of the\nlists to the last commit", taken["agentSeconds"], OURS),
    )
    figure = Figure(figsize=(WIDTH, 2.4))
    axes = figure.subplots()
    for place, (_, sample, colour) in enumerate(bars):
        axes.barh(place, sample["median"], color=colour, height=0.6)
        axes.plot(sample["values"], [place] * len(sample["values"]), "|", color="black", markersize=12)
        axes.text(max(sample["values"]), place, f"  {sample['median']:.2f} s", va="center")
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axes.invert_yaxis()
    _plain(axes, grid="x")
    axes.set_xlim(right=axes.get_xlim()[1] * 1.1)
    axes.set_xlabel("seconds (bar: median; strokes: each run)")
    _entitle(figure, f"{taken['services']:,} Services x {taken['endpointsPerService']} endpoints into an empty switch")
    return figure


def connections(results: Results) -> Figure | None:
    """Connections a second by the number of endpoints."""
    if "traffic" not in results:
        return None
    taken = results["traffic"]["connections"]
    figure = Figure(figsize=(WIDTH, 3.2))
    axes = figure.subplots()
    direct = median(taken["direct, without a Service"]["perSecond"])
    axes.axhline(direct, color=OTHER, linestyle="--", label="directly, without a Service")
    sizes: list[int] = []
    for suffix, name, colour in (
        ("", "through a Service", OURS),
        (", session affinity", "with session affinity", THIRD),
    ):
        points = {
            int(found[1]): median(target["perSecond"])
            for key, target in taken.items()
            if (found := re.fullmatch(rf"(\d+) endpoints?{suffix}", key))
        }
        sizes = sorted(points)
        axes.plot(sizes, [points[size] for size in sizes], "o-", color=colour, label=name)
    axes.set_xscale("log")
    shown = [size for size in sizes if size != 257]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(THOUSANDS)
    _plain(axes)
    axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.05)
    axes.yaxis.set_major_formatter(THOUSANDS)
    axes.set_xlabel("endpoints of the Service")
    axes.set_ylabel("new connections a second")
    axes.legend(loc="lower left", frameon=False)
    _entitle(figure, "New connections from one Pod, by the number of endpoints")
    return figure


def peers(results: Results) -> Figure | None:
    """Connections a second, ours and theirs, in turns of one run each."""
    pairs: list[tuple[str, Sequence[Sequence[float]]]] = []
    if "layouts" in results:
        few = next(item for item in results["layouts"]["layouts"] if item["endpoints"] == 8)
        pairs.append(("pipeline laid out as Antrea's,\n8 endpoints", few["perSecond"]))
    if "ovn" in results:
        pairs.append(("OVN,\n2 endpoints", results["ovn"]["ovn"]["perSecond"]))
    if "kube_proxy" in results:
        most = results["kube_proxy"]["kubeProxy"][-1]
        told = f"kube-proxy's nftables layout\nin the kernel, {most['services']:,} Services"
        pairs.append((f"{told},\nNode to ClusterIP", most["clusterIpPerSecond"]))
        pairs.append((f"{told},\noutside to NodePort", most["nodePortPerSecond"]))
    if not pairs:
        return None
    figure = Figure(figsize=(WIDTH, 0.9 + 0.8 * len(pairs)))
    axes = figure.subplots()
    for side, (name, colour) in enumerate((("antrea-proxy", OURS), ("the other", OTHER))):
        rates = [median(pair[side]) for _, pair in pairs]
        places = [place + (side - 0.5) * 0.36 for place in range(len(pairs))]
        axes.barh(places, rates, height=0.34, color=colour, label=name)
    for place, (_, (ours, theirs)) in enumerate(pairs):
        ratio = median(own / other for own, other in zip(ours, theirs, strict=True))
        axes.text(max(median(ours), median(theirs)), place, f"  ours / theirs {ratio:.2f}", va="center")
    axes.set_yticks(range(len(pairs)), [name for name, _ in pairs])
    axes.invert_yaxis()
    _plain(axes, grid="x")
    axes.set_xlim(right=axes.get_xlim()[1] * 1.2)
    axes.xaxis.set_major_formatter(THOUSANDS)
    axes.set_xlabel("new connections a second (compare within a pair: each is a run of its own)")
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    _entitle(figure, "Beside others, on the same machine")
    return figure


PLOTS: Final[dict[str, Callable[[Results], Figure | None]]] = {
    "soak": soak, "cold_start": cold_start, "connections": connections, "peers": peers,
}  # fmt: skip


def _plain(axes: Axes, grid: str = "y") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x" if grid == "x" else "y", color="#e0e0e0")
    axes.set_axisbelow(True)


def _entitle(figure: Figure, title: str) -> None:
    figure.set_layout_engine("constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)


def _save(figure: Figure, path: Path) -> None:
    """Write a PNG of few colours: a third of the bytes."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100)
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(path, optimize=True)


def main(
    size: Annotated[Size, typer.Option(help="Of which runs to draw the results.")] = Size.FULL,
    results: Annotated[Path, typer.Option(help="Where the JSON files are.", file_okay=False)] = RESULTS,
    into: Annotated[Path | None, typer.Option(help="Where to put the pictures; beside the JSON if left out.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Draw only this: {', '.join(PLOTS)}. May be repeated.")
    ] = None,
) -> None:
    """Draw what is there of the results as PNG files, named as the benchmark and the size."""
    ending = f"-{size}.json"
    taken = {
        path.name.removesuffix(ending): msgspec.json.decode(path.read_bytes()) for path in results.glob(f"*{ending}")
    }
    directory = into or results
    directory.mkdir(parents=True, exist_ok=True)
    for name in only or PLOTS:
        if name not in PLOTS:
            raise typer.BadParameter(f"there is no {name}, only {', '.join(PLOTS)}", param_hint="--only")
        if (figure := PLOTS[name](taken)) is not None:
            path = directory / f"{name}-{size}.png"
            _save(figure, path)
            print(f"drawn: {path}")


if __name__ == "__main__":
    typer.run(main)
