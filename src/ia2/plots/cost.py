"""What an accuracy cost: seconds to train, and bytes of the adapter."""

import math

import pandas as pd
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from ia2.plots.drawing import IDENTITY, STYLE, Look, add_caption, add_legend, key, look_of, panel_grid
from ia2.plots.lines import SEEN_THROUGH, level, measure_axis, sizes_of, whiskers
from ia2.results.label import INK
from ia2.results.quantities import Quantity

COSTS = {"train_seconds": ("Seconds to train", 1.0), "adapter_bytes": ("Size of the adapter (MB)", 1e-6)}
"""Column of the points -> its axis, and what its numbers are multiplied by."""
SMALLEST, LARGEST = 4.0, 9.0


def cost_against_accuracy(points: pd.DataFrame, quantity: Quantity, title: str = "", caption: str = "") -> Figure:
    """A metric against the seconds of training and against the bytes of the adapter, a mark for each method and N.

    `points` are those of `results.frame.in_condition`. The base model costs no training and is a level, with
    demonstrations that of the greatest N. A mark is the greater the more examples N it was trained on; a cost that is
    not known, or 0, has no mark.
    """
    with rc_context(STYLE):
        figure, grid = panel_grid(len(COSTS), height=2.7, width=3.1)
        handles: dict[str, Artist] = {}
        for axes, (column, (name, scale)) in zip(grid, COSTS.items(), strict=True):
            axes.grid(visible=True)
            trained = points[points["method"] != "base"].assign(cost=points[column] * scale)
            drawn = [*_levels(axes, points, quantity), *_lines(axes, trained[trained["cost"] > 0], quantity)]
            handles |= {str(handle.get_label()): handle for handle in drawn}
            _cost_axis(axes, name)
            measure_axis(axes, points, quantity)
        grid[0].set_title(title, loc="left")
        grid[0].set_ylabel(quantity.label)
        add_legend(figure, [*handles.values(), *_size_keys(points)])
        add_caption(figure, caption)
    return figure


def _levels(axes: Axes, points: pd.DataFrame, quantity: Quantity) -> list[Artist]:
    """The base model, in each pass."""
    base = points[points["method"] == "base"]
    lines = [line for _, line in base.groupby(IDENTITY)]
    return [
        level(axes, line[line["num_train_examples"] == line["num_train_examples"].max()], quantity) for line in lines
    ]


def _lines(axes: Axes, trained: pd.DataFrame, quantity: Quantity) -> list[Artist]:
    """The marks of every method, joined in the order of N."""
    lines = [line for _, line in trained.groupby(IDENTITY, sort=False)]
    handles: list[Artist] = []
    for line in lines:
        look = look_of(*line[IDENTITY].iloc[0])
        placed = line.assign(size=_sizes(line, trained))
        axes.plot(placed["cost"], placed["mean"], linestyle=look.line, linewidth=0.8, color=look.colour)
        for _, point in placed.iterrows():
            _mark(axes, point, quantity, look)
        handles.append(key(look, line["name"].iloc[0]))
    return handles


def _mark(axes: Axes, point: "pd.Series[float]", quantity: Quantity, look: Look) -> None:
    axes.errorbar(
        [point["cost"]],
        [point["mean"]],
        yerr=whiskers(point, quantity),
        elinewidth=0.8,
        alpha=SEEN_THROUGH,
        **look.marks(point["size"]),
    )


def _sizes(line: pd.DataFrame, trained: pd.DataFrame) -> list[float]:
    """Sizes of marks, in even steps from the least to the greatest N."""
    sizes = sizes_of(trained)
    step = (LARGEST - SMALLEST) / max(len(sizes) - 1, 1)
    return [LARGEST - step * (len(sizes) - 1 - sizes.index(size)) for size in line["num_train_examples"]]


def _size_keys(points: pd.DataFrame) -> list[Artist]:
    """What the sizes mean, if there are several."""
    trained = points[points["method"] != "base"].drop_duplicates("num_train_examples").sort_values("num_train_examples")
    if len(trained) < 2:
        return []
    marks = zip(trained["num_train_examples"], _sizes(trained, trained), strict=True)
    return [
        Line2D([], [], linestyle="none", marker="o", mfc="none", mec=INK, ms=size, label=f"N = {num}")
        for num, size in marks
    ]


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
