"""Numbers, intervals, counts and columns as plain text, in all that is shown. What was not measured is a dash."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from ia2.evaluation.statistics import standard_deviation
from ia2.results.compare import p_text
from ia2.results.frame import Row, rows_of

MISSING = "–"
MANY = 12
"""Models above which a caption does not tell of each, since nobody reads a paragraph of numbers."""
P_VALUES = (
    "− tok: points ahead of tok (its labels); p: paired permutation test of that over runs and examples, uncorrected."
)


def number(value: float, form: str) -> str:
    """`value` formatted, or a dash where it was not measured."""
    return MISSING if math.isnan(value) else format(value, form)


def interval(row: Row) -> str:
    """The 95% interval of accuracy in percent, `65.0 to 85.0`."""
    if math.isnan(row.low):
        return MISSING
    return f"{row.low:.1f} to {row.high:.1f}"


def p_value(row: Row) -> str:
    """p against tok, to three decimals."""
    return MISSING if math.isnan(row.p_value) else p_text(row.p_value)


def without_teacher(rows: pd.DataFrame) -> str:
    """What to say of summary rows among which there is no teacher, of a control perhaps; else nothing."""
    if rows.empty or rows["is_teacher"].any():
        return ""
    return "The teacher (base model with demonstrations) was not measured" + (
        "; a control with wrong labels is no teacher." if (rows["control"] != "").any() else "."
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


def aligned(heading: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """The lines below their heading and a rule."""
    widths = [max(len(line[place]) for line in (heading, *lines)) for place in range(len(heading))]
    whole = [heading, ["-" * width for width in widths], *lines]
    return ["  ".join(_padded(line, widths)).rstrip() for line in whole]


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *numbers = zip(line, widths, strict=True)
    return [first[0].ljust(first[1]), *(text.rjust(width) for text, width in numbers)]


def mean_and_sd(values: Iterable[float], form: str = ".3f") -> str:
    """`0.512 ± 0.013` over runs (ddof 1), without a spread for one run, and a dash where a run was not measured."""
    array = np.array(list(values), dtype=np.float64)
    sd = standard_deviation(array)
    mean = number(float(array.mean()) if array.size else float("nan"), form)
    return mean if np.isnan(sd) else f"{mean} ± {number(sd, form)}"
