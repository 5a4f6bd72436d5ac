"""How often the answer was right.

There is one denominator, all examples: an answer that could not be parsed is a wrong answer, and how many could be
parsed is reported beside the accuracy instead of changing it.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


def accuracy(correct: npt.ArrayLike) -> float:
    """Percent of `correct` [n] that is true, over all n examples: one that could not be parsed counts as wrong.

    ValueError where n is 0 or `correct` is not boolean: a mean over floats would pass off probabilities as hits.
    """
    hits = np.asarray(correct)
    if hits.dtype != np.bool_ or hits.ndim != 1 or hits.size == 0:
        raise ValueError(f"correct: want a non-empty boolean [n], got {hits.dtype} {list(hits.shape)}")
    return 100.0 * float(hits.mean())


def parse_rate(parsed: Sequence[str | None]) -> float:
    """Fraction (0 to 1) of responses in which the task's parser found an answer; None stands for no answer.

    An empty string is an answer. ValueError where there are no responses.
    """
    if not parsed:
        raise ValueError("parse_rate of no responses")
    return sum(answer is not None for answer in parsed) / len(parsed)


def majority_class_accuracy(golds: Sequence[Hashable]) -> float:
    """Percent right of a model that always gives the most frequent gold answer of these same examples.

    Accuracies near it say that a model may answer one class only. ValueError where there are no answers.
    """
    if not golds:
        raise ValueError("majority_class_accuracy of no answers")
    return 100.0 * max(Counter(golds).values()) / len(golds)


def label_accuracy(label_probabilities: npt.ArrayLike, gold: npt.ArrayLike) -> float:
    """Percent of examples whose most probable label is the gold one, the argmax taken over the label set alone.

    `label_probabilities` [n, K] need not sum to 1 (they are a cut from the vocabulary); `gold` [n] are indices into K.
    It leaves format out of the score, so it lies above accuracy where a model knows the label but would say something
    else. Among equal probabilities the first label is taken. ValueError on unequal lengths, or an index outside K.
    """
    probabilities, indices = np.asarray(label_probabilities, dtype=np.float64), np.asarray(gold)
    if probabilities.ndim != 2 or indices.shape != probabilities.shape[:1] or indices.size == 0:
        raise ValueError(f"want [n, K] and [n] with n > 0, got {list(probabilities.shape)} and {list(indices.shape)}")
    if not np.issubdtype(indices.dtype, np.integer) or indices.min() < 0 or indices.max() >= probabilities.shape[1]:
        raise ValueError(f"gold: want label indices from 0 to {probabilities.shape[1] - 1}")
    if not np.isfinite(probabilities).all():
        raise ValueError("label_probabilities: not all are finite")
    return accuracy(probabilities.argmax(axis=1) == indices)


def top_k_accuracy(gold_rank: npt.ArrayLike, k: int) -> float:
    """Percent of examples whose gold token is among the `k` most probable ones.

    `gold_rank` [n] counts the tokens before the gold one, 0 for the most probable, so that k = 1 is accuracy of the
    first token. ValueError where n is 0, a rank is negative or no integer, or k is below 1.
    """
    rank = np.asarray(gold_rank)
    if rank.size and (not np.issubdtype(rank.dtype, np.integer) or rank.min() < 0):
        raise ValueError("gold_rank: want integers from 0")
    if k < 1:
        raise ValueError(f"k={k}: want at least 1")
    return accuracy(rank < k)


@dataclass(frozen=True)
class Agreement:
    """On how many examples both of two passes are right, only one of them, or neither."""

    both: int
    only_with: int
    only_without: int
    neither: int


def agreement(correct_with: npt.ArrayLike, correct_without: npt.ArrayLike) -> Agreement:
    """Counts of the same n examples answered with and without demonstrations, in one order [n].

    ValueError where lengths differ, n is 0 or values are not boolean.
    """
    one, other = np.asarray(correct_with), np.asarray(correct_without)
    if one.shape != other.shape or one.ndim != 1 or one.size == 0:
        raise ValueError(f"want two non-empty [n], got {list(one.shape)} and {list(other.shape)}")
    if one.dtype != np.bool_ or other.dtype != np.bool_:
        raise ValueError(f"want booleans, got {one.dtype} and {other.dtype}")
    cases = (one & other, one & ~other, ~one & other, ~one & ~other)
    return Agreement(*(int(case.sum()) for case in cases))
