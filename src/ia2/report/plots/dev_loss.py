"""How training went: dev loss against step."""

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ia2.report.plots.drawing import STYLE, add_caption, panel_grid, wrapped

LINE_STYLES = ("-", "--", ":", "-.")
LOG_RATIO = 20
"""A dev loss whose greatest value is so many times its least is drawn on a logarithmic axis."""


def dev_loss_curves(series: pd.DataFrame, caption: str = "", columns: int = 2) -> Figure:
    """Dev loss against step, a panel per model and phase and a line per run; the dot is the lowest value.

    Losses of different phases have different units and share no axis. `series` is that of `dev_loss_series`.
    """
    panels = list(series.groupby(["panel", "phase"], sort=False))
    with rc_context(STYLE):
        figure, grid = panel_grid(len(panels), height=2.2, columns=columns)
        for axes, ((name, phase), curves) in zip(grid, panels, strict=True):
            _losses(axes, curves)
            axes.set_title(wrapped(f"{name}: {phase} phase"), loc="left")
        if panels:
            grid[0].legend(handlelength=2.2, fontsize=8)
        figure.supxlabel("Optimiser step", fontsize=9)
        figure.supylabel("Dev loss", fontsize=9)
        add_caption(figure, caption)
    return figure


def _losses(axes: Axes, curves: pd.DataFrame) -> None:
    for index, (run_idx, curve) in enumerate(curves.groupby("run_idx")):
        lowest = int(curve["dev_loss"].argmin())
        style = LINE_STYLES[index % len(LINE_STYLES)]
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
