"""How alike activations are to the teacher's: by layer and token, by layer, and against accuracy and calibration."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib import colormaps, patches, rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from ia2.evaluation.statistics import correlation, covariance_ellipse
from ia2.plots.drawing import (
    STYLE,
    WIDTH,
    Look,
    add_caption,
    add_legend,
    key,
    label_outer,
    look_of,
    panel_grid,
    wrapped,
)
from ia2.results.label import LINE
from ia2.results.quantities import QUANTITIES, Quantity

COLOURS = "cividis"
"""Of even steps of lightness, and the same without colour vision."""
SHARES = (0.5, 0.8, 0.95)
AGAINST = ("accuracy", "ece_equal_count")


def similarity_heat_maps(series: pd.DataFrame, caption: str = "") -> Figure:
    """Mean cosine by layer and token of the response, a panel for each comparison, all in one scale of colours.

    `series`: name, layer, token, cosine. What was not measured, as the late tokens of short responses, is grey.
    """
    panels = list(series.groupby("name", sort=False))
    with rc_context(STYLE):
        figure, grid = panel_grid(len(panels), height=2.3, columns=3, width=2.1)
        image = None
        for axes, (name, cells) in zip(grid, panels, strict=True):
            image = _heat_map(axes, cells, series)
            axes.set_title(wrapped(str(name), 22), loc="left")
        label_outer(grid, "Token of the response", "Layer")
        if image is not None:
            figure.colorbar(image, ax=grid, label="Cosine", shrink=min(1.0, 1.6 / figure.get_figheight() + 0.3))
        add_caption(figure, caption)
    return figure


def _heat_map(axes: Axes, cells: pd.DataFrame, series: pd.DataFrame) -> AxesImage:
    """One panel; places and colours are those of all of them."""
    places = [range(int(series[name].max()) + 1) for name in ("layer", "token")]
    table = cells.pivot(index="layer", columns="token", values="cosine").reindex(index=places[0], columns=places[1])
    image = axes.imshow(
        np.ma.masked_invalid(table.to_numpy(dtype=float)),
        cmap=colormaps[COLOURS].with_extremes(bad=LINE),
        vmin=series["cosine"].min(),
        vmax=series["cosine"].max(),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    return image


def similarity_by_layer(series: pd.DataFrame, title: str = "", caption: str = "") -> Figure:
    """Mean cosine against layer, a line for each comparison, with its 95% interval as a band.

    `series`: name, method, with_icl, variation, layer, cosine, low, high.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(axis="y")
        handles: list[Artist] = []
        for name, line in series.groupby("name", sort=False):
            look = look_of(line["method"].iloc[0], line["with_icl"].iloc[0], line["variation"].iloc[0])
            every = max(1, len(line) // 8)
            axes.plot(line["layer"], line["cosine"], linestyle=look.line, markevery=every, **look.marks(4.5))
            axes.fill_between(line["layer"], line["low"], line["high"], color=look.colour, alpha=0.16, linewidth=0)
            handles.append(key(look, str(name)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="Layer", ylabel="Cosine with the teacher")
        axes.set_title(title, loc="left")
        add_legend(figure, handles)
        add_caption(figure, caption)
    return figure


def similarity_against_performance(pairs: pd.DataFrame, caption: str = "") -> Figure:
    """Accuracy and ECE of single runs against their similarity to the teacher: a row for each evaluation set.

    `pairs`: dataset, name, method, with_icl, variation, similarity, accuracy, ece_equal_count; a row for each run. Each
    panel has Pearson's r over its runs, and of each method with 3 runs or more the ellipses of 50, 80 and 95%.
    """
    datasets = list(pairs.groupby("dataset", sort=False))
    with rc_context(STYLE):
        figure, grid = panel_grid(len(AGAINST) * len(datasets), height=2.5, width=2.9)
        handles: dict[str, Artist] = {}
        panels = [(str(dataset), runs, metric) for dataset, runs in datasets for metric in AGAINST]
        for axes, (dataset, runs, metric) in zip(grid, panels, strict=True):
            measured = runs.dropna(subset=[metric, "similarity"])
            handles |= _runs(axes, measured, metric)
            _possible(axes, QUANTITIES[metric])
            axes.set_ylabel(QUANTITIES[metric].label)
            axes.set_title(wrapped(f"{dataset}: {_correlated(measured, metric)}"), loc="left")
        for axes in grid[-len(AGAINST) :]:
            axes.set_xlabel("Similarity to the teacher (cosine)")
        add_legend(figure, list(handles.values()))
        add_caption(figure, caption)
    return figure


def _runs(axes: Axes, runs: pd.DataFrame, metric: str) -> dict[str, Artist]:
    """The runs of one panel; returns its legend."""
    axes.grid(visible=True)
    handles: dict[str, Artist] = {}
    for name, members in runs.groupby("name", sort=False):
        look = look_of(members["method"].iloc[0], members["with_icl"].iloc[0], members["variation"].iloc[0])
        axes.plot(members["similarity"], members[metric], linestyle="none", **look.marks(5))
        _ellipses(axes, members[["similarity", metric]].to_numpy(dtype=float), look)
        handles[str(name)] = key(replace(look, line="none"), str(name))
    return handles


def _possible(axes: Axes, quantity: Quantity) -> None:
    """Cut the axis where the metric ends, since an ellipse does not."""
    low, high = axes.get_ylim()
    ends = [end for end in (quantity.low, quantity.high) if end is not None]
    margin = 0.04 * (max(ends) - min(ends))
    axes.set_ylim(max(low, min(ends) - margin), min(high, max(ends) + margin))


def _correlated(runs: pd.DataFrame, metric: str) -> str:
    """Pearson's r, where there is one, and the number of runs."""
    r = correlation(runs["similarity"], runs[metric])
    return ("" if math.isnan(r) else f"r = {r:.2f}, ") + f"n = {len(runs)}"


def _ellipses(axes: Axes, points: "np.ndarray", look: Look) -> None:
    for share in SHARES:
        ellipse = covariance_ellipse(points, share)
        if ellipse is None:
            return
        width, height = (2 * half for half in ellipse.half_axes)
        axes.add_patch(
            patches.Ellipse(
                ellipse.centre, width, height, angle=ellipse.angle, fill=False, edgecolor=look.colour, lw=0.9, alpha=0.8
            )
        )
    axes.autoscale_view()
