"""What has to stand below a figure or table: n, what the interval is, and how the hyper-parameters were chosen.

A number that was not measured is a dash, never 0.
"""

import math
from collections.abc import Sequence

import pandas as pd

from ia2.results.compare import p_text
from ia2.results.summary import SummaryRow, rows_of

MISSING = "–"
INTERVALS = "95% bootstrap intervals over runs, then examples"
MANY = 12
"""Models above which a caption does not tell of each, since nobody reads a paragraph of numbers."""
P_VALUES = (
    "− tok: points ahead of tok (its labels); p: paired permutation test of that over runs and examples, uncorrected."
)


def number(value: float, form: str) -> str:
    """`value` formatted, or a dash where it was not measured."""
    return MISSING if math.isnan(value) else format(value, form)


def interval(row: SummaryRow) -> str:
    """The 95% interval of accuracy in percent, `65.0 to 85.0`."""
    if math.isnan(row.accuracy_low):
        return MISSING
    return f"{row.accuracy_low:.1f} to {row.accuracy_high:.1f}"


def p_value(row: SummaryRow) -> str:
    """p against tok, to three decimals."""
    return MISSING if math.isnan(row.p_value) else p_text(row.p_value)


def without_teacher(rows: pd.DataFrame) -> str:
    """What to say of summary rows among which there is no teacher, of a control perhaps; else nothing."""
    if rows.empty or any(row.is_teacher for row in rows_of(rows)):
        return ""
    return "The teacher (base model with demonstrations) was not measured" + (
        "; a control with wrong labels is no teacher." if rows["control"].any() else "."
    )


def between(counts: Sequence[int]) -> str:
    """`54`, or `30 to 54` where they differ."""
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


def of_runs(counts: Sequence[int]) -> str:
    """`n = 3 runs`, or the least and the greatest n where they differ."""
    return f"n = {between(counts)} run{'s' if max(counts) > 1 else ''}"


def num_runs(rows: pd.DataFrame) -> str:
    """The runs behind summary rows."""
    return of_runs([*rows["n"]])


def selection_rule(rows: pd.DataFrame) -> str:
    """How the hyper-parameters of each trained model among a group's summary rows were chosen.

    The number is the learning rate; a ce_loss_weight, as of `tna`, is beside it.
    """
    chosen: dict[str, list[str]] = {}
    for row in rows_of(rows):
        if row.rule:
            chosen.setdefault(row.rule, []).append(row.name)
    if len(chosen) == 1 and len(rows) > MANY:
        return f"Learning rate of every trained model: {next(iter(chosen))}."
    rules = (f"{', '.join(dict.fromkeys(names))}: {rule}" for rule, names in chosen.items())
    return f"Learning rate of {'; of '.join(rules)}." if chosen else "The base model has no hyper-parameters."


def accuracy_caption(rows: pd.DataFrame) -> str:
    """For `accuracy_bars`."""
    circles = "; circles: single runs" if rows["n"].max() > 1 else ""
    return (
        f"Bars: mean accuracy, {num_runs(rows)}; whiskers: {INTERVALS}{circles}. {_chance(rows)} {selection_rule(rows)}"
    )


def _chance(rows: pd.DataFrame) -> str:
    """The interval of each model, and its p-value where it has one; of many, where they stand."""
    if len(rows) > MANY:
        return "The table of results has the intervals, the differences from tok, and p."
    told = [f"{row.name} {interval(row)}{_from_tok(row)}" for row in rows_of(rows)]
    meaning = f" {P_VALUES}" if rows["p_value"].notna().any() else ""
    return f"Intervals: {', '.join(told)}.{meaning}"


def _from_tok(row: SummaryRow) -> str:
    if math.isnan(row.p_value):
        return ""
    return f" ({row.difference:+.1f} from tok, p {p_value(row)}; labels {row.labels} against {row.tok_labels})"


def overview_caption(rows: pd.DataFrame) -> str:
    """For `overview`."""
    starred = " *: out of distribution, in brackets what was trained on." if rows["out_of_distribution"].any() else ""
    return (
        f"A mark is the mean over runs of one model on one evaluation set ({num_runs(rows)}), shifted a little up or "
        f"down, so that equal ones do not hide each other.{starred} The table of results says how hyper-parameters "
        "were chosen."
    )


def reliability_caption(rows: pd.DataFrame) -> str:
    """For `reliability_diagram`."""
    return (
        f"Light dots: equal-count bins of single runs, area by count; line: bins of all runs joined "
        f"({num_runs(rows)}); dotted: perfect calibration. ECE is the mean over runs; its floor is what a calibrated "
        f"model would show at this number of examples. {selection_rule(rows)}"
    )


def dev_loss_caption(rows: pd.DataFrame) -> str:
    """For `dev_loss_curves`."""
    return (
        f"A line per run ({num_runs(rows)}), of the chosen hyper-parameters; dot: lowest dev loss. "
        f"{selection_rule(rows)}"
    )
