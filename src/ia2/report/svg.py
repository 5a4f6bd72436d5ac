"""A figure as SVG that can stand inside a page: no fixed size, and in the page's own colours."""

import io
import re

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from ia2.report.styles import INK, LINE


def inline_svg(figure: Figure, name: str) -> Markup:
    """The figure's <svg> element. Text stays text; `name` keeps its ids apart from other figures' and repeatable."""
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'^(<svg\b[^>]*?) height="[^"]*"', r"\1", text)
    text = re.sub(r'^(<svg\b[^>]*?) width="([\d.]+)pt"', r'\1 style="max-width: \2pt"', text)
    return Markup(text.replace(INK, "currentColor").replace(LINE, "var(--line)"))
