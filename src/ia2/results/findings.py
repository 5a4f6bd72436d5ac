"""Plain sentences on what training gained, and how much of a gain is format."""

import math
from dataclasses import dataclass

from ia2.results.cases import Case
from ia2.results.summary import SummaryRow


@dataclass(frozen=True)
class Finding:
    """One sentence or two; `warning` marks what a reader must not overlook."""

    text: str
    warning: bool = False


def findings(case: Case) -> list[Finding]:
    """What each trained model gained over the base model without demonstrations; nothing if that is not known."""
    if case.start is None or not case.students:
        return []
    start = case.start.row
    known = [] if math.isnan(start.anywhere) else [_hidden_knowledge(start)]
    return known + [_gain(student.row, start) for student in case.students]


def _hidden_knowledge(start: SummaryRow) -> Finding:
    """What the base model knows and does not put where the parser reads it."""
    return Finding(
        f"How much of a gain is format: without demonstrations the base model gives the gold answer somewhere "
        f"in its whole response in {start.anywhere:.1f}% of the examples, but where the parser reads the answer (in "
        f"free text, the first line) in {start.accuracy:.1f}%. The difference is what learning the format can bring."
    )


def _gain(row: SummaryRow, start: SummaryRow) -> Finding:
    """A trained model's gain over the base model without demonstrations, and the part of it that may be format.

    The part is a bound from above: a long response can hold the answer by chance.
    """
    gain = row.accuracy - start.accuracy
    text = f"{row.name} answers {row.accuracy:.1f}% right without demonstrations: {gain:+.1f} points"
    if gain <= 0 or math.isnan(start.anywhere):
        return Finding(f"{text}.")
    hidden = min(max(start.anywhere - start.accuracy, 0.0), gain)
    return Finding(f"{text}, of which up to {hidden:.1f} may be format and at least {gain - hidden:.1f} are more.")
