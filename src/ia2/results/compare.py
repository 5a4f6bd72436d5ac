"""Effect of chance: the interval of a mean, and the difference of two models with its interval and test.

All are over the same two levels: runs (other splits and seeds) and examples, which all runs of a model, and all models
on an evaluation set, answered alike. Tables, figures, cards and the advice take them from here.

Accuracy, entropy and their like are means over examples, and their interval is a bootstrap over both levels. A
calibration error is none (drawing examples anew only makes it greater), and nor are an AUROC or an F1: of their chance
only the spread over runs is known.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ia2.errors import UserError
from ia2.evaluation.calibration import entropy
from ia2.evaluation.statistics import (
    FEW_RIGHT_OR_WRONG,
    Interval,
    bootstrap_interval,
    interval_over_runs,
    paired_permutation_test,
    proportion_interval,
)
from ia2.store.measurements import read_rows

FEWEST_RUNS = 3
LEVEL = 0.05
"""p below which a difference is more than a tie."""

Column = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


def _percent(values: Column) -> Floats:
    return 100.0 * values.astype(np.float64)


def _shares(values: Column) -> Floats:
    """The labels' probabilities of each example, divided by their sum."""
    rows = np.stack([np.asarray(row, dtype=np.float64) for row in values])
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


SCORES: dict[str, tuple[str, Callable[[Column], Floats]]] = {
    "accuracy": ("correct", _percent),
    "top1_accuracy": ("gold_rank", lambda ranks: _percent(ranks < 1)),
    "top5_accuracy": ("gold_rank", lambda ranks: _percent(ranks < 5)),
    "top10_accuracy": ("gold_rank", lambda ranks: _percent(ranks < 10)),
    "nll": ("gold_log_prob", lambda logs: -logs.astype(np.float64)),
    "label_nll": ("gold_label_log_prob", lambda logs: -logs.astype(np.float64)),
    "uncertainty": ("confidence", lambda sure: 1.0 - sure.astype(np.float64)),
    "entropy": ("entropy", lambda nats: nats.astype(np.float64)),
    "response_entropy": ("response_entropy", lambda nats: nats.astype(np.float64)),
    "label_uncertainty": ("label_probabilities", lambda rows: 1.0 - _shares(rows).max(axis=1)),
    "label_entropy": ("label_probabilities", lambda rows: entropy(_shares(rows))),
}
"""Metric -> the column of a record's examples that it is the mean of, and what of that column."""


def interval_of(metric: str, records: Sequence[str], with_icl: bool, values: Sequence[float]) -> Interval:
    """The 95% interval of the mean over runs of a metric; `values` and `records` (paths) are the runs'.

    Over runs and examples for the metrics of `SCORES`; else over runs, NaN for one or two, which show no more than
    themselves. UserError where the runs answered different examples.
    """
    if metric not in SCORES:
        return interval_over_runs(values) if len(values) >= FEWEST_RUNS else Interval(math.nan, math.nan)
    column, score = SCORES[metric]
    scores = np.stack([score(run.to_numpy()) for run in read_runs_of(records, with_icl, column)])
    return _in_percent(scores / 100) if metric.endswith("accuracy") else bootstrap_interval(scores)


def accuracy_interval(answers: "Answers") -> Interval:
    """The 95% interval, in percent, of the mean accuracy of runs."""
    return _in_percent(np.stack([run.to_numpy(np.float64) for run in answers.values()]))


def _in_percent(shares: Floats) -> Interval:
    """Of the mean of shares [R, n] of runs and examples."""
    interval = proportion_interval(shares)
    return Interval(100 * interval.low, 100 * interval.high)


@dataclass(frozen=True)
class Difference:
    """Points of accuracy between a model and another, their 95% interval, and p of the paired test."""

    points: float
    low: float
    high: float
    p_value: float
    num_runs: int
    num_examples: int

    @property
    def is_clear(self) -> bool:
        return self.p_value < LEVEL

    def excludes(self, points: float) -> bool:
        """True where so great a difference is outside the interval."""
        return not self.low <= points <= self.high

    def __str__(self) -> str:
        runs = f"{self.num_runs} run{'s' if self.num_runs > 1 else ''}"
        interval = f"[{self.low:+.1f}, {self.high:+.1f}]"
        return f"{self.points:+.1f} points {interval}, p {p_text(self.p_value)} ({runs}, {self.num_examples} examples)"


def p_text(p_value: float) -> str:
    """A p-value to three decimals."""
    return "<0.001" if p_value < 0.0005 else format(p_value, ".3f")


Answers = Mapping[int, "pd.Series[Any]"]
"""The answers of each run of a model in one condition, by idx: right or wrong."""


def difference(ours: Answers, theirs: Answers) -> Difference | None:
    """The difference over the runs (splits) and examples of both; None where they have no split in common."""
    runs = [run for run in ours if run in theirs and ours[run].index.equals(theirs[run].index)]
    if not runs:
        return None
    one, other = (np.stack([answers[run].to_numpy(np.float64) for run in runs]) for answers in (ours, theirs))
    return of_scores(one, other)


def of_scores(one: Floats, other: Floats) -> Difference:
    """The difference of right answers [R, n], each from 0 to 1, to the same examples.

    Where fewer than 5 examples are answered differently (in any run), a bootstrap of them would be near certainty. It
    is widened to the exact bounds of the shares that one answers better than the other, between which the difference
    is; so few cannot make p small either.
    """
    gains, losses = np.clip(one - other, 0, 1), np.clip(other - one, 0, 1)
    interval = bootstrap_interval(one - other)
    low, high = 100 * interval.low, 100 * interval.high
    if (one != other).any(axis=0).sum() < FEW_RIGHT_OR_WRONG:
        low, high = min(low, -_in_percent(losses).high), max(high, _in_percent(gains).high)
    points = 100 * float(one.mean() - other.mean())
    return Difference(points, low, high, paired_permutation_test(one, other), *one.shape)


def read_answers(records: Mapping[int, str], with_icl: bool) -> Answers:
    """The answers of a model's runs, in order of idx. UserError where the runs answered different examples."""
    return dict(zip(records, read_runs_of(list(records.values()), with_icl, "correct"), strict=True))


def read_runs_of(records: Sequence[str], with_icl: bool, column: str) -> list["pd.Series[Any]"]:
    """`read_examples` of each run of one model. UserError where the runs answered different examples."""
    runs = [read_examples(path, with_icl, column) for path in records]
    for path, run in zip(records, runs, strict=True):
        if not run.index.equals(runs[0].index):
            raise UserError(
                f"{records[0]} and {path} are runs of one configuration on different examples: delete the older "
                "record and evaluate again"
            )
    return runs


def read_examples(record: str, with_icl: bool, column: str) -> "pd.Series[Any]":
    """A column of a record's examples under one condition, by idx in ascending order; those of one idx keep theirs."""
    path = Path(record).with_suffix(".parquet")
    return _read_examples(path, with_icl, column, path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=4096)
def _read_examples(path: Path, with_icl: bool, column: str, _written: int) -> "pd.Series[Any]":
    names = ["idx", "with_icl", column]
    table = read_rows(path, names)
    idx, shown, values = (table[name].to_numpy(zero_copy_only=False) for name in names)
    order = np.flatnonzero(shown == with_icl)
    order = order[np.argsort(idx[order], kind="stable")]
    return pd.Series(values[order], index=idx[order])
