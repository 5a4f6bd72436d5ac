"""A metric against the number of examples N: one line per method, the base model's own as references."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from ia2.methods import ADAPTERS, Adapter, parse_method
from ia2.plots.drawing import (
    IDENTITY,
    STYLE,
    Look,
    add_caption,
    add_legend,
    key,
    label_outer,
    look_of,
    panel_grid,
)
from ia2.results.label import ADAPTER_LABELS, ADAPTER_NAMES, INK
from ia2.results.quantities import Quantity

SEEN_THROUGH = 0.75
"""Opacity of marks and intervals, which can lie on each other."""
BAND = 0.16
MOST_LINES = 8
"""With more lines than this, and several adapters, each adapter has a panel."""


def metric_against_n(points: pd.DataFrame, quantity: Quantity, title: str = "", caption: str = "") -> Figure:
    """Mean of a metric against N (logarithmic, base 2), with 95% intervals and, small, the single runs.

    `points` are those of `results.frame.in_condition`. A line has a gap where its N was not measured. The base model
    without demonstrations sees no examples and is a level; with them it is a line.
    """
    panels = _panels(points)
    with rc_context(STYLE):
        figure, grid = panel_grid(len(panels), height=2.9 if len(panels) == 1 else 2.4, width=2.9)
        handles: dict[str, Artist] = {}
        for axes, (name, part) in zip(grid, panels.items(), strict=True):
            handles |= {str(handle.get_label()): handle for handle in _panel(axes, part, points, quantity)}
            axes.set_title(name or title, loc="left")
        label_outer(grid, "Training examples N", quantity.label)
        add_legend(figure, list(handles.values()), title if len(panels) > 1 else "")
        add_caption(figure, caption)
    return figure


def _panels(points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Title -> points of a panel: all of them, or those of each adapter and the base model, and no adapter's look."""
    adapters = [_adapter_of(method) for method in points["method"]]
    there = [adapter for adapter in ADAPTERS if adapter in adapters]
    if len(_lines_of(points)) <= MOST_LINES or len(there) < 2:
        return {"": points}
    plain = points.assign(
        method=[method if method == "base" else parse_method(method).variant for method in points["method"]],
        name=[_bare(name, one) for name, one in zip(points["name"], adapters, strict=True)],
    )
    return {ADAPTER_NAMES[adapter]: plain[[one in (adapter, None) for one in adapters]] for adapter in there}


def _adapter_of(method: str) -> Adapter | None:
    return None if method == "base" else parse_method(method).adapter


def _bare(name: str, adapter: Adapter | None) -> str:
    """A line's name without the adapter that its panel is called after."""
    return name.removeprefix(ADAPTER_LABELS[adapter]) if adapter else name


def _panel(axes: Axes, part: pd.DataFrame, points: pd.DataFrame, quantity: Quantity) -> list[Artist]:
    """Draw the part of the points that stands in this panel; all panels have the same axes. Returns its legend."""
    axes.grid(axis="y")
    handles = [*_levels(axes, part, quantity), *_lines(axes, part, quantity), *references(axes, points)]
    sizes = _size_axis(axes, points)
    axes.set_xlim(sizes[0] / 2**0.6, sizes[-1] * 2**0.6)
    measure_axis(axes, points, quantity)
    return handles


def measure_axis(axes: Axes, points: pd.DataFrame, quantity: Quantity) -> None:
    """The range of a metric's axis: an accuracy from 0 to 100, another from its least value to what was measured."""
    if quantity.is_accuracy:
        axes.set_ylim(-4, 104)
        axes.set_yticks(range(0, 101, 20))
        return
    values = [value for run in points["values"] for value in run]
    top = np.nanmax([*values, *cut(points["high"], quantity), *points["floor"], 1e-3])
    bottom = np.nanmin([*values, *points["low"]]) if quantity.low is None else quantity.low
    margin = 0.05 * (top - bottom)
    axes.set_ylim(bottom - margin, top + margin)


def cut(values: "pd.Series[float]", quantity: Quantity) -> "pd.Series[float]":
    """The ends of intervals, but no further than the metric can go."""
    return values.clip(quantity.low, quantity.high)


