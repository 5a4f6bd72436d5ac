"""What all figures share: style, the looks of methods, panels, legend, and the caption of images without their page.

They are drawn narrow, so that they stay readable on a phone and stand side by side on a screen, and in two neutral
colours (`INK`, `LINE`) that the page replaces by its own, for its light and its dark scheme. Legend and caption make a
figure higher, never its axes smaller.
"""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
"""In the files of pictures: the same bytes every time."""
MARKS = {".png": "Software\0ia2", ".pdf": "/Creator (ia2)"}
"""As which it is found in them: no file without is replaced."""

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
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "legend.title_fontsize": 9.0,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.4,
}
WIDTH = 4.8
TEXT_LINE = 0.15
"""Height in inches of a line of the small text that legends and captions are set in."""
LETTERS = 16
"""Letters of that text in an inch, at least."""
LETTER = 0.085
"""Width of a letter of tick labels in inches, at most."""
SHADES = (0.0, 0.5, -0.45, 0.72)
"""How far the lines of one method are mixed with white, or (below 0) with black, one after the other."""


IDENTITY = ["method", "with_icl", "variation", "control"]
"""Columns of points that tell lines apart, and that a line has its look by."""


@dataclass(frozen=True)
class Look:
    """How the points and the line of one model are drawn."""

    colour: str
    edge: str
    marker: str
    line: LineStyle
    fill: str
    hatch: str

    def marks(self, size: float = 5.5) -> dict[str, Any]:
        """The arguments of `Axes.plot` and `Axes.errorbar` for its markers."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "markersize": size,
            "fillstyle": self.fill,
            "markerfacecoloralt": "white",
            "markeredgecolor": self.edge,
            "markeredgewidth": 1.0,
        }


def look_of(method: str, with_icl: bool, variation: int = 0, control: str = "") -> Look:
    """The look of a model; `variation` counts those of one method and pass, which differ in shade and edge.

    A trained model has a dark edge where it is shown demonstrations.
    """
    style = style_of(method, with_icl, control)
    colour = _shaded(style.colour, SHADES[variation % len(SHADES)])
    edge = INK if variation or (with_icl and method != "base") else colour
    return Look(colour, edge, style.marker, style.look.line, style.look.fill, style.look.hatch)


def _shaded(colour: str, share: float) -> str:
    """The colour mixed with white, or with black where the share is below 0."""
    other = 1.0 if share > 0 else 0.0
    red, green, blue = ((1 - abs(share)) * part + abs(share) * other for part in to_rgb(colour))
    return to_hex((red, green, blue))


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
    """Label the panels of a grid that nothing stands below, and those that nothing stands left of."""
    for axes in panels:
        place = axes.get_subplotspec()
        assert place is not None, "panels stand in a grid"
        columns = place.get_gridspec().ncols
        if place.num1 + columns >= len(panels):
            axes.set_xlabel(below)
        if place.is_first_col():
            axes.set_ylabel(beside)


def add_legend(figure: Figure, handles: Sequence[Artist], title: str = "") -> None:
    """Put a legend above the axes, in as many columns as their labels leave room for."""
    if not handles:
        return
    longest = max(len(str(handle.get_label())) for handle in handles) + 9  # the sample before the label
    columns = max(1, min(3, len(handles), int(figure.get_figwidth() * LETTERS / longest)))
    rows = math.ceil(len(handles) / columns)
    _heighten(figure, rows + (2 if title else 0.7))
    legend = figure.legend(handles=list(handles), loc="outside upper left", ncols=columns, title=title)
    legend.set_alignment("left")


def add_caption(figure: Figure, caption: str) -> None:
    """Put the caption below the axes, for images that travel without their page."""
    if not caption:
        return
    lines = textwrap.wrap(caption, int(figure.get_figwidth() * LETTERS))
    lower = figure.get_supxlabel()
    figure.supxlabel("\n".join([*([lower, ""] if lower else []), *lines]), fontsize=8)
    _heighten(figure, len(lines) + (1 if lower else 0))


def _heighten(figure: Figure, num_lines: float) -> None:
    figure.set_figheight(figure.get_figheight() + num_lines * TEXT_LINE)
