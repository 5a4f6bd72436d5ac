"""Advice on tok, act, a2t and tna: a table of rules, what was measured against it, and if the teacher is worth copying.

The first rule that holds gives what to expect before anything is trained. Where adapters were measured, a difference
of p < 0.05 (the test of the table of results) overrules it; any other is a tie and does not. `tna` is in no rule: it
has a weight to choose besides, and no figure of the paper to go by, so only a measurement can speak for it. Figures of
the paper are those of its table for Qwen3-4B-Base, LoRA, N = 4, accuracy and ECE of its twelve and eight evaluations.

IA2 makes a model do without demonstrations what it does with them; it cannot do better than that by itself. So the
teacher, the base model with demonstrations, is judged first, by stated thresholds.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from ia2.results.compare import LEVEL, Answers, Difference, difference, of_scores, read_answers, read_examples
from ia2.results.frame import Row, rows_of
from ia2.results.label import details, text_of
from ia2.results.records import Record
from ia2.results.select import cell_of

MIN_GAIN = 10.0
"""Points of accuracy that demonstrations have to add."""
MIN_ABOVE_MAJORITY = 10.0
"""Points above always giving the most frequent answer that the teacher has to reach."""
MIN_ACCURACY = 50.0
"""Percent that the teacher has to get right."""
NEAR_ONE_CLASS = 80.0
"""Percent right of always giving the most frequent answer, from which on accuracy says little."""
COLLAPSED = 90.0
"""Percent of the answers that are one and the same, where so many of the gold ones are not."""
MAX_MISCALIBRATION = 0.05
"""ECE above its floor from which on a confidence is not to be believed."""
MIN_EXAMPLES = 20
"""Evaluation examples below which nothing is recommended."""
MIN_LABELS = 4
"""Labels from which on fine-tuning has something to go by: the fewest for which the paper's figures are at hand."""
MANY_LABELS = 16
"""Labels above which the paper's figures, of N = 4 and 8, are too far away to go by alone."""
NOT_OF_A_CASE = {"eval_dataset", "icl_source_dataset", "run_idx", "uncertainty_analysis", "control"}
DEMONSTRATION_FIELDS = {"icl_max_demos", "icl_pool"}

Choice = Literal["tok", "act", "a2t"]

# Cases: models that belong together


@dataclass(frozen=True)
class Case:
    """One base model on one evaluation set, as rows of the view by model; what was not measured is None."""

    title: str
    num_labels: int
    teacher: Row | None
    start: Row | None
    wrong_labels: Row | None
    students: tuple[Row, ...]

    @property
    def rows(self) -> list[Row]:
        return [row for row in (self.teacher, self.start, *self.students) if row is not None]

    @property
    def num_examples(self) -> int:
        return int(min(row.num_examples for row in self.rows))

    @cached_property
    def gain(self) -> Difference | None:
        """The points that demonstrations add; None where that was not measured."""
        known = self.teacher is not None and self.start is not None
        return difference(_answers(self.teacher), _answers(self.start)) if known else None

    @cached_property
    def judgement(self) -> "Judgement":
        """The teacher against the thresholds; without one there is nothing against it."""
        return Judgement((), False) if self.teacher is None else _judge(self.teacher, self.gain)


def cases(summary: pd.DataFrame, records: Iterable[Record]) -> list[Case]:
    """The cases of each evaluation set, in their order; `records` hold at least those of the summary.

    Models are matched by their settings. The demonstrations at evaluation tell teachers apart, but not students, who
    see none.
    """
    from_path = {str(record.path): record for record in records}
    return [
        case
        for title, rows in summary.groupby("title", sort=False)
        for case in _cases_of(str(title), [(row, from_path[row.records[0]]) for row in rows_of(rows)])
    ]


def _cases_of(title: str, models: Sequence[tuple[Row, Record]]) -> list[Case]:
    keys: list[dict[str, Any]] = []
    for _, record in sorted(models, key=lambda model: model[1].run is not None):
        key = _key(record)
        if not record.control and not any(_is_of(record, other) for other in keys):
            keys.append(key)
    found = []
    for key, told in zip(keys, details(keys, [title] * len(keys)), strict=True):
        mine = [(row, record) for row, record in models if _is_of(record, key)]
        bases = {(row.control, row.with_icl): row for row, record in mine[::-1] if record.run is None}
        students: dict[str, Row] = {}
        for row, record in mine:
            if record.run is not None and not row.with_icl and not record.control:
                students.setdefault(cell_of(record.run), row)
        rows = (bases.get(("", True)), bases.get(("", False)), bases.get(("wrong_labels", True)))
        name = f"{title}, {told}" if told else title
        found.append(Case(name, key["num_train_examples"], *rows, tuple(students.values())))
    return found


