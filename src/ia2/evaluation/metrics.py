"""Metrics of one condition (zero-shot or few-shot), and of both together, by their published names.

Every accuracy has one denominator, all examples: an answer that cannot be parsed is wrong, and the parse rate is
reported beside the accuracy instead of changing it. A number that the examples do not define is left out, never 0: the
AUROC of answers that are all right, for one. Empty input, unequal lengths and values outside their range are a
ValueError.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax
from sklearn.metrics import confusion_matrix, f1_score, recall_score, roc_auc_score

from ia2.evaluation.calibration import (
    FirstTokenScores,
    Floats,
    Integers,
    ResponseScores,
    brier,
    entropy,
    expected_calibration_error,
    expected_ece_if_calibrated,
    nll,
    reliability_bins,
)

Numbers = dict[str, float]
Booleans = npt.NDArray[np.bool_]

CONDITIONS = {False: "without_icl", True: "with_icl"}
"""Names of the conditions in records, by whether there are demonstrations: zero-shot and few-shot."""


# Right and wrong


def accuracy(correct: npt.ArrayLike) -> float:
    """Percent of `correct` [n] that is true, over all n examples: one that could not be parsed counts as wrong."""
    return 100.0 * float(_outcomes(correct).mean())


def parse_rate(parsed: Sequence[str | None]) -> float:
    """Fraction (0 to 1) of responses in which the task's parser found an answer; an empty string is an answer."""
    return float(_outcomes([answer is not None for answer in parsed]).mean())


def majority_class_accuracy(golds: Sequence[Hashable]) -> float:
    """Percent right of a model that always gives the most frequent gold answer of these same examples."""
    return 100.0 * max(Counter(golds).values()) / len(golds)


def top_k_accuracy(gold_rank: npt.ArrayLike, k: int) -> float:
    """Percent of examples whose gold token is among the `k` most probable ones.

    `gold_rank` [n] counts the tokens before the gold one, so that k = 1 is accuracy of the first token.
    """
    rank = np.asarray(gold_rank)
    if k < 1 or not np.issubdtype(rank.dtype, np.integer) or (rank < 0).any():
        raise ValueError(f"want ranks from 0 and k from 1, got {rank.dtype} and k={k}")
    return accuracy(rank < k)


def agreement(correct_with: npt.ArrayLike, correct_without: npt.ArrayLike) -> dict[str, int]:
    """Number of examples [n] that are right under both conditions, only with or without demonstrations, or neither."""
    counts = confusion_matrix(_outcomes(correct_with), _outcomes(correct_without), labels=[False, True])
    (neither, only_without), (only_with, both) = counts.tolist()
    return {"both": both, "only_with": only_with, "only_without": only_without, "neither": neither}


