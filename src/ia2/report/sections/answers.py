"""What the models answered, query by query."""

from ia2.report.examples import example_answers
from ia2.report.sections.base import PageData, Section
from ia2.report.templates import render


def examples(data: PageData) -> Section | None:
    """The first queries of each evaluation set, and what every model answered."""
    if not data.groups:
        return None
    shown = [(group.title, example_answers(group, data.selection.records)) for group in data.groups]
    return Section("examples", "Example answers", render("examples", groups=shown))
