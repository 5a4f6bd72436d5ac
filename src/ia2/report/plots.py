"""Figures: each a function of a frame that returns a Figure, without pyplot and its global state.

They are drawn narrow, so that they stay readable on a phone and stand side by side on a screen, and in two neutral
colours (`INK`, `LINE`) that the page replaces by its own, for its light and its dark scheme. A value that is missing is
a gap, never 0.
"""

import math
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ia2.report.styles import INK, LINE
from ia2.report.summary import SummaryRow, rows_of

STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
}
WIDTH = 4.8
LINE_STYLES = ("-", "--", ":", "-.")
JOINED_BINS = 8
LOG_RATIO = 20
"""A dev loss whose greatest value is so many times its least is drawn on a logarithmic axis."""


def accuracy_bars(rows: pd.DataFrame, caption: str = "") -> Figure:
    """Accuracy in percent of a group's summary rows: bar the mean, whisker the sd over runs, dots the runs."""
    with rc_context(STYLE):
        figure = Figure(figsize=(max(WIDTH, 0.85 * len(rows) + 0.6), 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(axis="y")
        for place, row in enumerate(rows_of(rows)):
            _bar(axes, place, row)
        _majority_line(axes, rows["majority"].dropna())
        axes.set_ylim(0, 108)
        axes.set_yticks(range(0, 101, 20))
        axes.set_ylabel("Accuracy (%)")
        axes.set_xticks(range(len(rows)), [_tick(row) for row in rows_of(rows)])
        axes.tick_params(axis="x", length=0, pad=7)
        _caption(figure, caption)
    return figure


def reliability_diagram(series: pd.DataFrame, caption: str = "") -> Figure:
    """Accuracy against confidence, a panel per model: light dots are the bins of single runs, their area the count.

    The line joins the bins of all runs, in order of confidence, to at most 8 of about equal count. `series` is that of
    `reliability_series`.
    """
    panels = list(series.groupby("panel", sort=False))
    with rc_context(STYLE):
        figure, grid = _grid(len(panels), height=2.35)
        for axes, (name, bins) in zip(grid, panels, strict=True):
            _reliability(axes, bins)
            axes.set_title(_wrapped(str(name)), loc="left")
        figure.supxlabel("Confidence (probability of the predicted first token)", fontsize=9)
        figure.supylabel("Fraction correct", fontsize=9)
        _caption(figure, caption)
    return figure


def dev_loss_curves(series: pd.DataFrame, caption: str = "") -> Figure:
    """Dev loss against step, a panel per model and phase and a line per run; the dot is the lowest value.

    Losses of different phases have different units and share no axis. `series` is that of `dev_loss_series`.
    """
    panels = list(series.groupby(["panel", "phase"], sort=False))
    with rc_context(STYLE):
        figure, grid = _grid(len(panels), height=2.2)
        for axes, ((name, phase), curves) in zip(grid, panels, strict=True):
            _losses(axes, curves)
            axes.set_title(_wrapped(f"{name}: {phase} phase"), loc="left")
        if panels:
            grid[0].legend(handlelength=2.2, fontsize=8)
        figure.supxlabel("Optimiser step", fontsize=9)
        figure.supylabel("Dev loss", fontsize=9)
        _caption(figure, caption)
    return figure


def _bar(axes: Axes, place: int, row: SummaryRow) -> None:
    axes.bar(place, row.accuracy, width=0.66, color=row.colour, alpha=0.85)
    spread = 0.0 if math.isnan(row.accuracy_sd) else row.accuracy_sd
    if row.n > 1:
        axes.errorbar(place, row.accuracy, yerr=spread, color=INK, capsize=3, linewidth=1)
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
    top = max(row.accuracy + spread, *row.accuracy_values)
    axes.annotate(f"{row.accuracy:.1f}", (place, top), (0, 4), textcoords="offset points", ha="center", fontsize=9)


def _majority_line(axes: Axes, majorities: "pd.Series[float]") -> None:
    if majorities.empty:
        return
    axes.axhline(majorities.mean(), color=INK, linestyle=":", linewidth=1, label="majority class")
    axes.legend(loc="upper left", fontsize=8)


def _tick(row: SummaryRow) -> str:
    return f"{row.tick}\n{textwrap.fill(row.details, 14)}" if row.details else row.tick


def _reliability(axes: Axes, bins: pd.DataFrame) -> None:
    colour, marker = bins["colour"].iloc[0], bins["marker"].iloc[0]
    axes.plot([0, 1], [0, 1], color=INK, linestyle=":", linewidth=1)
    axes.scatter(bins["confidence"], bins["accuracy"], s=3 * bins["count"], color=colour, alpha=0.3, linewidths=0)
    joined = join_bins(bins)
    axes.plot(joined["confidence"], joined["accuracy"], color=colour, marker=marker, ms=4.5, linewidth=1.4)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.05, 1.05), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.grid(visible=True)
    if not math.isnan(bins["ece"].iloc[0]):
        axes.annotate(_ece(bins), (0.03, 0.97), xycoords="axes fraction", va="top", fontsize=8)


def _ece(bins: pd.DataFrame) -> str:
    ece, floor = bins["ece"].iloc[0], bins["ece_floor"].iloc[0]
    return f"ECE {ece:.2f}" + ("" if math.isnan(floor) else f"\nfloor {floor:.2f}")


def join_bins(bins: pd.DataFrame, num_joined: int = JOINED_BINS) -> pd.DataFrame:
    """Neighbouring bins merged, weighted by count, to at most `num_joined` of about equal count."""
    ordered = bins.sort_values("confidence")
    count = ordered["count"].to_numpy(dtype=float)
    middle = np.cumsum(count) - count / 2
    place = np.minimum(middle * num_joined // count.sum(), num_joined - 1)
    sums = ordered[["confidence", "accuracy"]].mul(count, axis=0).assign(count=count).groupby(place).sum()
    return sums.assign(confidence=sums["confidence"] / sums["count"], accuracy=sums["accuracy"] / sums["count"])


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


def _grid(num_panels: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of panels in two columns, and the panels row by row."""
    columns = min(2, max(num_panels, 1))
    num_rows = max(math.ceil(num_panels / columns), 1)
    figure = Figure(figsize=(WIDTH, height * num_rows + 0.3), layout="constrained")
    return figure, [figure.add_subplot(num_rows, columns, place + 1) for place in range(num_panels)]


def _wrapped(title: str) -> str:
    return textwrap.fill(title, 30)


def _caption(figure: Figure, caption: str) -> None:
    """Put the caption below the axes, for images that travel without their page."""
    if caption:
        width = int(figure.get_figwidth() * 17)
        lower = figure.get_supxlabel()
        text = f"{lower}\n\n" if lower else ""
        figure.supxlabel(text + textwrap.fill(caption, width), fontsize=8)