def auroc(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> float | None:
    """Area under the ROC curve: share of pairs in which the right answer is surer than the wrong, a tie counting half.

    None where all are right or all wrong, since there is no pair to compare.
    """
    right = _outcomes(correct)
    return float(roc_auc_score(right, confidence)) if 0 < right.sum() < right.size else None


def _outcomes(correct: npt.ArrayLike) -> Booleans:
    """Booleans [n] as an array: a mean over floats would pass off probabilities as hits."""
    hits = np.asarray(correct)
    if hits.dtype != np.bool_ or hits.ndim != 1 or hits.size == 0:
        raise ValueError(f"want a non-empty boolean [n], got {hits.dtype} {list(hits.shape)}")
    return hits


# Labels of a closed set, as indices [n] of the gold labels and of the given ones, -1 for a response that is no label


def confusion(gold: npt.ArrayLike, given: npt.ArrayLike, labels: Sequence[str]) -> dict[str, Any]:
    """Counts {labels: {gold: {given: count}}, no_label: {gold: count}}: apart, so that no label's name is mistaken."""
    counts = confusion_matrix(*_indices(gold, given, len(labels)), labels=[*range(len(labels)), -1]).tolist()
    rows = list(zip(labels, counts[:-1], strict=True))
    return {
        "labels": {label: dict(zip(labels, row[:-1], strict=True)) for label, row in rows},
        "no_label": {label: row[-1] for label, row in rows},
    }


def recalls(gold: npt.ArrayLike, given: npt.ArrayLike, labels: Sequence[str]) -> dict[str, float]:
    """Share (0 to 1) of each label's examples that are answered with it; a label without examples is left out."""
    right, said = _indices(gold, given, len(labels))
    present = np.unique(right)
    shares = recall_score(right, said, labels=present, average=None)
    return {labels[k]: float(share) for k, share in zip(present, shares, strict=True)}


def class_metrics(gold: npt.ArrayLike, given: npt.ArrayLike, num_labels: int) -> Numbers:
    """Macro F1 (0 to 1) and balanced accuracy (percent), which weigh all labels alike.

    F1 is averaged over the labels that are gold or given for some example: one that is given but never right counts
    with 0, one that does not occur is left out. Balanced accuracy is the mean recall over the labels that are gold for
    some example. A response that is no label is a miss of its gold label, and no class of its own.
    """
    right, said = _indices(gold, given, num_labels)
    occurring = np.union1d(right, said[said >= 0])
    return {
        "macro_f1": float(f1_score(right, said, labels=occurring, average="macro", zero_division=0)),
        # balanced_accuracy_score warns of labels that are given and never gold
        "balanced_accuracy": 100.0 * float(recall_score(right, said, labels=np.unique(right), average="macro")),
    }


def _indices(gold: npt.ArrayLike, given: npt.ArrayLike, num_labels: int) -> tuple[Integers, Integers]:
    right, said = np.asarray(gold), np.asarray(given)
    if right.ndim != 1 or right.size == 0 or right.shape != said.shape:
        raise ValueError(f"want two non-empty [n], got {list(right.shape)} and {list(said.shape)}")
    for name, indices, least in (("gold", right, 0), ("given", said, -1)):
        whole = np.issubdtype(indices.dtype, np.integer)
        if not whole or indices.min() < least or indices.max() >= num_labels:
            raise ValueError(f"{name}: want label indices from {least} to {num_labels - 1}")
    return right, said


@dataclass(frozen=True)
class Labels:
    """K labels of a closed set and n examples: natural log-probabilities [n, K], which may be cut from those of a
    vocabulary, and the indices [n] of the gold labels and of the given ones (-1 for a response that is none)."""

    log_probabilities: Floats
    gold: Sequence[int]
    given: Sequence[int]

    def __post_init__(self) -> None:
        num, num_labels = self.log_probabilities.shape
        _indices(self.gold, self.given, num_labels)
        if num != len(self.gold) or not np.isfinite(self.shares).all():
            raise ValueError(f"log_probabilities: want [{len(self.gold)}, K], some of each row finite, got [{num}, K]")

    @cached_property
    def log_shares(self) -> Floats:
        """Logarithms of the labels' probabilities [n, K] divided by their sum: never a softmax of probabilities."""
        return np.asarray(log_softmax(self.log_probabilities, axis=1))

    @property
    def shares(self) -> Floats:
        """The labels' probabilities [n, K] divided by their sum, p_k / sum_j p_j."""
        return np.asarray(np.exp(self.log_shares))

    @property
    def confidence(self) -> Floats:
        """The share of the most probable label [n]."""
        return np.asarray(self.shares.max(axis=1))

    @property
    def correct(self) -> Booleans:
        """Outcome [n]: the most probable label, the first of equal ones, is the gold one, whatever the response is."""
        return np.asarray(self.log_shares.argmax(axis=1) == np.asarray(self.gold))


# All metrics


@dataclass(frozen=True)
class ScoredExamples:
    """n examples answered under one condition; `labels` is None for free text, `responses` where only one token was
    generated or scored."""

    correct: Sequence[bool]
    anywhere: Sequence[bool]
    parsed: Sequence[str | None]
    first: FirstTokenScores
    labels: Labels | None
    responses: ResponseScores | None


def condition_metrics(scored: ScoredExamples, uncertainty: bool) -> Numbers:
    """Metrics of one condition; with `uncertainty` those of uncertainty too, the others being the same numbers."""
    first, labels = scored.first, scored.labels
    numbers = {
        "accuracy": accuracy(scored.correct),
        "parse_rate": parse_rate(scored.parsed),
        "first_token_accuracy": accuracy(first.correct),
        "nll": nll(first.gold_log_probability),
        "brier": brier(np.exp(first.gold_log_probability), first.sum_of_squares),
        "ece_equal_count": expected_calibration_error(first.confidence, first.correct),
        "ece_equal_width": expected_calibration_error(first.confidence, first.correct, binning="equal_width"),
        "ece_published": expected_calibration_error(first.top_confidence, first.correct),
    }
    if labels is None:
        numbers["anywhere_accuracy"] = accuracy(scored.anywhere)
    else:
        sure, right = labels.confidence, labels.correct
        numbers |= class_metrics(labels.gold, labels.given, labels.log_probabilities.shape[1])
        numbers |= {
            "label_accuracy": accuracy(right),
            "label_nll": nll(labels.log_shares[np.arange(right.size), list(labels.gold)]),
            "label_ece_equal_count": expected_calibration_error(sure, right),
            "label_ece_equal_width": expected_calibration_error(sure, right, binning="equal_width"),
        }
    return numbers | (_uncertainty_metrics(scored) if uncertainty else {})


def _uncertainty_metrics(scored: ScoredExamples) -> Numbers:
    """Means over examples, each of which weighs the same however long its response is."""
    first, labels, responses = scored.first, scored.labels, scored.responses
    numbers = {f"top{k}_accuracy": top_k_accuracy(first.gold_rank, k) for k in (1, 5, 10)}
    numbers |= {"entropy": float(first.entropy.mean()), "uncertainty": float(1 - first.confidence.mean())}
    if (area := auroc(first.confidence, first.correct)) is not None:
        numbers["auroc"] = area
    if labels is not None:
        numbers["label_entropy"] = float(entropy(labels.shares).mean())
        numbers["label_uncertainty"] = float(1 - labels.confidence.mean())
    if responses is not None:
        numbers["response_log_prob"] = float(responses.log_probability.mean())
        numbers["response_entropy"] = float(responses.entropy.mean())
    return numbers


def record_metrics(scored: Mapping[str, ScoredExamples], labels: Sequence[str], uncertainty: bool) -> dict[str, Any]:
    """The numbers of a record, from its conditions by name; docs/artifacts.md defines the fields.

    `labels` are the names of the labels in the order of their indices, none for free text. Conditions hold the same
    examples in one order. A field that only two conditions define is null where there is one.
    """
    labelled = {name: one.labels for name, one in scored.items() if one.labels}
    metrics = {name: condition_metrics(one, uncertainty) for name, one in scored.items()}
    numbers = {f"{name}_{key}": value for name, one in metrics.items() for key, value in one.items()}
    both = None
    if len(scored) == len(CONDITIONS):
        numbers["accuracy_delta"] = numbers["with_icl_accuracy"] - numbers["without_icl_accuracy"]
        both = agreement(scored["with_icl"].correct, scored["without_icl"].correct)

    def bins(sure: FirstTokenScores | Labels) -> list[dict[str, float]]:
        return [asdict(one_bin) for one_bin in reliability_bins(sure.confidence, sure.correct)]

    return {
        "metrics": numbers,
        "agreement": both,
        "labels": list(labels) or None,
        "recall": {name: recalls(one.gold, one.given, labels) for name, one in labelled.items()} or None,
        "confusion": {name: confusion(one.gold, one.given, labels) for name, one in labelled.items()} or None,
        "reliability": {name: bins(one.first) for name, one in scored.items()},
        "ece_floor": {name: expected_ece_if_calibrated(one.first.confidence) for name, one in scored.items()},
        "label_reliability": {name: bins(one) for name, one in labelled.items()} or None,
        "label_ece_floor": {name: expected_ece_if_calibrated(one.confidence) for name, one in labelled.items()} or None,
    }
