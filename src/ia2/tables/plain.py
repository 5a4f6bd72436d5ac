"""A grid as Markdown, to be read as it is, and as CSV, to be computed with: a row for each number, unrounded."""

import csv
import io
import math
import re

from ia2.tables.grids import MISSING, Cell, Grid, Line, name_of, shown

COLUMNS = (
    *("model_id", "num_train_examples", "adapter", "label_type", "trained_dataset", "eval_dataset", "source"),
    *("method", "with_icl", "details", "metric", "mean", "sd", "n", "best", "hyper_parameters"),
)


def markdown_table(grid: Grid) -> str:
    """The caption, then the table; the best in bold."""
    headings = ["Trained on", "Evaluated on"]
    headings += [f"{_plain(column.heading)}: {_plain(name_of(metric))}" for column, metric in grid.places]
    rows = [headings, ["---", "---", *["---:"] * len(grid.places)], *(_cells(grid, line) for line in grid.lines)]
    return "\n".join([_plain(grid.caption), "", *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def csv_table(grid: Grid) -> str:
    """A row for each cell; what was not measured has no row, and what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in grid.lines:
        for (column, metric), cell in line.cells.items():
            about = (grid.about.model_id, grid.about.num_examples, grid.about.adapter, grid.about.label_type)
            source = "published" if line.published else "measured"
            sd = "" if math.isnan(cell.sd) else cell.sd
            details = ", ".join(filter(None, [column.control and f"control {column.control}", column.details]))
            named = (line.trained, line.evaluated, source, column.method, column.with_icl, details, metric)
            writer.writerow([*about, *named, cell.mean, sd, cell.n or "", cell.best, cell.rule])
    return text.getvalue()


def _cells(grid: Grid, line: Line) -> list[str]:
    names = [_plain(name) for name in line.names]
    return [*names, *(_cell(metric, line.cells.get((column, metric))) for column, metric in grid.places)]


def _cell(metric: str, cell: Cell | None) -> str:
    if cell is None:
        return MISSING
    mean = shown(metric, cell.mean)
    mean = f"**{mean}**" if cell.best else mean
    return mean if cell.n < 2 else f"{mean} ± {shown(metric, cell.sd)}"


def _plain(text: str) -> str:
    """The text, with a backslash before what Markdown would take for its own."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text)
