"""Metrics of one condition (zero-shot or few-shot), and of both together, by their published names.

Every accuracy has one denominator, all examples: an answer that cannot be parsed is wrong, and the parse rate is
reported beside the accuracy instead of changing it. A number that the examples do not define is left out, never 0: the
AUROC of answers that are all right, for one. Empty input, unequal lengths and values outside their range are a
ValueError.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax
from sklearn.metrics import confusion_matrix, f1_score, recall_score, roc_auc_score

from ia2.evaluation.calibration import (
    CONDITIONS,
    Floats,
    Integers,
    brier,
    entropy,
    expected_calibration_error,
    expected_ece_if_calibrated,
    nll,
    reliability_bins,
)

Numbers = dict[str, float]
Booleans = npt.NDArray[np.bool_]


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


# All metrics


@dataclass(frozen=True)
class Grades:
    """Grades of n responses.

    anywhere: the lenient counterpart of `correct`, true where the response holds the gold answer somewhere.
    gold_labels, given_labels: indices of the labels of a closed set, -1 for a response that is none; empty for free
    text. num_undecided: answers that could not be compared in time; they are not correct.
    """

    parsed: list[str | None]
    correct: list[bool]
    anywhere: list[bool]
    gold_labels: list[int]
    given_labels: list[int]
    num_undecided: int = 0


@dataclass
class ScoredAnswers:
    """n answers of a model under one condition, and their scores by its distributions; natural logarithms throughout.

    token, gold: ids of the predicted first token and of the gold answer's first. gold_rank: number of tokens before the
    gold one, 0 where it is the predicted one; of equally probable tokens the one of lower id comes first, as in argmax.
    confidence: probability of the predicted token under the full softmax. sum_of_squares: of all probabilities, for the
    Brier score. top_tokens, top_probabilities: the ten most probable tokens and their probabilities, in that order
    [n, 10]; -1 and 0 where the vocabulary is smaller; top_texts as far as these were decoded.

    label_log_probabilities: of each of K labels [n, K], by its first token or by all and the end (`label_rule`); they
    may be cut from those of a vocabulary. K is 0 for free text.

    token_sums: sums [3, n] over all G tokens of a response, the one that ends it being the last, of 1, log-probability
    and entropy of the distribution that each was taken from; None where only the first token is scored.

    row_seconds: those of the batch that a response was decoded in, divided by its rows, since rows of one batch have no
    time of their own; the beginning that batches share is in the first of them.
    """

    token: Integers
    gold: Integers
    gold_rank: Integers
    confidence: Floats
    gold_log_probability: Floats
    sum_of_squares: Floats
    entropy: Floats
    top_tokens: Integers
    top_probabilities: Floats
    label_log_probabilities: Floats
    label_rule: Literal["first_token", "full_sequence"] | None = None
    token_sums: Floats | None = None
    responses: Sequence[str] = ()
    top_texts: Sequence[Sequence[str]] = ()
    row_seconds: Floats = field(default_factory=lambda: np.zeros(0))
    seconds: float = 0.0

    @property
    def first_correct(self) -> Booleans:
        """Outcome that confidence is about: the predicted token is the gold answer's first."""
        return np.asarray(self.token == self.gold)

    @property
    def top_confidence(self) -> Floats:
        """Confidence renormalised over the ten most probable tokens (published ECE), never below `confidence`."""
        return np.asarray(self.confidence / self.top_probabilities.sum(axis=1))

    @property
    def log_shares(self) -> Floats:
        """Logarithms of the labels' probabilities [n, K] divided by their sum: never a softmax of probabilities."""
        if not self.label_log_probabilities.size:
            return self.label_log_probabilities
        found = np.asarray(log_softmax(self.label_log_probabilities, axis=1))
        if len(found) != len(self.gold) or not np.isfinite(np.exp(found)).all():
            raise ValueError(f"label_log_probabilities: want [{len(self.gold)}, K], some of each row finite")
        return found


def _label_outcomes(answers: ScoredAnswers, gold_labels: Sequence[int]) -> tuple[Floats, Booleans]:
    """Share of the most probable label [n], and the outcome [n]: that label is the gold one, whatever the response is.

    Of equally probable labels the first one counts.
    """
    shares = answers.log_shares
    return np.exp(shares).max(axis=1), shares.argmax(axis=1) == np.asarray(gold_labels)


