"""A metric against the number of examples N, a line for each model, and against its costs: seconds, and bytes.

The axis of a metric shows the data: points far beyond most others, as the NLL of a base model, are beyond its end, and
a mark there has their number.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from ia2.methods import ADAPTERS, parse_method
from ia2.plots.drawing import IDENTITY, STYLE, finish, key, label_outer, look_of, panel_grid, trained_points
from ia2.results.label import ADAPTER_LABELS, ADAPTER_NAMES, INK
from ia2.results.quantities import Quantity

SEEN_THROUGH = 0.75
"""Opacity of marks and intervals, which can overlap."""
BAND = 0.16
MOST_LINES = 8
"""Number of lines from which, with several adapters, each adapter has a panel."""
FAR = 2.5
"""Ratio of a value to the next lower one from which it is beyond the end of the axis, if most others are below."""
MOST_MARKS = 3
"""Rows of such values for which the axis has room of its own."""


def metric_against_n(points: pd.DataFrame, quantity: Quantity, title: str = "", caption: str = "") -> Figure:
    """Mean of a metric against N (logarithmic, base 2), with 95% intervals and, small, the single runs.

    `points` are those of `results.frame.in_condition`. A line has a gap where its N was not measured. The base model
    without demonstrations sees no examples and is a level; with them it is a line.
    """
    panels = _panels(points)
    sizes = sizes_of(points)
    with rc_context(STYLE):
        figure, grid = panel_grid(len(panels), height=2.9 if len(panels) == 1 else 2.4, width=2.9)
        handles: dict[str, Artist] = {}
        for axes, (name, part) in zip(grid, panels.items(), strict=True):
            axes.grid(axis="y")
            levels = [level(axes, line, quantity) for _, line in _starts(part).groupby("variation")]
            drawn = [*levels, *_lines(axes, part, sizes, quantity), *references(axes, points)]
            handles |= {str(handle.get_label()): handle for handle in drawn}
            axes.set_xscale("log", base=2)
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlim(sizes[0] / 2**0.6, sizes[-1] * 2**0.6)
            measure_axis(axes, points, quantity)
            _mark_beyond(axes, part)
            axes.set_title(name or title, loc="left")
        label_outer(grid, "Training examples N", quantity.label)
        return finish(figure, list(handles.values()), caption, title if len(panels) > 1 else "")


def sizes_of(points: pd.DataFrame) -> list[int]:
    """Every N that anything was measured at."""
    return sorted(set(points["num_train_examples"]))


def _panels(points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Title -> points of a panel: all of them, or those of each adapter and the base model, and no adapter's look."""
    methods = [None if method == "base" else parse_method(method) for method in points["method"]]
    measured = [adapter for adapter in ADAPTERS if any(one and one.adapter == adapter for one in methods)]
    lines = points[(points["method"] != "base") | points["with_icl"]].drop_duplicates(IDENTITY)
    if len(lines) <= MOST_LINES or len(measured) < 2:
        return {"": points}
    names = zip(points["name"], methods, strict=True)
    plain = points.assign(
        method=[one.variant if one else "base" for one in methods],
        name=[name.removeprefix(ADAPTER_LABELS[one.adapter]) if one else name for name, one in names],
    )
    return {
        ADAPTER_NAMES[adapter]: plain[[one is None or one.adapter == adapter for one in methods]]
        for adapter in measured
    }


def _starts(points: pd.DataFrame) -> pd.DataFrame:
    """The points of the base model without demonstrations, which is one level whatever N."""
    return points[(points["method"] == "base") & ~points["with_icl"]]


def _lines(axes: Axes, points: pd.DataFrame, sizes: list[int], quantity: Quantity) -> list[Artist]:
    """A line for every model but the base model without demonstrations, with a gap at each N that it lacks.

    Points that overlap are not moved aside.
    """
    handles: list[Artist] = []
    for _, line in points.drop(_starts(points).index).groupby(IDENTITY, sort=False):
        look = look_of(*line[IDENTITY].iloc[0])
        drawn = line.set_index("num_train_examples").reindex(sizes)
        shape: dict[str, Any] = {
            "linestyle": look.line,
            "linewidth": 1.4,
            "elinewidth": 1.0,
            "capsize": 2,
            "alpha": SEEN_THROUGH,
        }
        axes.errorbar(drawn.index, drawn["mean"], yerr=whiskers(drawn, quantity), **shape, **look.marks())
        several = line[line["n"] > 1]  # a single run is the point itself
        singles = [
            (num, one) for num, run in zip(several["num_train_examples"], several["values"], strict=True) for one in run
        ]
        if singles:
            axes.plot(*zip(*singles, strict=True), "o", mfc="none", mec=look.colour, mew=0.7, ms=3)
        handles.append(key(look, line["name"].iloc[0]))
    return handles


