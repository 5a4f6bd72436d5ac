"""What is shown as tables: results and costs."""

from ia2.report.sections.base import PageData, Section
from ia2.report.tables import html_table
from ia2.report.templates import render


def results_table(data: PageData) -> Section | None:
    """The results table of each evaluation set."""
    if not data.groups:
        return None
    tables = [(group.title, html_table(group.rows)) for group in data.groups]
    starred = any(group.out_of_distribution for group in data.groups)
    return Section("results", "Results", render("tables", tables=tables, starred=starred))


def costs(data: PageData) -> Section | None:
    """Seconds and bytes of each stage."""
    return Section("costs", "What it cost", render("costs", stages=data.stages)) if data.stages else None