def _key(record: Record) -> dict[str, Any]:
    dropped = NOT_OF_A_CASE | (DEMONSTRATION_FIELDS if record.run else set())
    settings = record.settings.model_dump(mode="json")
    return {name: value for name, value in settings.items() if name not in dropped and text_of(value)}


def _is_of(record: Record, key: Mapping[str, Any]) -> bool:
    return _key(record).items() <= key.items() if record.run else _key(record) == key


def _answers(row: Row) -> Answers:
    return read_answers(dict(zip(row.runs, row.records, strict=True)), row.with_icl)


# The teacher


@dataclass(frozen=True)
class Finding:
    """One sentence or two; `warning` marks what a reader must not overlook."""

    text: str
    warning: bool = False


THRESHOLDS = (
    f"A teacher counts as good enough here if demonstrations add at least {MIN_GAIN:g} points, if it is at least "
    f"{MIN_ABOVE_MAJORITY:g} points above always giving the most frequent answer, if it gets at least "
    f"{MIN_ACCURACY:g}% right, and if fewer than {COLLAPSED:g}% of its answers are one and the same. These are rules "
    "of thumb, not tests; evidence is called thin where the 95% interval holds a threshold."
)


@dataclass(frozen=True)
class Judgement:
    """The weaknesses of a teacher, and if the intervals exclude the thresholds that decide."""

    weaknesses: tuple[str, ...]
    is_certain: bool


def _judge(teacher: Row, gain: Difference | None) -> Judgement:
    """Compare a teacher with the thresholds. Certain is a weakness of which one is, or a strength of which all are."""
    ours = _answers(teacher)
    criteria = []  # a weakness; true where it is one, and where it is, or is not, beyond the interval
    if gain is not None:
        text = f"demonstrations change accuracy by {gain} only (want {MIN_GAIN:+g} points)"
        criteria.append((text, gain.points < MIN_GAIN, gain.excludes(MIN_GAIN)))
    if not math.isnan(teacher.majority):
        text = f"always giving the most frequent answer would get {teacher.majority:.1f}%"
        missed = teacher.accuracy - teacher.majority < MIN_ABOVE_MAJORITY
        golds = read_examples(teacher.records[0], teacher.with_icl, "gold")
        right = np.stack([run.to_numpy(np.float64) for run in ours.values()])
        usual = (golds == golds.mode()[0]).to_numpy(np.float64)
        above = of_scores(right, np.broadcast_to(usual, right.shape))
        criteria.append((text, missed, above.excludes(MIN_ABOVE_MAJORITY)))
    text = f"it is right in fewer than {MIN_ACCURACY:g}% of the examples"
    criteria.append((text, teacher.accuracy < MIN_ACCURACY, not teacher.low <= MIN_ACCURACY <= teacher.high))
    if collapse := collapsed(teacher):
        criteria.append((collapse, True, True))
    if weaknesses := [(text, certain) for text, is_missed, certain in criteria if is_missed]:
        return Judgement(tuple(text for text, _ in weaknesses), any(certain for _, certain in weaknesses))
    return Judgement((), gain is not None and all(certain for *_, certain in criteria))


def collapsed(model: Row) -> str:
    """The share of one and the same answer of a model that gives nearly no other, or an empty text."""
    columns = {
        name: pd.concat([read_examples(path, model.with_icl, name) for path in model.records])
        for name in ("parsed", "gold")
    }
    answers, golds = Counter(columns["parsed"].dropna()), Counter(columns["gold"])
    if not answers:
        return ""
    ((common, num_answers),), ((_, num_golds),) = answers.most_common(1), golds.most_common(1)
    share, due = (100 * number / len(columns["gold"]) for number in (num_answers, num_golds))
    if share < COLLAPSED or due >= COLLAPSED:
        return ""
    return f"{share:.0f}% of its answers are “{common}”, while no gold answer has more than {due:.0f}%"


