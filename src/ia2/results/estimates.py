"""Differences between models on the same queries, and how far chance alone could move them.

The standard error has two parts, added as variances: which queries were asked (paired, since every model is asked the
same ones) and which runs were made (sd over runs, ddof 1, of either model). One run shows no spread, so there the
second part is missing and the error is too small; whoever shows it says so. The first part counts two queries more,
half a one in each of the four outcomes (Agresti and Min, 2005), without which three queries could prove anything.
"""

import math
from dataclasses import dataclass

import pandas as pd

from ia2.results.cases import Measured

CLEAR = 2.0
"""Standard errors that a difference has to exceed."""


@dataclass(frozen=True)
class Estimate:
    """A number of points and its standard error, in points."""

    points: float
    standard_error: float

    def above(self, wanted: float = 0.0) -> bool:
        """Whether it lies above `wanted` by more than chance explains."""
        return self.points - wanted > CLEAR * self.standard_error

    def below(self, wanted: float = 0.0) -> bool:
        """Whether it lies below `wanted` by more than chance explains."""
        return wanted - self.points > CLEAR * self.standard_error

    def __str__(self) -> str:
        return f"{self.points:+.1f} points (standard error {self.standard_error:.1f})"


def difference(one: Measured, other: Measured) -> Estimate:
    """How many points `one` lies above `other`, over the queries that both were asked."""
    hits = pd.concat([one.hits, other.hits], axis=1, join="inner", keys=["one", "other"])
    variance = _variance(hits["one"] - hits["other"]) + _run_variance(one) + _run_variance(other)
    return Estimate(one.row.accuracy - other.row.accuracy, math.sqrt(variance))


def above_majority(model: Measured) -> Estimate:
    """How many points it lies above always giving the most frequent gold answer of these same queries."""
    golds = model.examples.groupby("idx")["gold"].first()
    gained = model.hits - (golds == golds.mode()[0])
    variance = _variance(gained) + _run_variance(model)
    return Estimate(model.row.accuracy - model.row.majority, math.sqrt(variance))


def accuracy(model: Measured) -> Estimate:
    """Its accuracy in percent."""
    signs = 2 * model.hits - 1
    return Estimate(model.row.accuracy, math.sqrt(_variance(signs) / 4 + _run_variance(model)))


def _variance(values: pd.Series) -> float:
    """Variance, in squared points, of the mean of values from -1 to 1, two more put in: half 1, half -1 and a 0."""
    num = len(values) + 2
    mean = values.sum() / num
    return float(1e4 * ((values**2).sum() + 1 - num * mean**2) / num**2)


def _run_variance(model: Measured) -> float:
    return 0.0 if model.row.n < 2 else model.row.accuracy_sd**2 / model.row.n
