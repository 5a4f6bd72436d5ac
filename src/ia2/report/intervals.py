"""How far chance could move an accuracy: intervals and p-values from the answers to single examples.

Both are about the examples: the runs of a model, and all models on an evaluation set, answered the same ones, so they
are resampled jointly. A p-value is of a trained model against `tok` of the same datasets, settings and adapter that
took as many gold labels, dev labels included: with another number of labels it would answer another question.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from ia2.config import VARIANT_FIELDS, LabelType
from ia2.measure.statistics import bootstrap_interval, mean_over_runs, paired_permutation_test
from ia2.methods import parse_method
from ia2.report.example_scores import check_same_examples
from ia2.report.reading import read_rows

OF_A_VARIANT = frozenset().union(*VARIANT_FIELDS.values())
LABEL_TYPES = get_args(LabelType)
DEFAULT_LABELS = "icl_outputs"
"""What a method without a label type is trained on."""


@dataclass(frozen=True)
class Answered:
    """One pass of a model: the paths of its runs' records, and the fields in which it can differ from others."""

    method: str
    with_icl: bool
    records: tuple[str, ...]
    fields: Mapping[str, Any]

    @property
    def is_tok(self) -> bool:
        return self.method != "base" and parse_method(self.method).variant == "tok"

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
class Chance:
    """95% interval of an accuracy in percent, and p against `tok`; NaN where that was not measured, or is this one."""

    low: float
    high: float
    p_value: float = math.nan


def chances(models: Sequence[Answered]) -> list[Chance]:
    """The interval and p-value of each model. UserError where runs of one model answered different examples."""
    answers = {path: _read_answers(path) for path in {path for model in models for path in model.records}}
    scores = [_scores(model, answers) for model in models]
    of_tok = {(model.cell, model.label_type): ours for model, ours in zip(models, scores, strict=True) if model.is_tok}
    found = []
    for model, ours in zip(models, scores, strict=True):
        interval = bootstrap_interval(100 * ours.to_numpy())
        found.append(Chance(interval.low, interval.high, _p_value(model, ours, of_tok)))
    return found


def _p_value(model: Answered, ours: pd.Series, of_tok: Mapping[tuple[str, str], pd.Series]) -> float:
    """Against the `tok` of its cell, of its own label type if both were measured; NaN where none answered the same."""
    candidates = [of_tok.get((model.cell, label_type)) for label_type in (model.label_type, *LABEL_TYPES)]
    theirs = next((scores for scores in candidates if scores is not None), None)
    if model.is_tok or model.method == "base" or theirs is None or not theirs.index.equals(ours.index):
        return math.nan
    return paired_permutation_test(ours.to_numpy(), theirs.to_numpy())


@dataclass(frozen=True)
class _Answers:
    """A record's examples: their places in the dataset and whether they were answered right, in either pass."""

    idx: npt.NDArray[np.int64]
    with_icl: npt.NDArray[np.bool_]
    correct: npt.NDArray[np.bool_]

    def in_pass(self, with_icl: bool) -> "_Answers":
        shown = self.with_icl == with_icl
        return _Answers(self.idx[shown], self.with_icl[shown], self.correct[shown])


def _read_answers(path: str) -> _Answers:
    """In order of idx; two examples of one idx keep their order."""
    rows = read_rows(Path(path).with_suffix(".parquet"), ["idx", "with_icl", "correct"])
    idx, with_icl, correct = (rows[name].to_numpy() for name in ("idx", "with_icl", "correct"))
    order = np.argsort(idx, kind="stable")
    return _Answers(idx[order], with_icl[order], correct[order])


def _scores(model: Answered, answers: Mapping[str, _Answers]) -> pd.Series:
    """The share of a model's runs (0 to 1) in which each example was answered right, by idx."""
    runs = [answers[path].in_pass(model.with_icl) for path in model.records]
    check_same_examples(model.records, [run.idx for run in runs])
    return pd.Series(mean_over_runs([run.correct for run in runs]), index=runs[0].idx)