def teacher_findings(case: Case, teacher: Row) -> list[Finding]:
    """The teacher's accuracy, if that is good enough, and if its demonstrations and its confidence count."""
    judgement = case.judgement
    found = [Finding(_measured(case, teacher), bool(judgement.weaknesses))]
    if judgement.weaknesses:
        weak = f"As a teacher it is weak: {', and '.join(judgement.weaknesses)}."
        found.append(Finding(f"{weak} IA2 copies a weak teacher: expect act to end near it.", True))
    elif case.start is None:
        found.append(Finding("Without demonstrations it was not measured, so what they add is not known.", True))
    else:
        found.append(Finding("The teacher is good enough for IA2 to have something to teach."))
    if teacher.majority >= NEAR_ONE_CLASS:
        scores = [(row.name, row.macro_f1) for row in (teacher, *case.students) if not math.isnan(row.macro_f1)]
        known = ", ".join(f"{name} {score:.2f}" for name, score in scores)
        text = f"The evaluation is near one class ({teacher.majority:.1f}% of it is the most frequent answer), so "
        found.append(Finding(f"{text}accuracy misleads: compare macro F1 ({known or 'not in these records'}).", True))
    answers = {student.name: collapsed(student) for student in case.students}
    found += [Finding(f"{name} has collapsed: {how}.", True) for name, how in answers.items() if how]
    return [*found, _control(case, teacher), _calibration(teacher)]


def _measured(case: Case, row: Row) -> str:
    examples = f"n = {row.num_examples} evaluation examples, {row.n} run{'s' if row.n > 1 else ''}"
    text = f"With demonstrations ({row.labels_train:.0f} labels) the base model answers {row.accuracy:.1f}% right "
    text += f"(95%: {row.low:.1f} to {row.high:.1f}; {examples})"
    if case.start is not None:
        text += (
            f", and {case.start.accuracy:.1f}% without them: {case.gain or 'of other splits, so the gain is not known'}"
        )
    if not math.isnan(row.majority):
        text += f". Always giving the most frequent answer would get {row.majority:.1f}%"
    if row.has_labels:
        num_labels = read_examples(row.records[0], row.with_icl, "gold").nunique()
        text += f", guessing among the {num_labels} labels that occur {100 / num_labels:.1f}%"
    return f"{text}."


def _control(case: Case, teacher: Row) -> Finding:
    """Wrong labels in the demonstrations: if it matters what they say, or only how they look."""
    if case.wrong_labels is None:
        return Finding(
            "Whether the demonstrations' labels matter, or only their format, was not measured (it takes a record with "
            "control=wrong_labels)."
        )
    lost = difference(_answers(teacher), _answers(case.wrong_labels))
    if lost is None:
        return Finding(
            "The teacher and its control with wrong labels have no split in common: no difference is tested."
        )
    text = f"With wrong labels in its demonstrations the teacher answers {case.wrong_labels.accuracy:.1f}% right, "
    text += f"with the right ones {teacher.accuracy:.1f}%: {lost}"
    if lost.is_clear and lost.points > 0:
        return Finding(f"{text}. The labels matter, not the format alone.")
    return Finding(f"{text}. That is no clear difference: the demonstrations may teach their format only.", True)


def _calibration(teacher: Row) -> Finding:
    error, floor = teacher.ece, teacher.ece_floor
    if math.isnan(error) or math.isnan(floor):
        return Finding("The teacher's calibration was not measured.")
    text = f"The teacher's calibration error is {error:.2f}; a calibrated model would show {floor:.2f} at this n"
    if error - floor > MAX_MISCALIBRATION:
        return Finding(f"{text}. Its confidence is not to be believed: check that of a student that copies it.", True)
    return Finding(f"{text}. That is no evidence against its confidence.")


# Gains


