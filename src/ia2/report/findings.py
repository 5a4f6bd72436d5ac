"""Plain sentences that follow from the numbers: was the teacher good enough, and how much of a gain is format.

IA2 makes a model do without demonstrations what it does with them; it cannot do better than that by itself. So the
first question to any result is what the demonstrations gave. The thresholds are rough and stated with every verdict.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ia2.report.summary import Group, SummaryRow, rows_of

MIN_GAIN = 10.0
"""Points of accuracy that demonstrations have to add."""
MIN_ABOVE_MAJORITY = 10.0
"""Points that the teacher has to lie above always giving the most frequent answer."""
MIN_ACCURACY = 50.0
"""Percent that the teacher has to get right."""

THRESHOLDS = (
    f"A teacher counts as good enough here if demonstrations add at least {MIN_GAIN:g} points, if it lies at least "
    f"{MIN_ABOVE_MAJORITY:g} points above always giving the most frequent answer, and if it gets at least "
    f"{MIN_ACCURACY:g}% right. These are rules of thumb, not tests."
)


@dataclass(frozen=True)
class Finding:
    """One sentence or two; `warning` marks what a reader must not overlook."""

    text: str
    warning: bool = False


def findings(group: Group) -> list[Finding]:
    """What the records of one evaluation set say: first of the teacher, then of each trained model's gain."""
    rows = rows_of(group.rows)
    teachers = [row for row in rows if row.method == "base" and row.with_icl]
    found = [finding for teacher in teachers for finding in _teacher_findings(teacher, _base_of(teacher, rows))]
    if not teachers:
        found.append(
            Finding("The teacher (base model with demonstrations) was not measured: nothing is said of it.", True)
        )
    trained = [row for row in rows if row.method != "base" and not row.with_icl]
    starts = {row.name: start for row in trained if (start := _base_of(row, rows)) is not None}
    found += [_hidden_knowledge(start) for start in dict.fromkeys(starts.values()) if not math.isnan(start.anywhere)]
    return found + [_gain(row, starts[row.name]) for row in trained if row.name in starts]


def _base_of(row: SummaryRow, rows: Sequence[SummaryRow]) -> SummaryRow | None:
    """The base model without demonstrations that `row` starts from: of its own details, or the only one there is."""
    bases = [other for other in rows if other.method == "base" and not other.with_icl]
    candidates = [base for base in bases if base.details == row.details] or bases
    return candidates[0] if len(candidates) == 1 else None


def _teacher_findings(teacher: SummaryRow, start: SummaryRow | None) -> list[Finding]:
    name = f"the base model with demonstrations{f' [{teacher.details}]' if teacher.details else ''}"
    measured = f"On {teacher.eval_dataset}, {name} answers {teacher.accuracy:.1f}% right"
    measured += "" if start is None else f", and {start.accuracy:.1f}% without them"
    reasons = _weaknesses(teacher, start)
    if reasons:
        return [
            Finding(f"{measured}. As a teacher it is weak: {', and '.join(reasons)}.", True),
            Finding(
                "IA2 copies a weak teacher: expect act to end near it, and a2t to owe what is more to its labels.",
                True,
            ),
        ]
    if start is None:
        return [
            Finding(f"{measured}. Without demonstrations it was not measured, so what they add is not known.", True)
        ]
    return [Finding(f"{measured}. The teacher is good enough for IA2 to have something to teach.")]


def _weaknesses(teacher: SummaryRow, start: SummaryRow | None) -> list[str]:
    """Which of the stated thresholds the teacher misses."""
    reasons = []
    if start is not None and teacher.accuracy - start.accuracy < MIN_GAIN:
        gain = teacher.accuracy - start.accuracy
        reasons.append(f"demonstrations change accuracy by {gain:+.1f} points only (want {MIN_GAIN:+g})")
    if not math.isnan(teacher.majority) and teacher.accuracy - teacher.majority < MIN_ABOVE_MAJORITY:
        reasons.append(f"always giving the most frequent answer would get {teacher.majority:.1f}%")
    if teacher.accuracy < MIN_ACCURACY:
        reasons.append(f"it is right in fewer than {MIN_ACCURACY:g}% of the examples")
    return reasons


def _hidden_knowledge(start: SummaryRow) -> Finding:
    """What the base model knows and does not put where the parser reads it."""
    details = f" [{start.details}]" if start.details else ""
    return Finding(
        f"How much of a gain is format: without demonstrations the base model{details} gives the gold answer somewhere "
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
