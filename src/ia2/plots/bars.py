"""Models side by side: accuracies as bars, the four adapters of each variant, and all evaluation sets in one figure."""

import math
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ia2.methods import ADAPTERS, VARIANTS, Method, parse_method
from ia2.plots.drawing import IDENTITY, LETTER, STYLE, WIDTH, finish, look_of, trained_points
from ia2.plots.lines import level, measure_axis, references, whiskers
from ia2.results.frame import Row, rows_of
from ia2.results.label import ADAPTER_LOOKS, ADAPTER_NAMES, INK, in_order
from ia2.results.quantities import Quantity
from ia2.results.text import MISSING

# Accuracies of one evaluation set

WIDEST = 7.0
"""Inches that bars take side by side."""


def accuracy_bars(rows: pd.DataFrame, caption: str = "") -> Figure:
    """Accuracy in percent of a group's rows by model: bar the mean, whisker its 95% interval, dots the runs.

    Many bars are in several panels, one below the other, since a figure that is wide is small on a page.
    """
    models = rows_of(rows)
    ticks = [f"{row.tick}\n{textwrap.fill(row.details, 14)}" if row.details else row.tick for row in models]
    width = max(0.85, LETTER * max(len(line) for tick in ticks for line in tick.splitlines()))
    num_panels = math.ceil(len(models) / max(1, int(WIDEST / width)))
    num_bars = math.ceil(len(models) / num_panels)
    majority: dict[str, Any] = {"color": INK, "linestyle": ":", "linewidth": 1}
    handles = []
    with rc_context(STYLE):
        figure = Figure(figsize=(max(WIDTH, width * num_bars + 0.6), 3.2 * num_panels), layout="constrained")
        for number in range(num_panels):
            axes = figure.add_subplot(num_panels, 1, number + 1)
            part = slice(number * num_bars, (number + 1) * num_bars)
            for place, row in enumerate(models[part]):
                _accuracy_bar(axes, place, row)
            axes.set(xlim=(-0.5, num_bars - 0.5), ylim=(0, 108), yticks=range(0, 101, 20), ylabel="Accuracy (%)")
            axes.set_xticks(range(len(ticks[part])), ticks[part])
            axes.tick_params(axis="x", length=0, pad=7)
            axes.grid(axis="y")
            if rows["majority"].notna().any():
                axes.axhline(rows["majority"].mean(), **majority)
                handles = [Line2D([], [], label="Majority class", **majority)]
        return finish(figure, handles, caption)


def _accuracy_bar(axes: Axes, place: int, row: Row) -> None:
    axes.bar(place, row.accuracy, width=0.66, color=row.colour, alpha=0.85)
    low, high = (row.accuracy if math.isnan(end) else end for end in (row.low, row.high))
    ends = [[max(row.accuracy - low, 0.0)], [max(high - row.accuracy, 0.0)]]
    axes.errorbar([place], [row.accuracy], yerr=ends, color=INK, capsize=3, linewidth=1)
    if row.n > 1:
        ring: dict[str, Any] = {"ms": 3.5, "mfc": "none", "mec": INK, "mew": 0.8, "linestyle": "none"}
        axes.plot(place + np.linspace(-0.18, 0.18, row.n), row.accuracy_values, "o", clip_on=False, **ring)
    top = max(high, *row.accuracy_values)
    axes.annotate(f"{row.accuracy:.1f}", (place, top), (0, 4), textcoords="offset points", ha="center", fontsize=9)


# Adapters

BAR = 0.19
"""Width of a bar; a variant has a place of width 1, with room for four."""


