"""Whether a model's confidence can be believed.

Confidence is the probability of the predicted first answer token; `correct` is whether that token was the gold one.
Bins are formed so that a result never depends on the order of the rows: examples of equal confidence share a bin.
Everything is computed in float64 whatever comes in, and in natural units: ECE, confidence and the accuracy of a bin
are fractions of 1, entropies and log-probabilities are in nats.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Binning = Literal["equal_count", "equal_width"]

ROUNDING = 1e-5  # a float32 softmax may leave 0..1 by so much; anything further is a mistake


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
    """Bins of mean confidence against accuracy, in ascending confidence; empty bins are left out.

    Equal count: an example goes where its rank falls, rank * num_bins // n, and examples of equal confidence all go
    where the middle one of them falls. Cutting a tie instead would make the result depend on the order of the rows.
    Equal width: interval k is (k / num_bins, (k + 1) / num_bins], with 0 in the first, as in Guo et al. 2017.
    `confidence` [n] in 0..1, `correct` [n] boolean. ValueError where n is 0, lengths differ or a value is out of range.
    """
    sure, right = _paired(confidence, correct)
    order = np.argsort(sure, kind="stable")
    sure, right = sure[order], right[order]
    bins = _assign(sure, num_bins, binning)
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    records = []
    for k in np.unique(bins):
        inside = bins == k
        low, high = (edges[k], edges[k + 1]) if binning == "equal_width" else (sure[inside][0], sure[inside][-1])
        mean, hits = float(sure[inside].mean()), float(right[inside].mean())
        records.append(ReliabilityBin(float(low), float(high), mean, hits, int(inside.sum())))
    return records


def ece_equal_count(confidence: npt.ArrayLike, correct: npt.ArrayLike, num_bins: int = 15) -> float:
    """Expected calibration error over bins of equal count: mean over examples of their bin's |accuracy - confidence|.

    A fraction of 1. Even a calibrated model reads above 0 at finite n: show `ece_floor` beside it. Bins and errors as
    in `reliability_bins`.
    """
    return _expected_gap(reliability_bins(confidence, correct, num_bins, "equal_count"))


def ece_equal_width(confidence: npt.ArrayLike, correct: npt.ArrayLike, num_bins: int = 15) -> float:
    """Expected calibration error over bins of equal width (Guo et al. 2017), a fraction of 1.

    A model that is nearly always sure fills one bin only, and the error shrinks to |accuracy - mean confidence|.
    Bins and errors as in `reliability_bins`.
    """
    return _expected_gap(reliability_bins(confidence, correct, num_bins, "equal_width"))


def ece_published(top10_confidence: npt.ArrayLike, correct: npt.ArrayLike) -> float:
    """The paper's ECE: 15 equal-count bins of the top probability divided by the sum of the ten greatest.

    Takes that renormalised confidence, which is never below the full softmax's, so it is no `ece_equal_count` and the
    two must not share a column. Ties are kept in one bin here too. Errors as in `reliability_bins`.
    """
    return ece_equal_count(top10_confidence, correct, num_bins=15)


def ece_floor(confidence: npt.ArrayLike, num_bins: int = 15, seed: int = 0, num_draws: int = 1000) -> float:
    """The equal-count ECE that a perfectly calibrated model of these confidences shows on average at this n.

    Mean of `ece_equal_count` over `num_draws` draws of correct ~ Bernoulli(confidence). An ECE at the floor is no
    evidence of miscalibration. ValueError where n is 0, a value is outside 0..1 or there are no draws.
    """
    sure = np.sort(_probabilities(confidence, "confidence"))
    if num_draws < 1:
        raise ValueError(f"num_draws={num_draws}: want at least 1")
    bins = _assign(sure, num_bins, "equal_count")
    promised = np.bincount(bins, weights=sure, minlength=num_bins)
    generator = np.random.default_rng(seed)
    gaps = 0.0
    for _ in range(num_draws):
        drawn = generator.random(sure.size) < sure
        gaps += float(np.abs(np.bincount(bins, weights=drawn, minlength=num_bins) - promised).sum())
    return gaps / (num_draws * sure.size)


def nll(gold_log_prob: npt.ArrayLike) -> float:
    """Mean over examples of -log p(gold first token), in nats, from log-probabilities [n] of the full softmax.

    Log-probabilities and not probabilities come in, because a probability that rounds to 0 would make the mean
    infinite. ValueError where n is 0, or a value is above 0 or not a number.
    """
    log_prob = np.asarray(gold_log_prob, dtype=np.float64)
    if log_prob.ndim != 1 or log_prob.size == 0:
        raise ValueError(f"gold_log_prob: want a non-empty [n], got {list(log_prob.shape)}")
    if not (log_prob <= ROUNDING).all():
        raise ValueError("gold_log_prob: log-probabilities are at most 0")
    return -float(np.minimum(log_prob, 0.0).mean())


def brier(gold_probability: npt.ArrayLike, sum_of_squares: npt.ArrayLike) -> float:
    """Mean multi-class Brier score over the full vocabulary, 0 (best) to 2.

    Per example sum_v (p_v - [v is gold])^2 = 1 - 2 p_gold + sum_v p_v^2, so the vocabulary need not be kept:
    `gold_probability` [n] and `sum_of_squares` [n] suffice. ValueError on empty or unequal lengths, values outside
    0..1, or a sum of squares below p_gold^2, which no distribution has.
    """
    gold, squares = (
        _probabilities(gold_probability, "gold_probability"),
        _probabilities(sum_of_squares, "sum_of_squares"),
    )
    if gold.shape != squares.shape:
        raise ValueError(f"lengths differ: {gold.size} and {squares.size}")
    if (squares < gold**2 - ROUNDING).any():
        raise ValueError("sum_of_squares: below the square of the gold probability")
    return float((1.0 - 2.0 * gold + squares).mean())


def entropy(probabilities: npt.ArrayLike) -> Floats:
    """Entropy in nats of each row of `probabilities` [n, V]: 0 where one token has it all, log V where all are equal.

    ValueError where a value is outside 0..1 or a row does not sum to 1 (within 1e-3): a cut of the vocabulary has to
    be renormalised first, and by its sum, never by a softmax over probabilities.
    """
    rows = np.asarray(probabilities, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(f"probabilities: want [n, V], got {list(rows.shape)}")
    rows = _probabilities(rows.ravel(), "probabilities").reshape(rows.shape)
    if (np.abs(rows.sum(axis=1) - 1.0) > 1e-3).any():
        raise ValueError("probabilities: every row must sum to 1")
    logs = np.log(rows, out=np.zeros_like(rows), where=rows > 0)
    total: Floats = -(rows * logs).sum(axis=1)
    return np.maximum(total, 0.0)


def auroc(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> float | None:
    """Area under the ROC curve of confidence: how often a right answer is surer than a wrong one, a tie counting half.

    0.5 where confidence does not tell them apart, 1 where every right answer is surer than every wrong one. None where
    all are right or all wrong, since there is no pair to compare. ValueError as in `reliability_bins`.
    """
    sure, right = _paired(confidence, correct)
    num_right = int(right.sum())
    num_wrong = right.size - num_right
    if not (num_right and num_wrong):
        return None
    _, tie, size = np.unique(sure, return_inverse=True, return_counts=True)
    middle_rank = np.cumsum(size) - (size - 1) / 2  # counted from 1, the same for all of a tie
    surer = float(middle_rank[tie][right].sum()) - num_right * (num_right + 1) / 2
    return surer / (num_right * num_wrong)


def _expected_gap(bins: list[ReliabilityBin]) -> float:
    return sum(b.count * abs(b.accuracy - b.confidence) for b in bins) / sum(b.count for b in bins)


def _assign(ascending: Floats, num_bins: int, binning: Binning) -> npt.NDArray[np.int64]:
    """The bin of each of `ascending` confidences."""
    if num_bins < 1:
        raise ValueError(f"num_bins={num_bins}: want at least 1")
    if binning == "equal_width":
        edges = np.linspace(0.0, 1.0, num_bins + 1)
        return np.maximum(np.searchsorted(edges, ascending, side="left") - 1, 0)
    _, first, tie, size = np.unique(ascending, return_index=True, return_inverse=True, return_counts=True)
    twice_middle = 2 * first + size - 1
    bins: npt.NDArray[np.int64] = (twice_middle * num_bins // (2 * ascending.size))[tie]
    return bins


def _paired(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.bool_]]:
    sure, right = _probabilities(confidence, "confidence"), np.asarray(correct)
    if right.dtype != np.bool_:
        raise ValueError(f"correct: want booleans, got {right.dtype}")
    if right.shape != sure.shape:
        raise ValueError(f"lengths differ: {sure.size} confidences and {list(right.shape)} outcomes")
    return sure, right


def _probabilities(values: npt.ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name}: want a non-empty [n], got {list(array.shape)}")
    if not ((array >= -ROUNDING) & (array <= 1.0 + ROUNDING)).all():
        raise ValueError(f"{name}: not all of the values lie in 0..1")
    clipped: Floats = np.clip(array, 0.0, 1.0)
    return clipped
