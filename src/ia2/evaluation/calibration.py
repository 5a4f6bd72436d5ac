"""Confidence against outcome, and likelihood: estimators over n examples of what a model's probabilities are worth.

Confidence is the probability of the predicted first answer token; `correct` is true where that token is the gold one.
A result never depends on the order of the rows: examples of equal confidence share a bin. scikit-learn cuts such ties
(`calibration_curve`), has no ECE, and wants the whole vocabulary for NLL and Brier score, so these are ours. Everything
is computed in float64 and in natural units: fractions of 1, entropies and log-probabilities in nats. Empty input,
unequal lengths and values outside their range are a ValueError.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import entr

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Binning = Literal["equal_count", "equal_width"]

CONDITIONS = {False: "without_icl", True: "with_icl"}
"""Names of the conditions in records, by whether there are demonstrations: zero-shot and few-shot."""
ROUNDING = 1e-5  # a float32 softmax may leave 0..1 by this much; anything further is a mistake


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of a reliability diagram: mean `confidence` and `accuracy` (both 0 to 1) of `count` examples.

    `lower` and `upper` are the bin's borders: the least and greatest confidence in it (equal count), or the edges of
    the interval (lower, upper] (equal width).
    """

    lower: float
    upper: float
    confidence: float
    accuracy: float
    count: int


def reliability_bins(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, num_bins: int = 15, binning: Binning = "equal_count"
) -> list[ReliabilityBin]:
    """Bins of mean confidence [n] against accuracy, in ascending confidence; empty bins are left out.

    Equal count: an example belongs to bin rank * num_bins // n, and examples of equal confidence all to the bin of the
    middle one of them. Equal width: interval k is (k / num_bins, (k + 1) / num_bins], with 0 in the first, as in Guo et
    al. 2017.
    """
    sure, right = _probabilities(confidence, "confidence"), np.asarray(correct)
    if right.dtype != np.bool_ or right.shape != sure.shape:
        raise ValueError(f"correct: want booleans [{sure.size}], got {right.dtype} {list(right.shape)}")
    order = np.argsort(sure, kind="stable")
    sure, right = sure[order], right[order]
    bins = _assign(sure, num_bins, binning)
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    found = []
    for k in np.unique(bins):
        inside = sure[bins == k]
        low, high = (edges[k], edges[k + 1]) if binning == "equal_width" else (inside[0], inside[-1])
        hits = float(right[bins == k].mean())
        found.append(ReliabilityBin(float(low), float(high), float(inside.mean()), hits, inside.size))
    return found


def expected_calibration_error(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, num_bins: int = 15, binning: Binning = "equal_count"
) -> float:
    """ECE, a fraction of 1: mean over examples of |accuracy - confidence| of their bin in `reliability_bins`.

    Even a calibrated model reads above 0 at finite n: show `expected_ece_if_calibrated` beside it. In bins of equal
    width a model that is nearly always sure fills one bin only, and the error shrinks to |accuracy - mean confidence|.
    """
    bins = reliability_bins(confidence, correct, num_bins, binning)
    return sum(b.count * abs(b.accuracy - b.confidence) for b in bins) / sum(b.count for b in bins)


def expected_ece_if_calibrated(
    confidence: npt.ArrayLike, num_bins: int = 15, seed: int = 0, num_draws: int = 1000
) -> float:
    """Mean equal-count ECE over `num_draws` draws of correct ~ Bernoulli(confidence), at this n.

    A perfectly calibrated model with these confidences shows it: an ECE of this size is no evidence of miscalibration.
    """
    if num_draws < 1:
        raise ValueError(f"num_draws={num_draws}: want at least 1")
    sure = np.sort(_probabilities(confidence, "confidence"))
    bins = _assign(sure, num_bins, "equal_count")
    expected = np.bincount(bins, weights=sure, minlength=num_bins)
    generator = np.random.default_rng(seed)
    gaps = 0.0
    for _ in range(num_draws):
        drawn = generator.random(sure.size) < sure
        gaps += float(np.abs(np.bincount(bins, weights=drawn, minlength=num_bins) - expected).sum())
    return gaps / (num_draws * sure.size)


def nll(gold_log_prob: npt.ArrayLike) -> float:
    """Mean over examples of -log p(gold first token), in nats, from log-probabilities [n] of the full softmax.

    From log-probabilities, because a probability that rounds to 0 would make the mean infinite.
    """
    log_prob = np.asarray(gold_log_prob, dtype=np.float64)
    if log_prob.ndim != 1 or log_prob.size == 0 or not (log_prob <= ROUNDING).all():
        raise ValueError(f"gold_log_prob: want a non-empty [n] of numbers at most 0, got {list(log_prob.shape)}")
    return -float(np.minimum(log_prob, 0.0).mean())


def brier(gold_probability: npt.ArrayLike, sum_of_squares: npt.ArrayLike) -> float:
    """Mean multi-class Brier score over the full vocabulary, 0 (best) to 2, from [n] and [n].

    Per example sum_v (p_v - [v is gold])^2 = 1 - 2 p_gold + sum_v p_v^2, so the vocabulary need not be kept.
    """
    gold = _probabilities(gold_probability, "gold_probability")
    squares = _probabilities(sum_of_squares, "sum_of_squares")
    if gold.shape != squares.shape:
        raise ValueError(f"lengths differ: {gold.size} and {squares.size}")
    if (squares < gold**2 - ROUNDING).any():
        raise ValueError("sum_of_squares: below the square of the gold probability")
    return float((1.0 - 2.0 * gold + squares).mean())


def entropy(probabilities: npt.ArrayLike) -> Floats:
    """Entropy in nats of each row of `probabilities` [n, V]: 0 where one token has it all, log V where all are equal.

    A row must sum to 1 (within 1e-3): a cut of the vocabulary has to be renormalised first, and by its sum, never by a
    softmax over probabilities.
    """
    rows = np.asarray(probabilities, dtype=np.float64)
    if rows.ndim != 2 or (np.abs(rows.sum(axis=1) - 1.0) > 1e-3).any():
        raise ValueError(f"probabilities: want [n, V] of rows that sum to 1, got {list(rows.shape)}")
    rows = _probabilities(rows.ravel(), "probabilities").reshape(rows.shape)
    return np.asarray(np.maximum(entr(rows).sum(axis=1), 0.0))


def _assign(ascending: Floats, num_bins: int, binning: Binning) -> Integers:
    """Index of the bin of each of `ascending` confidences."""
    if num_bins < 1:
        raise ValueError(f"num_bins={num_bins}: want at least 1")
    if binning == "equal_width":
        edges = np.linspace(0.0, 1.0, num_bins + 1)
        return np.maximum(np.searchsorted(edges, ascending, side="left") - 1, 0)
    _, first, tie, size = np.unique(ascending, return_index=True, return_inverse=True, return_counts=True)
    twice_middle = 2 * first + size - 1
    return np.asarray((twice_middle * num_bins // (2 * ascending.size))[tie])


def _probabilities(values: npt.ArrayLike, name: str) -> Floats:
    """Values [n] in float64, without the rounding beyond 0..1."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not ((array >= -ROUNDING) & (array <= 1.0 + ROUNDING)).all():
        raise ValueError(f"{name}: want a non-empty [n] of numbers in 0..1, got {list(array.shape)}")
    return np.asarray(np.clip(array, 0.0, 1.0))