def findings(case: Case) -> list[Finding]:
    """The gain of each trained model over the base model without demonstrations; nothing if that is not known.

    The part that may be format is a bound from above: a long response can hold the answer by chance.
    """
    start = case.start
    if start is None or not case.students:
        return []
    found = []
    if not math.isnan(start.anywhere):
        found.append(
            Finding(
                f"How much of a gain is format: without demonstrations the base model gives the gold answer somewhere "
                f"in its whole response in {start.anywhere:.1f}% of the examples, but where the parser reads the "
                f"answer (in free text, the first line) in {start.accuracy:.1f}%. The difference is what learning the "
                "format can bring."
            )
        )
    for row in case.students:
        gain = row.accuracy - start.accuracy
        text = f"{row.name} answers {row.accuracy:.1f}% right without demonstrations: {gain:+.1f} points"
        if gain > 0 and not math.isnan(start.anywhere):
            hidden = min(max(start.anywhere - start.accuracy, 0.0), gain)
            text += f", of which up to {hidden:.1f} may be format and at least {gain - hidden:.1f} are more"
        found.append(Finding(f"{text}."))
    return found


# Rules


@dataclass(frozen=True)
class Rule:
    """An expectation of a case before training; `choice` is None where nothing can be said, measured or not."""

    when: str
    holds: Callable[[Case], bool]
    choice: Choice | None
    because: str


RULES = (
    Rule(
        f"fewer than {MIN_EXAMPLES} evaluation examples",
        lambda case: case.num_examples < MIN_EXAMPLES,
        None,
        "with so few examples chance decides; evaluate on more",
    ),
    Rule(
        f"the most frequent answer makes up {NEAR_ONE_CLASS:g}% of the evaluation or more",
        lambda case: any(row.majority >= NEAR_ONE_CLASS for row in case.rows),
        None,
        "accuracy cannot rank methods near one class: compare macro F1, or evaluate on balanced classes",
    ),
    Rule(
        "a weak teacher",
        lambda case: bool(case.judgement.weaknesses),
        "tok",
        "IA2 copies a weak teacher, and labels teach more than it does; more demonstrations or a better model may "
        "change that",
    ),
    Rule(
        f"a good teacher and fewer than {MIN_LABELS} labels",
        lambda case: case.teacher is not None and case.num_labels < MIN_LABELS,
        "act",
        "it needs labels as demonstrations only, and there are too few to fine-tune on",
    ),
    Rule(
        f"a good teacher and {MIN_LABELS} to {MANY_LABELS} labels",
        lambda case: case.teacher is not None and case.num_labels <= MANY_LABELS,
        "a2t",
        "in the paper (arXiv 2509.22621; Qwen3-4B-Base, N = 4) a2t is more accurate than tok on 12 of 12 evaluations "
        "and than act on 11, and its calibration error is below that of tok on 7 of 8",
    ),
    Rule(
        f"a good teacher and more than {MANY_LABELS} labels",
        lambda case: case.teacher is not None,
        "a2t",
        "the paper's figures at hand are of N = 4 and 8, so measure tok beside it",
    ),
)
"""From top to bottom; the first that holds counts. None holds where the teacher was not measured."""

RULES_NOTE = (
    f"A difference between methods counts if p < {LEVEL:g} in the paired permutation test over runs and examples that "
    "the table of results shows against tok; else it is a tie. The best of several models is picked on the very "
    "examples it is measured on, which flatters it a little."
)


@dataclass(frozen=True)
class Advice:
    """The recommendation for one case (method None: there is none), and the findings that it rests on."""

    title: str
    method: str | None
    verdict: str
    findings: tuple[Finding, ...]


def advice(summary: pd.DataFrame, records: Sequence[Record], kept: str = "") -> list[Advice]:
    """One for each case of each evaluation set, in their order; `records` hold at least those of the summary.

    Where the adapter of a method was `kept`, chosen by dev loss, that is the method, and not what the rules expect.
    """
    return [_advise(case, kept) for case in cases(summary, records)]


def advice_text(given: Iterable[Advice]) -> str:
    """For a terminal: title and verdict, and below them the findings, warnings marked."""
    return "\n\n".join(
        "\n".join([one.title, one.verdict, *(f"{'!' if f.warning else '-'} {f.text}" for f in one.findings)])
        for one in given
    )


def _advise(case: Case, kept: str) -> Advice:
    if case.teacher is None:
        missing = "The teacher (base model with demonstrations) was not measured: nothing is said of it."
        found = [Finding(missing, True)]
    else:
        found = teacher_findings(case, case.teacher)
    method, verdict = _of_kept(case, kept) if kept else _verdict(case)
    text = f"There are N = {case.num_labels} labels to learn from"
    used = ", ".join(f"{row.name} {row.labels}" for row in case.students)
    if used:
        found.append(Finding(f"{text}. Used, for training (or as demonstrations) + dev: {used}."))
    else:
        found.append(Finding(f"{text}; dev labels, which choose the learning rate, come on top (at most N/2)."))
    return Advice(case.title, method, verdict, tuple(found))