def adapters_compared(points: pd.DataFrame, quantity: Quantity, title: str = "", caption: str = "") -> Figure:
    """A metric as a bar for each adapter, grouped by variant, with its 95% interval and the single runs as circles.

    `points` are those of `results.frame.in_condition` at one N. Models of a variant that differ in another field are
    groups of their own. An adapter that was not measured has a dash, so that it differs from one of height 0.
    """
    trained = trained_points(points)
    found = {(parse_method(one.method).variant, one.details) for one in rows_of(trained)}
    groups = sorted(found, key=lambda group: (list(VARIANTS).index(group[0]), in_order(group[1])))
    below = [[variant, *textwrap.wrap(details, 16)] for variant, details in groups]
    with rc_context(STYLE):
        width = max(0.95, LETTER * max((len(line) for lines in below for line in lines), default=0))
        figure = Figure(figsize=(max(WIDTH, width * len(groups) + 0.8), 3.0), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(axis="y")
        base = points[points["method"] == "base"]
        handles = [level(axes, line, quantity) for _, line in base.groupby(IDENTITY)]
        for place, (variant, details) in enumerate(groups):
            members = points[points["details"] == details].set_index("method")
            for number, adapter in enumerate(ADAPTERS):
                method = str(Method(adapter, variant))
                _adapter_bar(axes, place + (number - 1.5) * BAR, method, members.loc[members.index == method], quantity)
        axes.set_xticks(range(len(groups)), ["\n".join(lines) for lines in below])
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.5, len(groups) - 0.5)
        measure_axis(axes, points, quantity)
        axes.set_ylabel(quantity.label)
        axes.set_title(title, loc="left")
        return finish(figure, [*handles, *references(axes, points), *_hatch_keys()], caption)


def _adapter_bar(axes: Axes, place: float, method: str, point: pd.DataFrame, quantity: Quantity) -> None:
    if point.empty:
        axes.annotate(MISSING, (place, 0), (0, 5), textcoords="offset points", ha="center", color=INK)
        return
    look, (values,) = look_of(method, with_icl=False), point["values"]
    face: dict[str, Any] = {
        "facecolor": "white" if look.hatch else look.colour,
        "edgecolor": look.colour,
        "hatch": look.hatch,
    }
    axes.bar(place, point["mean"], width=BAR * 0.92, linewidth=0.8, **face)
    axes.errorbar([place], point["mean"], yerr=whiskers(point, quantity), color=INK, capsize=2, linewidth=0.9)
    if len(values) > 1:  # a single run is the bar itself
        axes.plot([place] * len(values), values, "o", ms=3, mfc="white", mec=INK, mew=0.7, clip_on=False)


def _hatch_keys() -> list[Artist]:
    """The meaning of the hatchings; the colours are those of the variants, whose names are below."""
    hatches = {ADAPTER_NAMES[adapter]: ADAPTER_LOOKS[adapter].hatch for adapter in ADAPTERS}
    return [
        Patch(facecolor="white" if hatch else INK, edgecolor=INK, hatch=hatch, label=name)
        for name, hatch in hatches.items()
    ]


# All evaluation sets

LINE_HEIGHT = 0.27
"""Inches that an evaluation set takes."""
SHIFT = 0.2
"""Distance by which marks are moved up or down at most, so that equal values do not hide each other."""
LONGEST_NAME = 30
"""Characters of a set's name; a longer one is cut."""


def overview(rows: pd.DataFrame, column: str, label: str, greatest: float | None = None) -> Figure:
    """A column of the view by model: a line for each evaluation set, a mark for each model; a missing one is a gap.

    Models that have one label have one look. The axis begins at 0 and ends at `greatest` if that is given.
    """
    sets = rows_of(rows.drop_duplicates("title"))
    frame = rows.assign(place=pd.factorize(rows["title"])[0])
    with rc_context(STYLE):
        models = [marks for _, marks in frame.sort_values("order").groupby("label", sort=False)]
        line_height = max(LINE_HEIGHT, 0.065 * len(models)) if column == "accuracy" else LINE_HEIGHT
        height = line_height * len(sets) + 0.2 * math.ceil(len(models) / 2) + 0.7
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        for marks, shift in zip(models, np.linspace(-SHIFT, SHIFT, len(models)), strict=True):
            model, places = marks.iloc[0], (marks["place"] + shift).to_numpy()
            look = look_of(model["method"], model["with_icl"], control=model["control"]).marks(5)
            drawn = {"linestyle": "none", "alpha": 0.9, "clip_on": False, "label": model["label"], **look}
            axes.plot(marks[column].to_numpy(dtype=float), places, **drawn)
            if column == "accuracy" and "low" in marks:
                axes.hlines(places, marks["low"], marks["high"], color=model["colour"], linewidth=1, alpha=0.7)
        axes.set_yticks(range(len(sets)), [_set_name(one) for one in sets])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="both")
        axes.set(xlim=(0, greatest), ylim=(len(sets) - 0.4, -0.6), xlabel=label)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8, handletextpad=0.3)
    return figure


def _set_name(row: Row) -> str:
    """In one line: the set, and in brackets the training set if that is another."""
    name = f"{row.eval_dataset}* ({row.trained_dataset})" if row.out_of_distribution else row.eval_dataset
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
