"""Similarity of activations to the teacher's: by layer and token, by layer, and against accuracy and calibration."""

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
from ia2.plots.drawing import STYLE, WIDTH, Look, finish, key, label_outer, look_of, panel_grid, wrapped
from ia2.results.label import LINE
from ia2.results.quantities import QUANTITIES

COLOURS = "cividis"
"""Even steps of lightness, the same without colour vision."""
SHARES = (0.5, 0.8, 0.95)
AGAINST = ("accuracy", "ece_equal_count")


def similarity_heat_maps(series: pd.DataFrame, caption: str = "") -> Figure:
    """Mean cosine by layer and token of the response, a panel for each comparison, all in one scale of colours.

    `series`: name, layer, token, cosine. A token that was not measured, as a late one of short responses, is grey.
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
        return finish(figure, [], caption)


def _heat_map(axes: Axes, cells: pd.DataFrame, series: pd.DataFrame) -> AxesImage:
    """One panel; places and colours are those of all of them."""
    layers, tokens = (range(int(series[name].max()) + 1) for name in ("layer", "token"))
    table = cells.pivot(index="layer", columns="token", values="cosine").reindex(index=layers, columns=tokens)
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
            look = _look(line)
            every = max(1, len(line) // 8)
            axes.plot(line["layer"], line["cosine"], linestyle=look.line, markevery=every, **look.marks(4.5))
            axes.fill_between(line["layer"], line["low"], line["high"], color=look.colour, alpha=0.16, linewidth=0)
            handles.append(key(look, str(name)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="Layer", ylabel="Cosine with the teacher")
        axes.set_title(title, loc="left")
        return finish(figure, handles, caption)


def _look(rows: pd.DataFrame) -> Look:
    first = rows.iloc[0]
    return look_of(first["method"], first["with_icl"], first["variation"])


def similarity_against_performance(pairs: pd.DataFrame, caption: str = "") -> Figure:
    """Accuracy and ECE of single runs against their similarity to the teacher: a row for each evaluation set.

    `pairs`: dataset, name, method, with_icl, variation, similarity, accuracy, ece_equal_count; a row for each run. Each
    panel has Pearson's r over its runs, and of each method with 3 runs or more the ellipses of 50, 80 and 95%.
    """
    panels = [(str(name), runs, metric) for name, runs in pairs.groupby("dataset", sort=False) for metric in AGAINST]
    with rc_context(STYLE):
        figure, grid = panel_grid(len(panels), height=2.5, width=2.9)
        handles: dict[str, Artist] = {}
        for axes, (dataset, runs, metric) in zip(grid, panels, strict=True):
            measured, quantity = runs.dropna(subset=[metric, "similarity"]), QUANTITIES[metric]
            handles |= _runs(axes, measured, metric)
            # the axis ends where the metric does, since an ellipse does not
            least, greatest = quantity.low or 0.0, quantity.high or math.inf
            (low, high), margin = axes.get_ylim(), 0.04 * (greatest - least)
            axes.set_ylim(max(low, least - margin), min(high, greatest + margin))
            r = correlation(measured["similarity"], measured[metric])
            known = "" if math.isnan(r) else f"r = {r:.2f}, "
            axes.set_ylabel(quantity.label)
            axes.set_title(wrapped(f"{dataset}: {known}n = {len(measured)}"), loc="left")
        for axes in grid[-len(AGAINST) :]:
            axes.set_xlabel("Similarity to the teacher (cosine)")
        return finish(figure, list(handles.values()), caption)


def _runs(axes: Axes, runs: pd.DataFrame, metric: str) -> dict[str, Artist]:
    """Draw the runs of one panel with their ellipses; returns its legend."""
    axes.grid(visible=True)
    handles: dict[str, Artist] = {}
    for name, members in runs.groupby("name", sort=False):
        look = _look(members)
        axes.plot(members["similarity"], members[metric], linestyle="none", **look.marks(5))
        found = [covariance_ellipse(members[["similarity", metric]].to_numpy(dtype=float), share) for share in SHARES]
        for ellipse in found:
            if ellipse is not None:
                width, height = (2 * half for half in ellipse.half_axes)
                line = {"fill": False, "edgecolor": look.colour, "lw": 0.9, "alpha": 0.8}
                axes.add_patch(patches.Ellipse(ellipse.centre, width, height, angle=ellipse.angle, **line))
        axes.autoscale_view()
        handles[str(name)] = key(replace(look, line="none"), str(name))
    return handles