def whiskers(point: "pd.Series[Any]", quantity: Quantity) -> list[list[float]]:
    """The ends of one point's interval as `Axes.errorbar` takes them; NaN, which draws none, where it has none."""
    low, high = (float(np.clip(point[end], quantity.low, quantity.high)) for end in ("low", "high"))
    return [[np.maximum(point["mean"] - low, 0)], [np.maximum(high - point["mean"], 0)]]


def references(axes: Axes, points: pd.DataFrame) -> list[Artist]:
    """What needs no model, where it was measured: the majority class, or the ECE of a calibrated one."""
    handles: list[Artist] = []
    if points["majority"].notna().any():
        axes.axhline(points["majority"].mean(), color=INK, linestyle=(0, (1, 2)), linewidth=1)
        handles.append(Line2D([], [], color=INK, linestyle=(0, (1, 2)), linewidth=1, label="Majority class"))
    if points["floor"].notna().any():
        axes.axhspan(points["floor"].min(), points["floor"].max(), color=INK, alpha=BAND, linewidth=0, zorder=0)
        handles.append(Patch(color=INK, alpha=BAND, linewidth=0, label="Of calibrated models (floor)"))
    return handles


def _levels(axes: Axes, points: pd.DataFrame, quantity: Quantity) -> list[Artist]:
    """The base model without demonstrations."""
    start = points[(points["method"] == "base") & ~points["with_icl"]]
    return [level(axes, line, quantity) for _, line in start.groupby("variation")]


def level(axes: Axes, line: pd.DataFrame, quantity: Quantity) -> Artist:
    """A line across the axes with its interval, for what does not depend on where it stands; returns its legend."""
    look = look_of(*line[IDENTITY].iloc[0])
    drawn: dict[str, Any] = {"color": look.colour, "linestyle": (0, (5, 2)), "linewidth": 1.4}
    axes.axhline(line["mean"].mean(), **drawn)
    low, high = cut(line["low"], quantity).mean(), cut(line["high"], quantity).mean()
    if high > low:
        axes.axhspan(low, high, color=look.colour, alpha=BAND, linewidth=0, zorder=0)
    return Line2D([], [], label=line["name"].iloc[0], **drawn)


def _lines_of(points: pd.DataFrame) -> list[pd.DataFrame]:
    """Every model but the base model without demonstrations."""
    drawn = points[(points["method"] != "base") | points["with_icl"]]
    return [line for _, line in drawn.groupby(IDENTITY, sort=False)]


def _lines(axes: Axes, points: pd.DataFrame, quantity: Quantity) -> list[Artist]:
    lines = _lines_of(points)
    handles: list[Artist] = []
    for line in lines:
        look = look_of(*line[IDENTITY].iloc[0])
        _line(axes, line.set_index("num_train_examples").reindex(sizes_of(points)), look, quantity)
        handles.append(key(look, line["name"].iloc[0]))
    return handles


def _line(axes: Axes, line: pd.DataFrame, look: Look, quantity: Quantity) -> None:
    """One line; `line` has a row, if an empty one, for each N. What overlaps is not moved aside."""
    places = line.index.to_numpy()
    whiskers = [line["mean"] - cut(line["low"], quantity), cut(line["high"], quantity) - line["mean"]]
    axes.errorbar(
        places,
        line["mean"],
        yerr=[whisker.clip(lower=0) for whisker in whiskers],
        linestyle=look.line,
        linewidth=1.4,
        elinewidth=1.0,
        capsize=2,
        clip_on=False,
        alpha=SEEN_THROUGH,
        **look.marks(),
    )
    singles = [(place, value) for place, run in zip(places, line["values"], strict=True) for value in _values(run)]
    if singles:
        axes.plot(*zip(*singles, strict=True), "o", mfc="none", mec=look.colour, mew=0.7, ms=3, clip_on=False)


def _values(run: object) -> Sequence[float]:
    """The runs of a point, none where it was not measured; a single run is the point itself."""
    return run if isinstance(run, tuple) and len(run) > 1 else ()


def sizes_of(points: pd.DataFrame) -> list[int]:
    """Every N that anything was measured at."""
    return sorted(set(points["num_train_examples"]))


def _size_axis(axes: Axes, points: pd.DataFrame) -> list[int]:
    sizes = sizes_of(points)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    return sizes
