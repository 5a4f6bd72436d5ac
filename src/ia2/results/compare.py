"""How far chance could move an accuracy: its interval, and the test of a difference, from the answers to examples.

Both are over the same two levels: runs (other splits and seeds) and examples, which all runs of a model, and all models
on an evaluation set, answered alike. A difference is of two models on the splits and examples that both have; that of
each trained model from `tok` of the same datasets, settings and adapter stands in the tables. Methods use different
numbers of labels (`act` takes no dev labels), so both budgets stand beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd

from ia2.evaluation.statistics import paired_permutation_test
from ia2.methods import VARIANTS, LabelType, parse_method
from ia2.results.intervals import check_same_examples, percent_interval, read_examples
from ia2.results.label import control_of

OF_A_VARIANT = frozenset[str]().union(*(row.fields for row in VARIANTS.values()))
LABEL_TYPES = get_args(LabelType)
DEFAULT_LABELS = "icl_outputs"
"""What a method without a label type is trained on."""
LEVEL = 0.05
"""p below which a difference is more than a tie."""


@dataclass(frozen=True)
class Answered:
    """One pass of a model: the paths of its records by run, and the fields in which it can differ from others."""

    method: str
    with_icl: bool
    records: Mapping[int, str]
    fields: Mapping[str, Any]
    labels: str = ""

    @property
    def is_compared(self) -> bool:
        """A trained model, and no control."""
        return self.method != "base" and not control_of(self.fields.get("control"))

    @property
    def is_tok(self) -> bool:
        return self.is_compared and parse_method(self.method).variant == "tok"

    @property
    def label_type(self) -> str:
        given = self.fields.get("label_type")
        return DEFAULT_LABELS if pd.isna(given) else str(given)

    @property
    def cell(self) -> str:
        """What models share that are compared: all but the variant, and the fields that variants have of their own."""
        adapter = "" if self.method == "base" else parse_method(self.method).adapter
        shared = sorted((name, str(value)) for name, value in self.fields.items() if name not in OF_A_VARIANT)
        return str((adapter, self.with_icl, shared))


@dataclass(frozen=True)
class Difference:
    """How many points of accuracy a model is ahead of another, and p of the paired test over runs and examples."""

    points: float
    p_value: float
    num_runs: int
    num_examples: int

    @property
    def is_clear(self) -> bool:
        return self.p_value < LEVEL

    def __str__(self) -> str:
        runs = f"{self.num_runs} run{'s' if self.num_runs > 1 else ''}"
        return f"{self.points:+.1f} points, p {p_text(self.p_value)} ({runs}, {self.num_examples} examples)"


def p_text(p_value: float) -> str:
    """A p-value to three decimals."""
    return "<0.001" if p_value < 0.0005 else format(p_value, ".3f")


Answers = Mapping[int, "pd.Series[bool]"]
"""The answers of each run of a model in one pass, by idx: right or wrong."""


def difference(ours: Answers, theirs: Answers) -> Difference | None:
    """The difference of two models; None where they have no split in common, or were not asked the same."""
    runs = [run for run in ours if run in theirs and ours[run].index.equals(theirs[run].index)]
    if not runs:
        return None
    one, other = (np.stack([answers[run].to_numpy() for run in runs]) * 1.0 for answers in (ours, theirs))
    points = 100 * float(one.mean() - other.mean())
    return Difference(points, paired_permutation_test(one, other), len(runs), one.shape[1])


@dataclass(frozen=True)
class Chance:
    """95% interval of an accuracy in percent; for a trained model the difference from `tok`, and the labels of that."""

    low: float
    high: float
    from_tok: Difference | None = None
    tok_labels: str = ""


def chances(models: Sequence[Answered]) -> list[Chance]:
    """The interval and difference of each model. UserError where runs of one model answered different examples."""
    answers = [read_answers(model.records, model.with_icl) for model in models]
    toks = {
        (model.cell, model.label_type): (ours, model.labels)
        for model, ours in zip(models, answers, strict=True)
        if model.is_tok
    }
    found = []
    for model, ours in zip(models, answers, strict=True):
        interval = percent_interval(np.stack([run.to_numpy() for run in ours.values()]) * 1.0)
        theirs, labels = _tok_of(model, toks)
        from_tok = None if theirs is None else difference(ours, theirs)
        found.append(Chance(interval.low, interval.high, from_tok, labels if from_tok else ""))
    return found


def _tok_of(
    model: Answered, toks: Mapping[tuple[str, str], tuple[Answers, str]]
) -> tuple[Answers, str] | tuple[None, str]:
    """The `tok` of a model's cell, of its own label type if both were measured."""
    if model.is_compared and not model.is_tok:
        for label_type in (model.label_type, *LABEL_TYPES):
            if (model.cell, label_type) in toks:
                return toks[model.cell, label_type]
    return None, ""


def read_answers(records: Mapping[int, str], with_icl: bool) -> Answers:
    """The answers of a model's runs in one pass, in order of idx; two examples of one idx keep their order.

    UserError where the runs answered different examples.
    """
    found = {run: read_examples(path, with_icl, "correct") for run, path in records.items()}
    check_same_examples(list(records.values()), [answers.index.to_numpy() for answers in found.values()])
    return found
