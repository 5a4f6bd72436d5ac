"""One self-contained report.html: what was done, what came out, what it rests on, and how to get it again.

A page is a list of sections, each a function of the same data that returns a section or nothing; later work adds to the
list. Nothing is fetched when the page is opened: figures are inline SVG, style sheet and scripts are part of the page.
Without scripts it shows all its tables and figures, and the first answers.
"""

from collections.abc import Callable

from ia2.page.sections.analyses import overlaps, similarities
from ia2.page.sections.answers import examples
from ia2.page.sections.base import PageData, Section
from ia2.page.sections.commands import commands
from ia2.page.sections.figures import accuracy_figures, dev_loss_figures, reliability_figures
from ia2.page.sections.numbers import costs, results_table
from ia2.page.sections.words import problems, what_came_out, what_to_do, what_was_done
from ia2.page.templates import render_document

MARK = '<meta name="generator" content="ia2">'
"""In every page: what a person put in its place lacks it, and is not replaced."""


def render_page(data: PageData) -> str:
    """The page as HTML text; nothing is written."""
    sections = [section for make in SECTIONS if (section := make(data)) is not None]
    return render_document(sections=sections, title=_title(data))


SECTIONS: list[Callable[[PageData], Section | None]] = [
    what_to_do,
    what_came_out,
    problems,
    what_was_done,
    results_table,
    accuracy_figures,
    reliability_figures,
    similarities,
    overlaps,
    dev_loss_figures,
    examples,
    costs,
    commands,
]
"""The page from top to bottom."""


def _title(data: PageData) -> str:
    trained = sorted({group.trained_dataset for group in data.groups})
    return f"IA2 on {', '.join(trained)}" if trained else "IA2"