def condition_metrics(
    grades: Grades, answers: ScoredAnswers, uncertainty: bool = False, num_generated_tokens: int = 1
) -> Numbers:
    """Metrics of one condition; with `uncertainty` those of uncertainty too, the others being the same numbers."""
    sure, right = answers.confidence, answers.first_correct
    numbers = {
        "accuracy": accuracy(grades.correct),
        "parse_rate": parse_rate(grades.parsed),
        "first_token_accuracy": accuracy(right),
        "nll": nll(answers.gold_log_probability),
        "brier": brier(np.exp(answers.gold_log_probability), answers.sum_of_squares),
        "ece_equal_count": expected_calibration_error(sure, right),
        "ece_equal_width": expected_calibration_error(sure, right, binning="equal_width"),
        "ece_published": expected_calibration_error(answers.top_confidence, right),
    }
    if grades.gold_labels:
        shares, gold = answers.log_shares, grades.gold_labels
        sure, right = _label_outcomes(answers, gold)
        numbers |= class_metrics(gold, grades.given_labels, shares.shape[1])
        numbers |= {
            "label_accuracy": accuracy(right),
            "label_nll": nll(shares[np.arange(len(gold)), gold]),
            "label_ece_equal_count": expected_calibration_error(sure, right),
            "label_ece_equal_width": expected_calibration_error(sure, right, binning="equal_width"),
        }
    else:
        numbers["anywhere_accuracy"] = accuracy(grades.anywhere)
    return numbers | (_uncertainty_metrics(answers, num_generated_tokens) if uncertainty else {})


def _uncertainty_metrics(answers: ScoredAnswers, num_generated_tokens: int) -> Numbers:
    """Means over examples, each of which weighs the same however long its response is.

    Where one token was generated, the first token's numbers are those of the response.
    """
    numbers = {f"top{k}_accuracy": top_k_accuracy(answers.gold_rank, k) for k in (1, 5, 10)}
    numbers |= {"entropy": float(answers.entropy.mean()), "uncertainty": float(1 - answers.confidence.mean())}
    if (area := auroc(answers.confidence, answers.first_correct)) is not None:
        numbers["auroc"] = area
    if (shares := np.exp(answers.log_shares)).size:
        numbers["label_entropy"] = float(entropy(shares).mean())
        numbers["label_uncertainty"] = float(1 - shares.max(axis=1).mean())
    if answers.token_sums is not None and num_generated_tokens > 1:
        num_tokens, log_probability, total_entropy = answers.token_sums
        numbers["response_log_prob"] = float(log_probability.mean())
        numbers["response_entropy"] = float((total_entropy / num_tokens).mean())
    return numbers


def record_metrics(
    conditions: Mapping[str, tuple[Grades, ScoredAnswers]],
    labels: Sequence[str],
    uncertainty: bool,
    num_generated_tokens: int,
) -> dict[str, Any]:
    """The numbers of a record, from its conditions by name; docs/artifacts.md defines the fields.

    `labels` are the names of the labels in the order of their indices, none for free text. Conditions hold the same
    examples in one order. A field that only two conditions define is null where there is one.
    """
    metrics = {name: condition_metrics(*one, uncertainty, num_generated_tokens) for name, one in conditions.items()}
    numbers = {f"{name}_{key}": value for name, one in metrics.items() for key, value in one.items()}
    grades = {name: one for name, (one, _) in conditions.items()}
    both = None
    if len(conditions) == len(CONDITIONS):
        numbers["accuracy_delta"] = numbers["with_icl_accuracy"] - numbers["without_icl_accuracy"]
        both = agreement(grades["with_icl"].correct, grades["without_icl"].correct)
    labelled = grades if labels else {}
    first = {name: (one.confidence, one.first_correct) for name, (_, one) in conditions.items()}
    of_labels = {name: _label_outcomes(conditions[name][1], one.gold_labels) for name, one in labelled.items()}

    def bins(outcomes: Mapping[str, tuple[Floats, Booleans]]) -> dict[str, list[dict[str, float]]]:
        return {name: [asdict(one_bin) for one_bin in reliability_bins(*one)] for name, one in outcomes.items()}

    return {
        "metrics": numbers,
        "agreement": both,
        "labels": list(labels) or None,
        "recall": {name: recalls(one.gold_labels, one.given_labels, labels) for name, one in labelled.items()} or None,
        "confusion": {name: confusion(one.gold_labels, one.given_labels, labels) for name, one in labelled.items()}
        or None,
        "reliability": bins(first),
        "ece_floor": {name: expected_ece_if_calibrated(sure) for name, (sure, _) in first.items()},
        "label_reliability": bins(of_labels) or None,
        "label_ece_floor": {name: expected_ece_if_calibrated(sure) for name, (sure, _) in of_labels.items()} or None,
    }
