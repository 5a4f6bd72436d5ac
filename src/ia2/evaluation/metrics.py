"""Which measures belong together, by their published names.

Arrays of n examples in, {name: number} out. A number that the examples do not define is left out, never 0: the AUROC of
answers that are all right, for one. Every number is defined in `accuracy`, `classes` or `calibration`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ia2.evaluation.accuracy import accuracy, label_accuracy, parse_rate, top_k_accuracy
from ia2.evaluation.calibration import (
    auroc,
    brier,
    ece_equal_count,
    ece_equal_width,
    ece_published,
    entropy,
    nll,
)
from ia2.evaluation.classes import Confusion, balanced_accuracy, confusion, macro_f1

Floats = npt.NDArray[np.float64]
Numbers = dict[str, float]

TOP_K = (1, 5, 10)


@dataclass(frozen=True)
class Labels:
    """The K labels of a closed set and n examples: natural log-probabilities [n, K], which may be cut from those of a
    vocabulary, and the indices [n] of the gold labels and of the given ones (-1 for a response that is none)."""

    log_probabilities: Floats
    gold: Sequence[int]
    given: Sequence[int]

    @property
    def log_shares(self) -> Floats:
        """Logarithms of the labels' probabilities [n, K] divided by their sum: never a softmax of probabilities."""
        logs = self.log_probabilities
        return np.asarray(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True))

    @property
    def shares(self) -> Floats:
        """The labels' probabilities [n, K] divided by their sum, p_k / sum_j p_j."""
        return np.asarray(np.exp(self.log_shares))

    @property
    def confidence(self) -> Floats:
        """The share of the most probable label [n]."""
        return np.asarray(self.shares.max(axis=1))

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether the most probable label is the gold one [n]."""
        return np.asarray(self.log_shares.argmax(axis=1) == np.asarray(self.gold))

    @property
    def confusion(self) -> Confusion:
        return confusion(self.gold, self.given, self.log_probabilities.shape[1])


class Responses(Protocol):
    """What the distributions over all tokens of n responses say; `ResponseScores` says what each is."""

    log_probability: Floats

    @property
    def entropy(self) -> Floats: ...


class FirstTokens(Protocol):
    """What the distribution over the first answer token says of n examples; `FirstTokenScores` says what each is."""

    confidence: Floats
    gold_log_probability: Floats
    gold_rank: npt.NDArray[np.int64]
    sum_of_squares: Floats
    entropy: Floats

    @property
    def correct(self) -> npt.NDArray[np.bool_]: ...

    @property
    def top_confidence(self) -> Floats: ...


@dataclass(frozen=True)
class Scored:
    """n answered examples. `labels` are None for free text, `responses` where one token was to be said, or scored."""

    correct: Sequence[bool]
    anywhere: Sequence[bool]
    parsed: Sequence[str | None]
    first: FirstTokens
    labels: Labels | None
    responses: Responses | None


def metrics(scored: Scored, uncertainty: bool) -> Numbers:
    """Every measure of one pass; with `uncertainty` those of uncertainty too, the others being the same numbers."""
    numbers = {"accuracy": accuracy(scored.correct), "parse_rate": parse_rate(scored.parsed)}
    numbers |= first_token_metrics(scored.first)
    if scored.labels is None:
        numbers["anywhere_accuracy"] = accuracy(scored.anywhere)
    else:
        numbers |= class_metrics(scored.labels.confusion) | label_metrics(scored.labels)
    return numbers | (_uncertainty(scored) if uncertainty else {})


def _uncertainty(scored: Scored) -> Numbers:
    numbers = uncertainty_metrics(scored.first)
    if scored.labels is not None:
        numbers |= label_uncertainty_metrics(scored.labels)
    if scored.responses is not None:
        numbers |= response_metrics(scored.responses)
    return numbers


def first_token_metrics(first: FirstTokens) -> Numbers:
    """Likelihood and calibration of the first answer token."""
    return {
        "first_token_accuracy": accuracy(first.correct),
        "nll": nll(first.gold_log_probability),
        "brier": brier(np.exp(first.gold_log_probability), first.sum_of_squares),
        "ece_equal_count": ece_equal_count(first.confidence, first.correct),
        "ece_equal_width": ece_equal_width(first.confidence, first.correct),
        "ece_published": ece_published(first.top_confidence, first.correct),
    }


def uncertainty_metrics(first: FirstTokens) -> Numbers:
    """How sure the first answer token is, whether that tells right from wrong, and how near the gold one comes."""
    told = auroc(first.confidence, first.correct)
    return {
        **{f"top{k}_accuracy": top_k_accuracy(first.gold_rank, k) for k in TOP_K},
        "entropy": float(first.entropy.mean()),
        "uncertainty": float(1 - first.confidence.mean()),
        **({} if told is None else {"auroc": told}),
    }


def class_metrics(counts: Confusion) -> Numbers:
    """All labels alike, however frequent each is."""
    return {"macro_f1": macro_f1(counts), "balanced_accuracy": balanced_accuracy(counts)}


def label_metrics(labels: Labels) -> Numbers:
    """Accuracy, likelihood and calibration over the label set alone."""
    gold = np.asarray(labels.gold)
    return {
        "label_accuracy": label_accuracy(labels.shares, gold),
        "label_nll": nll(labels.log_shares[np.arange(gold.size), gold]),
        "label_ece_equal_count": ece_equal_count(labels.confidence, labels.correct),
        "label_ece_equal_width": ece_equal_width(labels.confidence, labels.correct),
    }


def label_uncertainty_metrics(labels: Labels) -> Numbers:
    """Entropy and uncertainty over the label set alone."""
    shares = labels.shares
    return {
        "label_entropy": float(entropy(shares).mean()),
        "label_uncertainty": float(1 - shares.max(axis=1).mean()),
    }


def response_metrics(responses: Responses) -> Numbers:
    """Means over examples of a response's log-probability and of the mean entropy of its tokens, both in nats.

    An example weighs the same however long its response is.
    """
    return {
        "response_log_prob": float(responses.log_probability.mean()),
        "response_entropy": float(responses.entropy.mean()),
    }
