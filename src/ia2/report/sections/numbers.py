"""What is shown as tables: results, and what they cost."""

from ia2.report.sections.base import PageData, Section
from ia2.report.sections.commands import row_anchor
from ia2.report.tables import html_table
from ia2.report.templates import render


def results_table(data: PageData) -> Section | None:
    """The results table of each evaluation set, each accuracy a link to its commands, and what filters them."""
    if not data.groups:
        return None
    tables = []
    for place, group in enumerate(data.groups):
        links = [row_anchor(place, row) for row in range(len(group.rows))]
        tables.append((group.title, html_table(group.rows, group.title, links)))
    starred = any(group.out_of_distribution for group in data.groups)
    labels = data.summary.sort_values("order", kind="stable")["label"].unique().tolist()
    return Section("results", "Results", render("tables", tables=tables, labels=labels, starred=starred))


def costs(data: PageData) -> Section | None:
    """Seconds and bytes of each stage."""
    return Section("costs", "What it cost", render("costs", stages=data.stages)) if data.stages else None
