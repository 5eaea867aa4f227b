"""Draws the benchmarks' figures: JSON as ``make bench`` writes it on standard input, PNG on standard output.

Runs in a container of the notebook image, which has matplotlib.
"""

import io
import json
import re
import sys
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

COLOURS = {"ours": "#1b7f5c", "stock": "#c2571a", "raw": "#7a7a7a"}
Row = dict[str, Any]


def curves(axes: Any, rows: list[Row], title: str, unit: str) -> None:
    """One line a contender over the number of light servers."""
    points = [(int(match[1]), row) for row in rows if (match := re.fullmatch(r"(\d+) light", row["what"]))]
    for contender, colour in COLOURS.items():
        drawn = sorted((n, row["values"][contender]) for n, row in points if contender in row["values"])
        if drawn:
            axes.plot(*zip(*drawn, strict=True), marker="o", color=colour, label=contender)
    axes.set_xticks(sorted(n for n, _ in points))
    axes.set(title=title, xlabel="light servers", ylabel=unit, ylim=(0, None))


def bars(axes: Any, rows: list[Row], title: str, unit: str) -> None:
    """A group of bars a row."""
    width = 0.8 / len(COLOURS)
    for place, (contender, colour) in enumerate(COLOURS.items()):
        drawn = [(i, row["values"][contender]) for i, row in enumerate(rows) if contender in row["values"]]
        heights = [value for _, value in drawn]
        if drawn:
            found = axes.bar(
                [i + place * width for i, _ in drawn], heights, width, color=colour, label=contender
            )
            axes.bar_label(found, fmt="%.1f", fontsize=7)
    axes.set_xticks([i + width for i in range(len(rows))], [row["what"] for row in rows], fontsize=7)
    axes.set(title=title, ylabel=unit)


def main(document: dict[str, Any]) -> bytes:
    rows: list[Row] = document["table"]

    def of(benchmark: str, unit: str) -> list[Row]:
        return [row for row in rows if (row["benchmark"], row["unit"]) == (benchmark, unit)]

    storm = of("storm", "s")
    panels = [
        (curves, storm, "Storm: all ready", "s"),
        (
            bars,
            [row for row in storm if "light" not in row["what"]] + of("full-house", "s"),
            "All ready",
            "s",
        ),
        (bars, of("stop-start", "s"), "Start, stop, start (JupyterLab)", "s"),
        (curves, of("steady-state", "/min"), "Nothing happens: calls to Docker", "per minute"),
        (bars, of("re-adoption", "s"), "Restart of the hub", "s"),
    ]
    panels = [panel for panel in panels if panel[1]]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(9, 3.2 * len(panels)), layout="constrained", squeeze=False
    )
    for axis, (draw, chosen, title, unit) in zip(axes.flat, panels, strict=True):
        draw(axis, chosen, title, unit)
        axis.legend(fontsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()


sys.stdout.buffer.write(main(json.load(sys.stdin)))
