"""Figures of single runs: dev loss against step, and accuracy against confidence; with the frames behind them.

A panel is one row of the view by model: the records behind that row and no others, so that configurations never mix.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from ia2.evaluation.calibration import CONDITIONS
from ia2.plots.drawing import STYLE, finish, label_outer, panel_grid, wrapped
from ia2.results.frame import rows_of
from ia2.results.label import INK
from ia2.results.records import Record
from ia2.results.runs import TrainedRun, config_key, read_history

# Reliability

RELIABILITY = ["panel", "colour", "marker", "ece", "ece_floor", "run_idx", "confidence", "accuracy", "count"]
JOINED_BINS = 8


def reliability_series(rows: pd.DataFrame, records: Sequence[Record]) -> pd.DataFrame:
    """One row per model, run and reliability bin (confidence and accuracy 0 to 1)."""
    from_path = {str(record.path): record for record in records}
    series = [
        {
            **{"panel": row.name, "colour": row.colour, "marker": row.marker, "ece": row.ece},
            **{"ece_floor": row.ece_floor, "run_idx": record.settings.run_idx, **asdict(bin_)},
        }
        for row in rows_of(rows)
        for record in (from_path[path] for path in row.records)
        for bin_ in record.shown_reliability.get(CONDITIONS[row.with_icl], [])
    ]
    return pd.DataFrame(series, columns=RELIABILITY)


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
            axes.set_title(f"{wrapped(str(name))}\n{_ece(bins)}".strip(), loc="left")
        label_outer(grid, "Confidence", "Fraction correct")
        return finish(figure, [], caption)


def _reliability(axes: Axes, bins: pd.DataFrame) -> None:
    first = bins.iloc[0]
    axes.plot([0, 1], [0, 1], color=INK, linestyle=":", linewidth=1)
    for count in sorted(set(bins["count"])):  # marks of one size are written once, others one by one
        alike = bins[bins["count"] == count]
        axes.scatter(
            alike["confidence"], alike["accuracy"], s=3 * count, color=first["colour"], alpha=0.3, linewidths=0
        )
    joined = join_bins(bins)
    axes.plot(
        joined["confidence"], joined["accuracy"], color=first["colour"], marker=first["marker"], ms=4.5, linewidth=1.4
    )
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.05, 1.05), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.grid(visible=True)


def _ece(bins: pd.DataFrame) -> str:
    """The calibration error of a panel, and its value for a calibrated model, where measured."""
    ece, floor = bins["ece"].iloc[0], bins["ece_floor"].iloc[0]
    known = "" if math.isnan(floor) else f", floor {floor:.2f}"
    return "" if math.isnan(ece) else f"ECE {ece:.2f}{known}"


def join_bins(bins: pd.DataFrame, num_joined: int = JOINED_BINS) -> pd.DataFrame:
    """Neighbouring bins merged, weighted by count, to at most `num_joined` of about equal count."""
    ordered = bins.sort_values("confidence")
    count = ordered["count"].to_numpy(dtype=float)
    middle = np.cumsum(count) - count / 2
    place = np.minimum(middle * num_joined // count.sum(), num_joined - 1)
    sums = ordered[["confidence", "accuracy"]].mul(count, axis=0).assign(count=count).groupby(place).sum()
    return sums.assign(confidence=sums["confidence"] / sums["count"], accuracy=sums["accuracy"] / sums["count"])


# Dev loss

DEV_LOSS = ["panel", "colour", "phase", "run_idx", "step", "dev_loss"]
LINE_STYLES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (8, 4)))
"""Styles of the runs' lines, in order of their indices; five is the usual number."""
LOG_RATIO = 20
"""Ratio of the greatest dev loss to the least from which the axis is logarithmic."""


def dev_loss_series(rows: pd.DataFrame, records: Sequence[Record], runs: Sequence[TrainedRun]) -> pd.DataFrame:
    """One row per run, phase and dev evaluation of the runs behind the rows; steps without one are left out."""
    from_path = {str(record.path): record for record in records}
    from_key = {run.key: run for run in runs}
    frames = [
        read_history(from_key[config_key(config)])
        .dropna(subset=["dev_loss"])
        .assign(panel=row.name, colour=row.colour, run_idx=config.run_idx)
        for row in rows_of(rows.drop_duplicates("records"))
        for config in (from_path[path].run for path in row.records)
        if config is not None and config_key(config) in from_key
    ]
    return pd.concat([frame[DEV_LOSS] for frame in frames]) if frames else pd.DataFrame(columns=DEV_LOSS)


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
        label_outer(grid, "Optimiser step", "Dev loss")
        keys = [Line2D([], [], color=INK, linestyle=lines[run], label=f"run {run}") for run in lines]
        return finish(figure, keys, caption)


def _losses(axes: Axes, curves: pd.DataFrame, lines: Mapping[int, Any]) -> None:
    for run_idx in sorted(set(curves["run_idx"])):
        curve = curves[curves["run_idx"] == run_idx]
        lowest: dict[str, Any] = {"marker": "o", "markevery": [int(curve["dev_loss"].argmin())], "ms": 4}
        look: dict[str, Any] = {"color": curve["colour"].iloc[0], "linestyle": lines[run_idx], "linewidth": 1.3}
        axes.plot(curve["step"], curve["dev_loss"], label=f"run {run_idx}", **look, **lowest)
    least, greatest = curves["dev_loss"].min(), curves["dev_loss"].max()
    if 0 < LOG_RATIO * least < greatest:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True)
