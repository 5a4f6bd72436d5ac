"""What single examples add to a metric, for the metrics that are a mean over examples.

Accuracy, entropy and their like are such means, and chance moves them as it moves a mean: the interval is a bootstrap
over runs and examples. A calibration error is none (drawing examples anew only makes it greater), and nor are an AUROC
or an F1; what is known of their chance is how runs differ.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ia2.errors import UserError
from ia2.evaluation.calibration import entropy
from ia2.evaluation.statistics import Interval, bootstrap_interval, interval_over_runs, proportion_interval
from ia2.store.measurements import read_rows

FEWEST_RUNS = 3
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
    """The 95% interval of the mean over runs of a metric in one pass; `values` and `records` (paths) are the runs'.

    Over runs and examples for the metrics of `SCORES`; else over runs, NaN for one or two, which show no more than
    themselves. UserError where the runs answered different examples.
    """
    if metric not in SCORES:
        return interval_over_runs(values) if len(values) >= FEWEST_RUNS else Interval(math.nan, math.nan)
    column, score = SCORES[metric]
    runs = [read_examples(path, with_icl, column) for path in records]
    check_same_examples(records, [run.index.to_numpy() for run in runs])
    scores = np.stack([score(run.to_numpy()) for run in runs])
    return percent_interval(scores / 100) if metric.endswith("accuracy") else bootstrap_interval(scores)


def percent_interval(correct: Column) -> Interval:
    """The 95% interval, in percent, of the share of right answers [R, n] of runs to the same examples."""
    interval = proportion_interval(correct)
    return Interval(100 * interval.low, 100 * interval.high)


def check_same_examples(records: Sequence[str], examples: Sequence[Column]) -> None:
    """UserError where runs of one configuration did not answer the same examples; `examples` holds their idx."""
    for path, idx in zip(records, examples, strict=True):
        if not np.array_equal(idx, examples[0]):
            raise UserError(
                f"{records[0]} and {path} are runs of one configuration on different examples: delete the older "
                "record and evaluate again"
            )


def read_examples(record: str, with_icl: bool, column: str) -> "pd.Series[Any]":
    """A column of a record's examples under one condition, by idx in ascending order; those of one idx keep theirs."""
    names = ["idx", "with_icl", column]
    table = read_rows(Path(record).with_suffix(".parquet"), names)
    idx, shown, values = (table[name].to_numpy(zero_copy_only=False) for name in names)
    order = np.flatnonzero(shown == with_icl)
    order = order[np.argsort(idx[order], kind="stable")]
    return pd.Series(values[order], index=idx[order])
