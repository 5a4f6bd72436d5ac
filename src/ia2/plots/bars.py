"""Accuracy of one evaluation set as bars."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ia2.plots.drawing import LETTER, STYLE, WIDTH, add_caption, add_legend
from ia2.results.frame import Row, rows_of
from ia2.results.label import INK

WIDEST = 7.0
"""Inches that bars take side by side."""


def accuracy_bars(rows: pd.DataFrame, caption: str = "") -> Figure:
    """Accuracy in percent of a group's summary rows: bar the mean, whisker its 95% interval, dots the runs.

    Many bars stand in several panels, one below the other, since a figure that is wide is small on a page.
    """
    width = max(0.85, LETTER * max(len(line) for row in rows_of(rows) for line in _tick(row).splitlines()))
    num_panels = math.ceil(len(rows) / max(1, int(WIDEST / width)))
    num_bars = math.ceil(len(rows) / num_panels)
    with rc_context(STYLE):
        figure = Figure(figsize=(max(WIDTH, width * num_bars + 0.6), 3.2 * num_panels), layout="constrained")
        for number in range(num_panels):
            axes = figure.add_subplot(num_panels, 1, number + 1)
            _panel(axes, rows_of(rows)[number * num_bars : (number + 1) * num_bars], num_bars)
        add_legend(figure, _majority_line(figure.axes, rows["majority"].dropna()))
        add_caption(figure, caption)
    return figure


def _panel(axes: Axes, rows: Sequence[Row], num_places: int) -> None:
    """The bars of some rows, with room for so many."""
    axes.grid(axis="y")
    for place, row in enumerate(rows):
        _bar(axes, place, row)
    axes.set_xlim(-0.5, num_places - 0.5)
    axes.set_ylim(0, 108)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("Accuracy (%)")
    axes.set_xticks(range(len(rows)), [_tick(row) for row in rows])
    axes.tick_params(axis="x", length=0, pad=7)


def _bar(axes: Axes, place: int, row: Row) -> None:
    axes.bar(place, row.accuracy, width=0.66, color=row.colour, alpha=0.85)
    low, high = (row.accuracy if math.isnan(end) else end for end in (row.low, row.high))
    ends = [[max(row.accuracy - low, 0.0)], [max(high - row.accuracy, 0.0)]]
    axes.errorbar([place], [row.accuracy], yerr=ends, color=INK, capsize=3, linewidth=1)
    if row.n > 1:
        shifts = np.linspace(-0.18, 0.18, row.n)
        axes.plot(
            place + shifts,
            row.accuracy_values,
            "o",
            ms=3.5,
            mfc="none",
            mec=INK,
            mew=0.8,
            linestyle="none",
            clip_on=False,
        )
    top = max(high, *row.accuracy_values)
    axes.annotate(f"{row.accuracy:.1f}", (place, top), (0, 4), textcoords="offset points", ha="center", fontsize=9)


def _majority_line(panels: Sequence[Axes], majorities: "pd.Series[float]") -> list[Artist]:
    """A line across the panels, if it is known where; returns its legend."""
    look: dict[str, Any] = {"color": INK, "linestyle": ":", "linewidth": 1}
    if majorities.empty:
        return []
    for axes in panels:
        axes.axhline(majorities.mean(), **look)
    return [Line2D([], [], label="Majority class", **look)]


def _tick(row: Row) -> str:
    return f"{row.tick}\n{textwrap.fill(row.details, 14)}" if row.details else row.tick
