"""Is the teacher worth copying? What the base model with demonstrations does, judged by stated thresholds.

IA2 makes a model do without demonstrations what it does with them; it cannot do better than that by itself. So this is
the first question to any result.
"""

import math
from collections import Counter
from dataclasses import dataclass

from ia2.results.cases import Case, Measured
from ia2.results.compare import difference as tested
from ia2.results.estimates import Estimate, above_majority, accuracy, difference
from ia2.results.findings import Finding

MIN_GAIN = 10.0
"""Points of accuracy that demonstrations have to add."""
MIN_ABOVE_MAJORITY = 10.0
"""Points that the teacher has to lie above always giving the most frequent answer."""
MIN_ACCURACY = 50.0
"""Percent that the teacher has to get right."""
NEAR_ONE_CLASS = 80.0
"""Percent right of always giving the most frequent answer, from which on accuracy says little."""
COLLAPSED = 90.0
"""Percent of the answers that are one and the same, where so many of the gold ones are not."""
MAX_MISCALIBRATION = 0.05
"""ECE above its floor from which on a confidence is not to be believed."""

THRESHOLDS = (
    f"A teacher counts as good enough here if demonstrations add at least {MIN_GAIN:g} points, if it lies at least "
    f"{MIN_ABOVE_MAJORITY:g} points above always giving the most frequent answer, if it gets at least "
    f"{MIN_ACCURACY:g}% right, and if fewer than {COLLAPSED:g}% of its answers are one and the same. These are rules "
    "of thumb, not tests; what chance alone could undo is said to be thin."
)


@dataclass(frozen=True)
class Criterion:
    """What is asked of a teacher: `measured` points of at least `wanted`; `missed` says it where they are fewer."""

    measured: Estimate
    wanted: float
    missed: str

    @property
    def is_met(self) -> bool:
        return self.measured.points >= self.wanted

    @property
    def is_certain(self) -> bool:
        """Whether it is met, or missed, by more than chance explains."""
        return self.measured.above(self.wanted) or self.measured.below(self.wanted)


@dataclass(frozen=True)
class Judgement:
    """What is wrong with a teacher, and whether chance could change that."""

    weaknesses: tuple[str, ...]
    is_certain: bool


def judge(teacher: Measured, start: Measured | None) -> Judgement:
    """Hold a teacher against the thresholds. Certain is a weakness of which one is, or a strength of which all are."""
    criteria = _criteria(teacher, start)
    collapse = collapsed(teacher)
    missed = [criterion for criterion in criteria if not criterion.is_met]
    if missed or collapse:
        certain = bool(collapse) or any(criterion.is_certain for criterion in missed)
        return Judgement((*(criterion.missed for criterion in missed), *([collapse] if collapse else [])), certain)
    return Judgement((), start is not None and all(criterion.is_certain for criterion in criteria))


def _criteria(teacher: Measured, start: Measured | None) -> list[Criterion]:
    asked = []
    if start is not None:
        gain = difference(teacher, start)
        asked.append(
            Criterion(gain, MIN_GAIN, f"demonstrations change accuracy by {gain} only (want {MIN_GAIN:+g} points)")
        )
    if not math.isnan(teacher.row.majority):
        text = f"always giving the most frequent answer would get {teacher.row.majority:.1f}%"
        asked.append(Criterion(above_majority(teacher), MIN_ABOVE_MAJORITY, text))
    right = accuracy(teacher)
    return [*asked, Criterion(right, MIN_ACCURACY, f"it is right in fewer than {MIN_ACCURACY:g}% of the examples")]


def collapsed(model: Measured) -> str:
    """How a model that gives nearly one answer only does so, or an empty text."""
    answers, golds = Counter(model.examples["parsed"].dropna()), Counter(model.examples["gold"])
    if not answers:
        return ""
    ((common, num_answers),), ((_, num_golds),) = answers.most_common(1), golds.most_common(1)
    share, due = (100 * number / len(model.examples) for number in (num_answers, num_golds))
    if share < COLLAPSED or due >= COLLAPSED:
        return ""
    return f"{share:.0f}% of its answers are “{common}”, while no gold answer has more than {due:.0f}%"


