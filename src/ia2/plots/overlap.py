"""How much the subspaces of two LoRA updates overlap: beside chance, and beside two runs of the same method.

`overlaps` has a row for each pair of runs, layer and projection: name (of the pair of models), relation (`methods`, or
`runs` for the control), run_a, run_b, projection, and for a kind of overlap (`overlap` or `energy_overlap`) the columns
left_{kind}, right_{kind}, and what they are by chance.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import pandas as pd
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ia2.evaluation.statistics import interval_over_runs
from ia2.plots.drawing import LETTER, STYLE, WIDTH, add_caption, add_legend
from ia2.results.label import INK

Kind = Literal["overlap", "energy_overlap"]
LABELS: Mapping[Kind, str] = {"overlap": "Subspace overlap", "energy_overlap": "Energy-weighted overlap"}
CHANCES: Mapping[Kind, str] = {"overlap": "chance_{}", "energy_overlap": "chance_{}_energy"}
SIDES = {"left": "Left (output side)", "right": "Right (input side)"}
COLOURS = {"methods": "#56b4e9", "runs": "#ffffff"}
HATCHES = {"methods": "", "runs": "///"}
MEANINGS = {"methods": "Two methods, same run", "runs": "Same method, other run (control)"}
FEWEST_PAIRS = 3
"""Of fewer pairs of runs no interval is drawn."""
BODY = 0.62
"""Height of a bar, violin or box; a pair has a place of height 1."""

Draw = Callable[[Axes, float, pd.DataFrame, str], None]
"""Draws one pair at a height: its rows, and the column to show."""


def overlap_bars(overlaps: pd.DataFrame, kind: Kind = "overlap", caption: str = "") -> Figure:
    """Mean overlap of each pair of models: bar the mean over pairs of runs, whisker its 95% t interval over them."""
    panels = {title: (overlaps, side) for side, title in SIDES.items()}
    return _figure(panels, kind, _bar, caption)


def overlap_violins(overlaps: pd.DataFrame, kind: Kind = "overlap", caption: str = "") -> Figure:
    """How the overlap of each pair of models spreads over layers, projections and pairs of runs; line: the median."""
    panels = {title: (overlaps, side) for side, title in SIDES.items()}
    return _figure(panels, kind, _violin, caption)


def overlap_boxes(overlaps: pd.DataFrame, kind: Kind = "overlap", caption: str = "") -> Figure:
    """The same for each projection, whose chance differs: box the quartiles, whiskers 1.5 of their distance."""
    panels = {
        f"{str(projection).rpartition('.')[2]}, {side}": (rows, side)
        for side in SIDES
        for projection, rows in overlaps.groupby("projection")
    }
    return _figure(panels, kind, _box, caption)


def _figure(panels: Mapping[str, tuple[pd.DataFrame, str]], kind: Kind, draw: Draw, caption: str) -> Figure:
    """A row of panels for each side; pairs from top to bottom in the order in which they come."""
    columns = len(panels) // len(SIDES) if len(panels) > len(SIDES) else len(SIDES)
    rows_of_panels = len(panels) // columns
    names = list(dict.fromkeys(name for rows, _ in panels.values() for name in rows["name"]))
    width = 1.8 * columns + LETTER * max(map(len, names), default=0)
    size = (max(WIDTH, width), rows_of_panels * (0.24 * len(names) + 0.85))
    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows_of_panels, columns, sharex=True, sharey=True, squeeze=False)
        for axes, (title, (rows, side)) in zip(grid.flat, panels.items(), strict=True):
            axes.grid(axis="x")
            for place, name in enumerate(names):
                _pair(axes, place, rows[rows["name"] == name], (f"{side}_{kind}", CHANCES[kind].format(side)), draw)
            axes.set_title(title, loc="left")
            axes.tick_params(axis="y", length=0)
        grid[0, 0].set_yticks(range(len(names)), names)
        grid[0, 0].set_ylim(len(names) - 0.5, -0.5)
        grid[0, 0].set_xlim(left=min(0.0, grid[0, 0].get_xlim()[0]))
        grid[0, 0].xaxis.set_major_locator(MaxNLocator(3))
        grid[0, 0].xaxis.set_major_formatter("{x:g}")
        for axes in grid[-1]:
            axes.set_xlabel(LABELS[kind])
        add_legend(figure, _keys({relation for rows, _ in panels.values() for relation in rows["relation"]}))
        add_caption(figure, caption)
    return figure


def _pair(axes: Axes, place: float, rows: pd.DataFrame, columns: tuple[str, str], draw: Draw) -> None:
    """One pair of models and its chance level; nothing where it was not measured."""
    value, chance = columns
    measured = rows.dropna(subset=[value])
    if measured.empty:
        return
    draw(axes, place, measured, value)
    axes.vlines(measured[chance].mean(), place - 0.45, place + 0.45, color=INK, linewidth=1.4, linestyle=(0, (1, 1)))


def _look(rows: pd.DataFrame) -> dict[str, Any]:
    relation = rows["relation"].iloc[0]
    return {"facecolor": COLOURS[relation], "hatch": HATCHES[relation], "edgecolor": INK, "linewidth": 0.8}


def _bar(axes: Axes, place: float, rows: pd.DataFrame, column: str) -> None:
    means = rows.groupby(["run_a", "run_b"])[column].mean()
    axes.barh(place, means.mean(), height=BODY, **_look(rows))
    interval = interval_over_runs(means)
    if len(means) >= FEWEST_PAIRS:
        ends = [[means.mean() - max(interval.low, 0)], [min(interval.high, 1) - means.mean()]]
        axes.errorbar([means.mean()], [place], xerr=ends, color=INK, capsize=2, linewidth=1)


def _violin(axes: Axes, place: float, rows: pd.DataFrame, column: str) -> None:
    if rows[column].nunique() < 2:  # which has no density
        axes.plot(rows[column].iloc[0], place, "|", color=INK)
        return
    drawn: Any = axes.violinplot(rows[column], [place], orientation="horizontal", widths=BODY, showextrema=False)
    for body in drawn["bodies"]:
        body.set(**_look(rows), alpha=1)
    axes.vlines(rows[column].median(), place - BODY / 2, place + BODY / 2, color=INK, linewidth=1.4)


def _box(axes: Axes, place: float, rows: pd.DataFrame, column: str) -> None:
    ink = {"color": INK, "linewidth": 0.9}
    axes.boxplot(
        rows[column],
        positions=[place],
        widths=BODY,
        orientation="horizontal",
        patch_artist=True,
        manage_ticks=False,
        boxprops=_look(rows),
        medianprops={**ink, "linewidth": 1.4},
        whiskerprops=ink,
        capprops=ink,
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": INK},
    )


def _keys(relations: set[str]) -> list[Artist]:
    patches: list[Artist] = [
        Patch(facecolor=COLOURS[relation], hatch=HATCHES[relation], edgecolor=INK, label=MEANINGS[relation])
        for relation in MEANINGS
        if relation in relations
    ]
    return [*patches, Line2D([], [], color=INK, linewidth=1.4, linestyle=(0, (1, 1)), label="Chance")]
