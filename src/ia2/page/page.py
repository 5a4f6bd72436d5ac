"""One self-contained report.html: what was done, what came out, what it rests on, and how to get it again.

Nothing is fetched when the page is opened: figures are inline SVG, style sheet and scripts are part of the page.
Without scripts it shows all its tables and figures, and the first answers.
"""

from ia2.page.data import PageData
from ia2.page.sections import SECTIONS
from ia2.page.templates import render_document

MARK = '<meta name="generator" content="ia2">'
"""In every page: what a person put in its place lacks it, and is not replaced."""


def render_page(data: PageData) -> str:
    """The page as HTML text; nothing is written."""
    sections = [section for make in SECTIONS if (section := make(data)) is not None]
    trained = sorted(data.summary["trained_dataset"].unique())
    return render_document(sections=sections, title=f"IA2 on {', '.join(trained)}" if trained else "IA2")