def _verdict(case: Case) -> tuple[str | None, str]:
    """The method and the sentences that recommend it."""
    rule = next((rule for rule in RULES if rule.holds(case)), None)
    if rule is not None and rule.choice is None:
        return None, f"{_head(None)}, given {rule.when} ({_facts(case)}): {rule.because}."
    choice = None if rule is None else rule.choice
    method, comparison = _compare(case, choice)
    if rule is None:
        return method, f"{_head(method)}, without a teacher measured. {comparison}"
    if method != choice:
        return method, f"{_head(method)}, though {rule.when} ({_facts(case)}) would speak for {choice}. {comparison}"
    return method, f"{_head(method)}, given {rule.when} ({_facts(case)}): {rule.because}. {_thin(case)}{comparison}"


def _of_kept(case: Case, kept: str) -> tuple[str, str]:
    """The method that was kept, and what was measured of it against the best of the others."""
    rule = next((rule for rule in RULES if rule.holds(case)), None)
    caution = f" But {rule.because}." if rule is not None and rule.choice is None else ""
    best, comparison = _compare(case, kept)
    against = (
        "" if best == kept else f" The evaluation speaks for {best}, but choosing by it would spoil what it measures."
    )
    return kept, f"Kept: {kept}, chosen by dev loss ({_facts(case)}).{caution} {comparison}{against}"


def _head(method: str | None) -> str:
    return "No recommendation" if method is None else f"Reasonable: {method}"


def _thin(case: Case) -> str:
    """A warning where the teacher is so near a threshold that chance may have put it there."""
    assert case.teacher is not None
    if case.judgement.is_certain:
        return ""
    if case.start is None:
        return "The evidence is thin: what demonstrations add was not measured. "
    return (
        f"The evidence is thin: at n = {case.teacher.num_examples} evaluation examples a threshold is within the 95% "
        "interval of the teacher, so more examples may change this. "
    )


def _compare(case: Case, choice: str | None) -> tuple[str | None, str]:
    """The method that measurements leave or put in place of `choice`, and what they show."""
    ranked = sorted(case.students, key=lambda row: -row.accuracy)
    chosen = next((row for row in ranked if row.method == choice), None)
    if not ranked:
        return choice, f"No adapter was measured: train and evaluate {choice} and another method to know."
    if choice is not None and chosen is None:
        return choice, f"{choice} was not measured; the best that was is {_score(ranked[0])}."
    first = chosen or ranked[0]
    rival = next((row for row in ranked if row is not first), None)
    if rival is None:
        return choice, f"Of the adapters only {_score(first)} was measured."
    return _contest(first, rival, choice)


def _contest(first: Row, rival: Row, choice: str | None) -> tuple[str | None, str]:
    """`first`, the rule's choice or else the best measured, against the best of the others."""
    lead = difference(_answers(first), _answers(rival))
    shown = f"{_score(first)} against {_score(rival)}"
    if lead is None:
        return choice, f"{shown}, on other splits or examples: the difference cannot be tested."
    single = " Single runs hide how much runs differ." if lead.num_runs < 2 else ""
    shown += f": {lead}, labels {first.labels} against {rival.labels}.{single}"
    if not lead.is_clear:
        return choice, f"Measured, it is a tie: {shown}"
    if lead.points < 0:
        return rival.method, f"The measurement decides: {shown}"
    return first.method, f"The measurement {'agrees' if choice else 'decides'}: {shown}"


def _score(row: Row) -> str:
    return f"{row.name} {row.accuracy:.1f}%"


def _facts(case: Case) -> str:
    """The numbers that the rules look at."""
    facts = [f"N = {case.num_labels}", f"n = {case.num_examples}"]
    facts += [f"teacher {case.teacher.accuracy:.1f}%"] if case.teacher is not None else []
    facts += [f"{case.start.accuracy:.1f}% without demonstrations"] if case.start is not None else []
    majority = case.rows[0].majority
    return ", ".join(facts if math.isnan(majority) else [*facts, f"most frequent answer {majority:.1f}%"])