def teacher_findings(case: Case, teacher: Measured) -> list[Finding]:
    """What the teacher does, whether that is good enough, and whether its demonstrations and its confidence count."""
    judgement = judge(teacher, case.start)
    told = [Finding(_measured(case, teacher), bool(judgement.weaknesses))]
    if judgement.weaknesses:
        weak = f"As a teacher it is weak: {', and '.join(judgement.weaknesses)}."
        told.append(Finding(f"{weak} IA2 copies a weak teacher: expect act to end near it.", True))
    elif case.start is None:
        told.append(Finding("Without demonstrations it was not measured, so what they add is not known.", True))
    else:
        told.append(Finding("The teacher is good enough for IA2 to have something to teach."))
    return [*told, *_one_class(case, teacher), _control(case, teacher), _calibration(teacher)]


def _measured(case: Case, teacher: Measured) -> str:
    row, right = teacher.row, accuracy(teacher)
    asked = f"n = {teacher.num_examples} evaluation examples, {row.n} run{'s' if row.n > 1 else ''}"
    text = f"With demonstrations ({row.labels_train:.0f} labels) the base model answers {row.accuracy:.1f}% right "
    text += f"(standard error {right.standard_error:.1f}; {asked})"
    if case.start is not None:
        gain = difference(teacher, case.start)
        text += f", and {case.start.row.accuracy:.1f}% without them: {gain}"
    if not math.isnan(row.majority):
        text += f". Always giving the most frequent answer would get {row.majority:.1f}%"
    if teacher.has_labels:
        num_labels = teacher.examples["gold"].nunique()
        text += f", guessing among the {num_labels} labels that occur {100 / num_labels:.1f}%"
    return f"{text}."


def _one_class(case: Case, teacher: Measured) -> list[Finding]:
    """Whether accuracy misleads here, and which students give one answer only."""
    told = []
    if teacher.row.majority >= NEAR_ONE_CLASS:
        scores = [(model.row.name, model.metric("macro_f1")) for model in (teacher, *case.students)]
        known = ", ".join(f"{name} {score:.2f}" for name, score in scores if score is not None)
        told.append(
            Finding(
                f"The evaluation is near one class ({teacher.row.majority:.1f}% of it is the most frequent answer), so "
                f"accuracy misleads: compare macro F1 ({known or 'not in these records'}).",
                True,
            )
        )
    answers = {student.row.name: collapsed(student) for student in case.students}
    return told + [Finding(f"{name} has collapsed: {how}.", True) for name, how in answers.items() if how]


def _control(case: Case, teacher: Measured) -> Finding:
    """Whether it matters what the demonstrations say, or only how they look."""
    if case.wrong_labels is None:
        return Finding(
            "Whether the demonstrations' labels matter, or only their format, was not measured (it takes a record with "
            "control=wrong_labels)."
        )
    lost = tested(teacher.answers, case.wrong_labels.answers)
    if lost is None:
        return Finding(
            "The teacher and its control with wrong labels have no split in common: no difference is tested."
        )
    text = f"With wrong labels in its demonstrations the teacher answers {case.wrong_labels.row.accuracy:.1f}% right, "
    text += f"with the right ones {teacher.row.accuracy:.1f}%: {lost}"
    if lost.is_clear and lost.points > 0:
        return Finding(f"{text}. The labels matter, not the format alone.")
    return Finding(f"{text}. That is no clear difference: the demonstrations may teach their format only.", True)


def _calibration(teacher: Measured) -> Finding:
    error, floor = teacher.row.ece, teacher.row.ece_floor
    if math.isnan(error) or math.isnan(floor):
        return Finding("The teacher's calibration was not measured.")
    text = f"The teacher's calibration error is {error:.2f}; a calibrated model would show {floor:.2f} at this n"
    if error - floor > MAX_MISCALIBRATION:
        return Finding(f"{text}. Its confidence is not to be believed: check that of a student that copies it.", True)
    return Finding(f"{text}. That is no evidence against its confidence.")
