"""Style of all figures: looks of methods, panels, legend, and the caption of images without their page.

Figures are narrow, so that they stay readable on a phone and fit side by side on a screen, in two neutral colours
(`INK`, `LINE`) that the page replaces by its own, for its light and its dark scheme. Legend and caption make a figure
higher, never its axes smaller.
"""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ia2.results.label import INK, LINE, LineStyle, style_of

METADATA: dict[str, dict[str, str | None]] = {
    ".png": {"Software": "ia2"},
    ".pdf": {"Creator": "ia2", "CreationDate": None},
}
"""Metadata in the files of pictures: the same bytes every time."""
MARKS = {".png": "Software\0ia2", ".pdf": "/Creator (ia2)"}
"""Marks of our own pictures: no file without one is replaced."""
STYLE: dict[Any, Any] = {
    **{"font.size": 9.0, "axes.titlesize": 9.0, "legend.fontsize": 8.0, "legend.title_fontsize": 9.0},
    **{"text.color": INK, "xtick.color": INK, "ytick.color": INK, "axes.labelcolor": INK, "axes.edgecolor": LINE},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "text.parse_math": False},
    **{"grid.color": LINE, "grid.linewidth": 0.5, "hatch.linewidth": 0.6},
    **{"legend.frameon": False, "legend.handlelength": 2.6, "legend.columnspacing": 1.4},
}
WIDTH = 4.8
TEXT_LINE = 0.15
"""Height in inches of a line of the small text of legends and captions."""
LETTERS = 16
"""Letters of that text in an inch, at least."""
LETTER = 0.085
"""Width of a letter of tick labels in inches, at most."""
SHADES = (0.0, 0.5, -0.45, 0.72)
"""Share of white, or (below 0) of black, in the lines of one method, one after the other."""
IDENTITY = ["method", "with_icl", "variation", "control"]
"""Columns of points in which lines differ, and from which a line has its look."""


@dataclass(frozen=True)
class Look:
    """Colours, marker and line of one model."""

    colour: str
    edge: str
    marker: str
    line: LineStyle
    fill: str
    hatch: str

    def marks(self, size: float = 5.5) -> dict[str, Any]:
        """The arguments of `Axes.plot` and `Axes.errorbar` for its markers."""
        face = {"markersize": size, "fillstyle": self.fill, "markerfacecoloralt": "white"}
        edge = {"markeredgecolor": self.edge, "markeredgewidth": 1.0}
        return {"color": self.colour, "marker": self.marker, **face, **edge}


def look_of(method: str, with_icl: bool, variation: int = 0, control: str = "") -> Look:
    """The look of a model; `variation` counts those of one method and condition, which differ in shade and edge.

    A trained model has a dark edge where it is shown demonstrations.
    """
    style = style_of(method, with_icl, control)
    share = SHADES[variation % len(SHADES)]
    red, green, blue = ((1 - abs(share)) * part + abs(share) * (share > 0) for part in to_rgb(style.colour))
    colour = to_hex((red, green, blue))
    edge = INK if variation or (with_icl and method != "base") else colour
    return Look(colour, edge, style.marker, style.look.line, style.look.fill, style.look.hatch)


def key(look: Look, label: str) -> Line2D:
    """The entry of a legend for points joined by a line."""
    return Line2D([], [], linestyle=look.line, linewidth=1.4, label=label, **look.marks())


def panel_grid(num_panels: int, height: float, columns: int = 2, width: float = WIDTH / 2) -> tuple[Figure, list[Axes]]:
    """A figure of panels of a size in inches, in columns, and the panels row by row."""
    columns = min(columns, max(num_panels, 1))
    num_rows = max(math.ceil(num_panels / columns), 1)
    figure = Figure(figsize=(max(WIDTH, width * columns), height * num_rows + 0.3), layout="constrained")
    return figure, [figure.add_subplot(num_rows, columns, place + 1) for place in range(num_panels)]


def wrapped(title: str, letters: int = 30) -> str:
    """The title of a panel, in lines that fit it."""
    return textwrap.fill(title, letters)


def label_outer(panels: Sequence[Axes], below: str, beside: str) -> None:
    """Label the panels of a grid that have no panel below them, and those that have none left of them."""
    for axes in panels:
        place = axes.get_subplotspec()
        assert place is not None, "panels are in a grid"
        if place.num1 + place.get_gridspec().ncols >= len(panels):
            axes.set_xlabel(below)
        if place.is_first_col():
            axes.set_ylabel(beside)


def finish(figure: Figure, handles: Sequence[Artist], caption: str, title: str = "") -> Figure:
    """Put the legend above the axes, in as many columns as its labels leave room for, and the caption below them.

    The caption is for images that travel without their page.
    """
    num_letters = int(figure.get_figwidth() * LETTERS)
    num_lines = 0.0
    if handles:
        lengths = [len(str(handle.get_label())) + 9 for handle in handles]  # with the sample before the label
        widths = {
            num: sum(max(part) for part in np.array_split(lengths, num)) for num in range(1, min(3, len(handles)) + 1)
        }
        columns = max((num for num in widths if widths[num] <= num_letters), default=1)
        legend = figure.legend(handles=list(handles), loc="outside upper left", ncols=columns, title=title)
        legend.set_alignment("left")
        num_lines += math.ceil(len(handles) / columns) + (2 if title else 0.7)
    if caption:
        lines = [line for part in caption.splitlines() for line in textwrap.wrap(part, num_letters)]
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=8)
        num_lines += len(lines)
    figure.set_figheight(figure.get_figheight() + num_lines * TEXT_LINE)
    return figure


def trained_points(points: pd.DataFrame) -> pd.DataFrame:
    """The points of trained models."""
    return points[points["method"] != "base"]
