"""How often the answer was right.

There is one denominator, all examples: an answer that could not be parsed is a wrong answer, and how many could be
parsed is reported beside the accuracy instead of changing it.
"""

from collections import Counter
from collections.abc import Hashable, Sequence

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