def whiskers(points: pd.DataFrame, quantity: Quantity) -> "list[pd.Series[float]]":
    """Lengths of the intervals of points, as `Axes.errorbar` takes them, no further than the metric can go.

    NaN, which draws none, where a point has none.
    """
    ends = [points[end].clip(quantity.low, quantity.high) for end in ("low", "high")]
    return [(points["mean"] - ends[0]).clip(lower=0), (ends[1] - points["mean"]).clip(lower=0)]


def level(axes: Axes, line: pd.DataFrame, quantity: Quantity) -> Artist:
    """A line across the axes with its interval, for a value that is the same everywhere; returns its legend."""
    look = look_of(*line[IDENTITY].iloc[0])
    drawn: dict[str, Any] = {"color": look.colour, "linestyle": (0, (5, 2)), "linewidth": 1.4}
    axes.axhline(line["mean"].mean(), **drawn)
    low, high = (line[end].clip(quantity.low, quantity.high).mean() for end in ("low", "high"))
    if high > low:
        axes.axhspan(low, high, color=look.colour, alpha=BAND, linewidth=0, zorder=0)
    return Line2D([], [], label=line["name"].iloc[0], **drawn)


def references(axes: Axes, points: pd.DataFrame) -> list[Artist]:
    """Levels that need no model, where measured: the majority class, or the ECE of a calibrated one."""
    handles: list[Artist] = []
    if points["majority"].notna().any():
        look: dict[str, Any] = {"color": INK, "linestyle": (0, (1, 2)), "linewidth": 1}
        axes.axhline(points["majority"].mean(), **look)
        handles.append(Line2D([], [], label="Majority class", **look))
    if points["floor"].notna().any():
        span: dict[str, Any] = {"color": INK, "alpha": BAND, "linewidth": 0}
        axes.axhspan(points["floor"].min(), points["floor"].max(), zorder=0, **span)
        handles.append(Patch(label="Of calibrated models (floor)", **span))
    return handles


# The axis of a metric


