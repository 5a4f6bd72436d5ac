"""What is shown as tables: results, and what they cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ia2.page.sections.base import PageData, Section
from ia2.page.sections.commands import row_anchor
from ia2.page.templates import render
from ia2.results.captions import MISSING, selection_rule, without_teacher
from ia2.results.summary import SummaryRow, rows_of
from ia2.tables.results import Column, columns_of


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


@dataclass(frozen=True)
class HtmlCell:
    """A cell of the page: its text, and what it is sorted by, None where that is its text or there is nothing."""

    text: str
    number: float | None


@dataclass(frozen=True)
class HtmlRow:
    """A row of the page; `label` is what it is filtered by, and its accuracy leads to `link` if there is one."""

    label: str
    cells: tuple[HtmlCell, ...]
    link: str


def html_table(rows: pd.DataFrame, title: str = "", links: Sequence[str] = ()) -> str:
    """The rows of one group as an HTML table; cells are escaped. `links` are ids on the page, one for each row."""
    shown, links = columns_of(rows), links or [""] * len(rows)
    found = [
        HtmlRow(row.label, tuple(_html_cell(column, row) for column in shown), link)
        for row, link in zip(rows_of(rows), links, strict=True)
    ]
    rule = f"{selection_rule(rows)} {without_teacher(rows)}".strip()
    return render("results_table", columns=shown, rows=found, missing=MISSING, rule=rule, title=title)


def _html_cell(column: Column, row: SummaryRow) -> HtmlCell:
    value = math.nan if column.number is None else column.number(row)
    return HtmlCell(column.text(row), None if math.isnan(value) else value)
