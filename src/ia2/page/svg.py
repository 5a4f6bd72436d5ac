"""A figure as SVG that can stand inside a page: no fixed size, and in the page's own colours."""

import io
import re
import warnings
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ia2.results.label import INK, LINE


def inline_svg(figure: Figure, name: str) -> Markup:
    """The figure's <svg> element. Text stays text; `name` keeps its ids apart from other figures' and repeatable.

    The canvas is asked directly, since `savefig` draws everything twice, and a page can have dozens of figures.
    """
    buffer = io.StringIO()
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_visible(False)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader's browser has its own fonts
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'^(<svg\b[^>]*?) height="[^"]*"', r"\1", text)
    text = re.sub(r'^(<svg\b[^>]*?) width="([\d.]+)pt"', r'\1 style="max-width: \2pt"', text)
    colours = {INK: "currentColor", LINE: "var(--line)", "#ffffff": "var(--ground)"}
    for drawn, of_the_page in colours.items():
        text = text.replace(drawn, of_the_page)
    return Markup(text)
