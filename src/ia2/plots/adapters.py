"""The four adapters side by side, for each variant."""

from textwrap import wrap

import pandas as pd
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ia2.methods import ADAPTERS, VARIANTS, Method, parse_method
from ia2.plots.drawing import IDENTITY, LETTER, STYLE, WIDTH, add_caption, add_legend, look_of
from ia2.plots.lines import level, measure_axis, references, whiskers
from ia2.results.label import ADAPTER_LOOKS, ADAPTER_NAMES, INK, in_order
from ia2.results.quantities import Quantity
from ia2.results.text import MISSING

BAR = 0.19
"""Width of a bar; a variant has a place of width 1, with room for four."""


def adapters_compared(points: pd.DataFrame, quantity: Quantity, title: str = "", caption: str = "") -> Figure:
    """A metric as a bar for each adapter, grouped by variant, with its 95% interval and the single runs as circles.

    `points` are those of `results.frame.in_condition` at one N. Models of a variant that differ in another field are
    groups of their own. An adapter that was not measured has a dash, so that it differs from one of height 0.
    """
    groups = _groups(points)
    below = [[variant, *wrap(told, 16)] for variant, told in groups]
    with rc_context(STYLE):
        place = max(0.95, LETTER * max((len(line) for lines in below for line in lines), default=0))
        figure = Figure(figsize=(max(WIDTH, place * len(groups) + 0.8), 3.0), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(axis="y")
        base = points[points["method"] == "base"]
        handles = [level(axes, line, quantity) for _, line in base.groupby(IDENTITY)]
        for place, (variant, details) in enumerate(groups):
            members = points[points["details"] == details].set_index("method")
            for number, adapter in enumerate(ADAPTERS):
                _bar(axes, place + (number - 1.5) * BAR, str(Method(adapter, variant)), members, quantity)
        axes.set_xticks(range(len(groups)), ["\n".join(lines) for lines in below])
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.5, len(groups) - 0.5)
        measure_axis(axes, points, quantity)
        axes.set_ylabel(quantity.label)
        axes.set_title(title, loc="left")
        add_legend(figure, [*handles, *references(axes, points), *_keys()])
        add_caption(figure, caption)
    return figure


def _groups(points: pd.DataFrame) -> list[tuple[str, str]]:
    """Variant and details of each group, in the order of the methods' table."""
    trained = points[points["method"] != "base"]
    found = {
        (parse_method(method).variant, told) for method, told in zip(trained["method"], trained["details"], strict=True)
    }
    return sorted(found, key=lambda group: (list(VARIANTS).index(group[0]), in_order(group[1])))


def _bar(axes: Axes, place: float, method: str, members: pd.DataFrame, quantity: Quantity) -> None:
    if method not in members.index:
        axes.annotate(MISSING, (place, 0), (0, 5), textcoords="offset points", ha="center", color=INK)
        return
    point, look = members.loc[[method]].iloc[0], look_of(method, False)
    axes.bar(
        place,
        point["mean"],
        width=BAR * 0.92,
        facecolor="white" if look.hatch else look.colour,
        edgecolor=look.colour,
        hatch=look.hatch,
        linewidth=0.8,
    )
    axes.errorbar([place], [point["mean"]], yerr=whiskers(point, quantity), color=INK, capsize=2, linewidth=0.9)
    if point["n"] > 1:  # a single run is the bar itself
        axes.plot([place] * point["n"], point["values"], "o", ms=3, mfc="white", mec=INK, mew=0.7, clip_on=False)


def _keys() -> list[Artist]:
    """What the hatchings mean; the colours are those of the variants, which stand below."""
    return [
        Patch(
            facecolor="white" if ADAPTER_LOOKS[adapter].hatch else INK,
            edgecolor=INK,
            hatch=ADAPTER_LOOKS[adapter].hatch,
            label=ADAPTER_NAMES[adapter],
        )
        for adapter in ADAPTERS
    ]
