"""Whether a confidence can be believed: accuracy against confidence."""

import math

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ia2.plots.drawing import STYLE, add_caption, panel_grid, wrapped
from ia2.results.label import INK

JOINED_BINS = 8


def reliability_diagram(series: pd.DataFrame, caption: str = "", columns: int = 2) -> Figure:
    """Accuracy against confidence, a panel per model: light dots are the bins of single runs, their area the count.

    The line joins the bins of all runs, in order of confidence, to at most 8 of about equal count. `series` is that of
    `reliability_series`.
    """
    panels = list(series.groupby("panel", sort=False))
    with rc_context(STYLE):
        figure, grid = panel_grid(len(panels), height=2.5, columns=columns)
        for axes, (name, bins) in zip(grid, panels, strict=True):
            _reliability(axes, bins)
            axes.set_title(wrapped(str(name)), loc="left")
        figure.supxlabel("Confidence (probability of the predicted label, or first token of free text)", fontsize=9)
        figure.supylabel("Fraction correct", fontsize=9)
        add_caption(figure, caption)
    return figure


def _reliability(axes: Axes, bins: pd.DataFrame) -> None:
    colour, marker = bins["colour"].iloc[0], bins["marker"].iloc[0]
    axes.plot([0, 1], [0, 1], color=INK, linestyle=":", linewidth=1)
    for count in sorted(set(bins["count"])):  # marks of one size are written once, others one by one
        alike = bins[bins["count"] == count]
        axes.scatter(alike["confidence"], alike["accuracy"], s=3 * count, color=colour, alpha=0.3, linewidths=0)
    joined = join_bins(bins)
    axes.plot(joined["confidence"], joined["accuracy"], color=colour, marker=marker, ms=4.5, linewidth=1.4)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.05, 1.05), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.grid(visible=True)
    if not math.isnan(bins["ece"].iloc[0]):
        axes.set_xlabel(_ece(bins), fontsize=8)


def _ece(bins: pd.DataFrame) -> str:
    ece, floor = bins["ece"].iloc[0], bins["ece_floor"].iloc[0]
    return f"ECE {ece:.2f}" + ("" if math.isnan(floor) else f", floor {floor:.2f}")


def join_bins(bins: pd.DataFrame, num_joined: int = JOINED_BINS) -> pd.DataFrame:
    """Neighbouring bins merged, weighted by count, to at most `num_joined` of about equal count."""
    ordered = bins.sort_values("confidence")
    count = ordered["count"].to_numpy(dtype=float)
    middle = np.cumsum(count) - count / 2
    place = np.minimum(middle * num_joined // count.sum(), num_joined - 1)
    sums = ordered[["confidence", "accuracy"]].mul(count, axis=0).assign(count=count).groupby(place).sum()
    return sums.assign(confidence=sums["confidence"] / sums["count"], accuracy=sums["accuracy"] / sums["count"])
