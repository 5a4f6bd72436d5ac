"""Which of tok, act, a2t and tna is the reasonable choice: a table of rules, and what was measured against it.

The first rule that holds gives what to expect before anything is trained. Where adapters were measured, a difference
of p < 0.05 (the test of the table of results) overrules it; any other is a tie and does not. `tna` is in no rule: it
has a weight to choose besides, and no figure of the paper to go by, so only a measurement can speak for it. Figures of
the paper are those of its table for Qwen3-4B-Base, LoRA, N = 4, accuracy and ECE of its twelve and eight evaluations.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ia2.results.cases import Case, Measured, cases
from ia2.results.compare import LEVEL, difference
from ia2.results.estimates import CLEAR
from ia2.results.findings import Finding
from ia2.results.records import Record
from ia2.results.summary import Group
from ia2.results.teacher import NEAR_ONE_CLASS, judge, teacher_findings

MIN_EXAMPLES = 20
"""Evaluation examples below which nothing is recommended."""
MIN_LABELS = 4
"""Labels from which on fine-tuning has something to go by: the fewest for which the paper's figures are at hand."""
MANY_LABELS = 16
"""Labels above which the paper's figures, of N = 4 and 8, are too far away to go by alone."""

Choice = Literal["tok", "act", "a2t"]


@dataclass(frozen=True)
class Rule:
    """What to expect of a case before training; `choice` is None where nothing can be said, measured or not."""

    when: str
    holds: Callable[[Case], bool]
    choice: Choice | None
    because: str


def _weak(case: Case) -> bool:
    return case.teacher is not None and bool(judge(case.teacher, case.start).weaknesses)


RULES = (
    Rule(
        f"fewer than {MIN_EXAMPLES} evaluation examples",
        lambda case: _num_examples(case) < MIN_EXAMPLES,
        None,
        "with so few examples chance decides; evaluate on more",
    ),
    Rule(
        f"the most frequent answer makes up {NEAR_ONE_CLASS:g}% of the evaluation or more",
        lambda case: any(model.row.majority >= NEAR_ONE_CLASS for model in _models(case)),
        None,
        "accuracy cannot rank methods near one class: compare macro F1, or evaluate on balanced classes",
    ),
    Rule(
        "a weak teacher",
        _weak,
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
    "the table of results shows against tok; else it is a tie. What is said of the teacher counts beyond "
    f"{CLEAR:g} standard errors. The best of several models is picked on the very examples it is measured on, which "
    "flatters it a little."
)


@dataclass(frozen=True)
class Advice:
    """The recommendation for one case (method None: there is none), and the findings that it rests on."""

    title: str
    method: str | None
    verdict: str
    findings: tuple[Finding, ...]


def advice(groups: Iterable[Group], records: Sequence[Record], kept: str = "") -> list[Advice]:
    """One for each case of each evaluation set, in their order; `records` hold at least those of the groups.

    Where the adapter of a method was `kept`, chosen by dev loss, that is the method, and not what the rules expect.
    """
    return [_advise(case, kept) for group in groups for case in cases(group, records)]


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
    return Advice(case.title, method, verdict, (*found, *_labels_used(case)))


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
    """What to beware of where the teacher lies so near a threshold that chance may have put it there."""
    assert case.teacher is not None
    if judge(case.teacher, case.start).is_certain:
        return ""
    if case.start is None:
        return "The evidence is thin: what demonstrations add was not measured. "
    return (
        f"The evidence is thin: at n = {case.teacher.num_examples} evaluation examples the teacher is within "
        f"{CLEAR:g} standard errors of a threshold, so more examples may change this. "
    )


def _compare(case: Case, choice: str | None) -> tuple[str | None, str]:
    """The method that measurements leave or put in place of `choice`, and what they show."""
    ranked = sorted(case.students, key=lambda student: -student.row.accuracy)
    if not ranked:
        return choice, f"No adapter was measured: train and evaluate {choice} and another method to know."
    chosen = next((student for student in ranked if student.row.method == choice), None)
    if choice is not None and chosen is None:
        return choice, f"{choice} was not measured; the best that was is {_score(ranked[0])}."
    first = chosen or ranked[0]
    others = [student for student in ranked if student is not first]
    if not others:
        return choice, f"Of the adapters only {_score(first)} was measured."
    return _contest(first, others[0], choice)


def _contest(first: Measured, rival: Measured, choice: str | None) -> tuple[str | None, str]:
    """`first`, what the rule says or else the best measured, against the best of the others."""
    lead = difference(first.answers, rival.answers)
    shown = f"{_score(first)} against {_score(rival)}"
    if lead is None:
        return choice, f"{shown}, on other splits or examples: the difference cannot be tested."
    single = " Single runs hide how much runs differ." if lead.num_runs < 2 else ""
    shown += f": {lead}, labels {first.row.labels} against {rival.row.labels}.{single}"
    if not lead.is_clear:
        return choice, f"Measured, it is a tie: {shown}"
    if lead.points < 0:
        return rival.row.method, f"The measurement decides: {shown}"
    return first.row.method, f"The measurement {'agrees' if choice else 'decides'}: {shown}"


def _score(model: Measured) -> str:
    return f"{model.row.name} {model.row.accuracy:.1f}%"


def _labels_used(case: Case) -> list[Finding]:
    """How many labels there are, and what each method used of them."""
    used = [
        f"{student.row.name} {student.row.labels_train:.0f} + {student.row.labels_dev:.0f}" for student in case.students
    ]
    text = f"There are N = {case.num_labels} labels to learn from"
    if not used:
        return [Finding(f"{text}; dev labels, which choose the learning rate, come on top (at most N/2).")]
    return [Finding(f"{text}. Used, for training (or as demonstrations) + dev: {', '.join(used)}.")]


def _models(case: Case) -> list[Measured]:
    return [model for model in (case.teacher, case.start, *case.students) if model is not None]


def _num_examples(case: Case) -> int:
    return min(model.num_examples for model in _models(case))


def _facts(case: Case) -> str:
    """The numbers that the rules look at."""
    facts = [f"N = {case.num_labels}", f"n = {_num_examples(case)}"]
    if case.teacher is not None:
        facts.append(f"teacher {case.teacher.row.accuracy:.1f}%")
    facts += [f"{case.start.row.accuracy:.1f}% without demonstrations"] if case.start is not None else []
    majority = _models(case)[0].row.majority
    return ", ".join(facts if math.isnan(majority) else [*facts, f"most frequent answer {majority:.1f}%"])
