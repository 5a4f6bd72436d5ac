"""How training went: dev loss against step."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from ia2.plots.drawing import STYLE, add_caption, add_legend, panel_grid, wrapped
from ia2.results.label import INK

LINE_STYLES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (8, 4)))
"""Of the runs, in order of their indices; five is the usual number."""
LOG_RATIO = 20
"""A dev loss whose greatest value is so many times its least is drawn on a logarithmic axis."""


def dev_loss_curves(series: pd.DataFrame, caption: str = "", columns: int = 2) -> Figure:
    """Dev loss against step, a panel per model and phase and a line per run; the dot is the lowest value.

    Losses of different phases have different units and share no axis. A run has one kind of line in all panels.
    `series` is that of `dev_loss_series`.
    """
    panels = list(series.groupby(["panel", "phase"], sort=False))
    lines = dict(zip(sorted(set(series["run_idx"])), cycle(LINE_STYLES), strict=False))
    with rc_context(STYLE):
        figure, grid = panel_grid(len(panels), height=2.2, columns=columns)
        for axes, ((name, phase), curves) in zip(grid, panels, strict=True):
            _losses(axes, curves, lines)
            axes.set_title(wrapped(f"{name}: {phase} phase"), loc="left")
        figure.supxlabel("Optimiser step", fontsize=9)
        figure.supylabel("Dev loss", fontsize=9)
        add_legend(figure, [Line2D([], [], color=INK, linestyle=lines[run], label=f"run {run}") for run in lines])
        add_caption(figure, caption)
    return figure


def _losses(axes: Axes, curves: pd.DataFrame, lines: Mapping[int, Any]) -> None:
    for run_idx, style in lines.items():
        curve = curves[curves["run_idx"] == run_idx]
        if curve.empty:
            continue
        lowest = int(curve["dev_loss"].argmin())
        axes.plot(
            curve["step"],
            curve["dev_loss"],
            color=curve["colour"].iloc[0],
            linestyle=style,
            linewidth=1.3,
            marker="o",
            markevery=[lowest],
            ms=4,
            label=f"run {run_idx}",
        )
    least, greatest = curves["dev_loss"].min(), curves["dev_loss"].max()
    if 0 < LOG_RATIO * least < greatest:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True)