def measure_axis(axes: Axes, points: pd.DataFrame, quantity: Quantity) -> None:
    """The range of a metric's axis: accuracy from 0 to 100, another from its least value to the greatest near others.

    A value is far if it is `FAR` times the next lower one and more than half of the points are below it.
    """
    if quantity.is_accuracy:
        axes.set_ylim(-4, 104)
        axes.set_yticks(range(0, 101, 20))
        return
    starts = _starts(points)
    once = points.drop(starts[starts.duplicated(IDENTITY)].index)  # a level counts once, whatever N
    greatest = [max(run, default=math.nan) for run in once["values"]]
    tops = np.sort(np.fmax(np.fmax(once["mean"], greatest), once["high"].clip(quantity.low, quantity.high)))
    bottom = quantity.low
    if bottom is None:
        bottom = np.nanmin([*once["low"], *(value for run in once["values"] for value in run)])
    gaps = (k for k in range(len(tops) // 2 + 1, len(tops)) if tops[k] - bottom > FAR * (tops[k - 1] - bottom))
    near = next(gaps, len(tops))
    top = np.nanmax([tops[near - 1], *points["floor"], bottom + 1e-3])
    beyond = once[once["mean"] > top]
    at_n = beyond.drop(_starts(beyond).index)["num_train_examples"].value_counts()
    rows = len(beyond) - at_n.sum() + max(at_n, default=0)
    axes.set_ylim(bottom - 0.05 * (top - bottom), top + (0.05 + 0.09 * min(rows, MOST_MARKS)) * (top - bottom))


def _mark_beyond(axes: Axes, points: pd.DataFrame) -> None:
    """Write means beyond the end of the axis below that end: a level's with its name, a point's at its N."""
    beyond = points[points["mean"] > axes.get_ylim()[1]]
    levels = [line.iloc[0] for _, line in _starts(beyond).groupby("variation")]
    texts: list[tuple[Any, float, int, str, Any]] = [
        (axes.transAxes, 0.5, row, f"▲ {one['name']}: {one['mean']:.3g}", one) for row, one in enumerate(levels)
    ]
    for _, at_n in beyond.drop(_starts(beyond).index).groupby("num_train_examples"):
        ordered = at_n.sort_values("mean", ascending=False)
        for row in range(len(at_n)):
            one = ordered.iloc[row]
            place = float(one["num_train_examples"])
            texts.append((axes.get_xaxis_transform(), place, len(levels) + row, f"▲ {one['mean']:.3g}", one))
    look: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "top", "fontsize": 8}
    look["bbox"] = {"facecolor": "#ffffff", "linewidth": 0, "pad": 1}  # a line on its way out is below the text
    for across, place, row, text, one in texts:
        colour = look_of(*one[IDENTITY]).colour
        axes.annotate(text, (place, 1), (0, -1 - 10 * row), xycoords=across, color=colour, **look)


# Costs

COSTS = {"train_seconds": ("Seconds to train", 1.0), "adapter_bytes": ("Size of the adapter (MB)", 1e-6)}
"""Column of the points -> its axis, and the factor of its numbers."""
SMALLEST, LARGEST = 4.0, 9.0


def cost_against_accuracy(points: pd.DataFrame, quantity: Quantity, title: str = "", caption: str = "") -> Figure:
    """A metric against the seconds of training and against the bytes of the adapter, a mark for each method and N.

    `points` are those of `results.frame.in_condition`. The base model costs no training and is a level, with
    demonstrations that of the greatest N. A mark is the greater the more examples N it was trained on; a cost that is
    not known, or 0, has no mark.
    """
    trained = trained_points(points)
    sizes = sizes_of(trained)
    marks = dict(zip(sizes, np.linspace(LARGEST, SMALLEST, len(sizes))[::-1], strict=True))
    base = points[points["method"] == "base"]
    with rc_context(STYLE):
        figure, grid = panel_grid(len(COSTS), height=2.7, width=3.1)
        handles: dict[str, Artist] = {}
        for axes, (column, (name, scale)) in zip(grid, COSTS.items(), strict=True):
            axes.grid(visible=True)
            for _, line in base.groupby(IDENTITY):
                last = line[line["num_train_examples"] == line["num_train_examples"].max()]
                handles[line["name"].iloc[0]] = level(axes, last, quantity)
            placed = trained.assign(cost=trained[column] * scale, size=trained["num_train_examples"].map(marks))
            for _, line in placed[placed["cost"] > 0].groupby(IDENTITY, sort=False):
                handles[line["name"].iloc[0]] = _cost_line(axes, line, quantity)
            _cost_axis(axes, name)
            measure_axis(axes, points, quantity)
        grid[0].set_title(title, loc="left")
        grid[0].set_ylabel(quantity.label)
        ring: dict[str, Any] = {"linestyle": "none", "marker": "o", "mfc": "none", "mec": INK}
        keys = [Line2D([], [], ms=marks[num], label=f"N = {num}", **ring) for num in sizes if len(sizes) > 1]
        return finish(figure, [*handles.values(), *keys], caption)


def _cost_line(axes: Axes, line: pd.DataFrame, quantity: Quantity) -> Artist:
    """The marks of a method, joined in the order of N; returns its legend."""
    look = look_of(*line[IDENTITY].iloc[0])
    axes.plot(line["cost"], line["mean"], linestyle=look.line, linewidth=0.8, color=look.colour)
    for place in range(len(line)):
        point = line.iloc[[place]]
        shape: dict[str, Any] = {"elinewidth": 0.8, "alpha": SEEN_THROUGH, **look.marks(point["size"].iloc[0])}
        axes.errorbar(point["cost"], point["mean"], yerr=whiskers(point, quantity), **shape)
    return key(look, line["name"].iloc[0])


def _cost_axis(axes: Axes, name: str) -> None:
    """Logarithmic, and no shorter than tenfold, so that costs which are nearly equal look so."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    middle, half = math.sqrt(low * high), math.sqrt(max(high / low, 10))
    axes.set_xlim(middle / half, middle * half)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(name)
