"""What all figures share: their style, a grid of panels, and the caption of images that travel without their page.

They are drawn narrow, so that they stay readable on a phone and stand side by side on a screen, and in two neutral
colours (`INK`, `LINE`) that the page replaces by its own, for its light and its dark scheme.
"""

import math
import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ia2.report.styles import INK, LINE

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


def panel_grid(num_panels: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of panels in two columns, and the panels row by row."""
    columns = min(2, max(num_panels, 1))
    num_rows = max(math.ceil(num_panels / columns), 1)
    figure = Figure(figsize=(WIDTH, height * num_rows + 0.3), layout="constrained")
    return figure, [figure.add_subplot(num_rows, columns, place + 1) for place in range(num_panels)]


def wrapped(title: str) -> str:
    """The title of a panel, in lines that fit it."""
    return textwrap.fill(title, 30)


def add_caption(figure: Figure, caption: str) -> None:
    """Put the caption below the axes, for images that travel without their page."""
    if caption:
        width = int(figure.get_figwidth() * 17)
        lower = figure.get_supxlabel()
        text = f"{lower}\n\n" if lower else ""
        figure.supxlabel(text + textwrap.fill(caption, width), fontsize=8)
