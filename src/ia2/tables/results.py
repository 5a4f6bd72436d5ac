"""The results table, as text for the terminal and as HTML, from one list of columns.

Where hyper-parameters were chosen as published, the paper's own measures stand beside ours.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from ia2.results.captions import (
    MISSING,
    P_VALUES,
    interval,
    num_runs,
    number,
    p_value,
    selection_rule,
    without_teacher,
)
from ia2.results.summary import SummaryRow, groups, rows_of
from ia2.results.text import aligned


@dataclass(frozen=True)
class Column:
    """One column: `text` makes a cell of a summary row, `meaning` explains the heading on the page.

    `number` is what the page sorts it by, NaN where there is none; None where it is sorted as text.
    """

    heading: str
    meaning: str
    text: Callable[[SummaryRow], str]
    number: Callable[[SummaryRow], float] | None = None
    in_terminal: bool = True
    as_published: bool = False


def _accuracy(row: SummaryRow) -> str:
    spread = "" if math.isnan(row.accuracy_sd) else f" ± {row.accuracy_sd:.1f}"
    if spread and row.hp_selection == "performance":
        spread += f" ({row.accuracy_sd_published:.1f})"
    return number(row.accuracy, ".1f") + spread


def _difference(row: SummaryRow) -> str:
    return number(row.difference, "+.1f") + (f" ({row.tok_labels})" if row.tok_labels else "")


def _seconds(row: SummaryRow) -> str:
    return number(row.train_seconds, ".1f" if row.train_seconds < 10 else ".0f")


COLUMNS = (
    Column("Model", "", lambda r: r.name),
    Column(
        "Accuracy %",
        "exact match of the parsed answer over all examples: mean ± sd over runs",
        _accuracy,
        lambda r: r.accuracy,
    ),
    Column(
        "95%",
        "interval of accuracy: bootstrap over runs, then examples; near 0 and 100 that of Clopper and Pearson",
        interval,
        lambda r: r.accuracy_low,
    ),
    Column(
        "− tok",
        "points of accuracy ahead of tok on the same splits and examples; in brackets the labels that tok used, which "
        "can be others than the model's own",
        _difference,
        lambda r: r.difference,
    ),
    Column(
        "p",
        "of that difference: paired permutation test over runs and examples, uncorrected",
        p_value,
        lambda r: r.p_value,
    ),
    Column(
        "Anywhere %",
        "gold answer found anywhere in the whole response",
        lambda r: number(r.anywhere, ".1f"),
        lambda r: r.anywhere,
        in_terminal=False,
    ),
    Column("n", "runs", lambda r: str(r.n), lambda r: r.n),
    Column(
        "ECE",
        "calibration error of the label, or of the first token of free text, 15 equal-count bins",
        lambda r: number(r.ece, ".3f"),
        lambda r: r.ece,
    ),
    Column(
        "ECE (published)",
        "that of the first token, with the confidence renormalised over the ten most probable tokens",
        lambda r: number(r.ece_published, ".3f"),
        lambda r: r.ece_published,
        as_published=True,
    ),
    Column(
        "floor",
        "the ECE a calibrated model would show at this n",
        lambda r: number(r.ece_floor, ".3f"),
        lambda r: r.ece_floor,
        in_terminal=False,
    ),
    Column(
        "NLL",
        "of the gold label, or of the gold first token of free text, in nats",
        lambda r: number(r.nll, ".2f"),
        lambda r: r.nll,
    ),
    Column(
        "Labels",
        "gold labels used: training (or demonstrations) + dev",
        lambda r: r.labels,
        lambda r: r.labels_train + r.labels_dev,
    ),
    Column("lr", "learning rate chosen", lambda r: number(r.lr, "g"), lambda r: r.lr),
    Column("Seconds", "training time of one run, all phases", _seconds, lambda r: r.train_seconds),
)


def text_table(summary: pd.DataFrame) -> str:
    """The summary as text: a table for each evaluation set, with what * and the numbers mean below."""
    if summary.empty:
        return "No evaluation records."
    parts = [_text_group(group.title, group.rows) for group in groups(summary)]
    published = ", in brackets ddof 0 as published" if is_published(summary) else ""
    notes = [
        f"Accuracy: mean ± sd over runs (ddof 1{published}), {num_runs(summary)}; 95%: bootstrap interval over runs, "
        f"then examples. {P_VALUES} Labels: training + dev. {MISSING}: not measured.",
        selection_rule(summary),
    ]
    if summary["out_of_distribution"].any():
        notes.append("*: out of distribution, not the dataset trained on.")
    return "\n\n".join([*parts, "\n".join(notes)])


def columns_of(rows: pd.DataFrame) -> list[Column]:
    """The columns for these rows: the paper's own measures only where its way of choosing is taken."""
    return [column for column in COLUMNS if is_published(rows) or not column.as_published]


def is_published(rows: pd.DataFrame) -> bool:
    """Whether hyper-parameters were chosen as published."""
    return bool((rows["hp_selection"] == "performance").any())


def _text_group(title: str, rows: pd.DataFrame) -> str:
    shown = [column for column in columns_of(rows) if column.in_terminal]
    lines = [[column.text(row) for column in shown] for row in rows_of(rows)]
    return "\n".join(
        [title, *aligned([column.heading for column in shown], lines), *filter(None, [without_teacher(rows)])]
    )
