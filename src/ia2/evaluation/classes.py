"""How well each label of a closed set is answered, from counts of gold label against given label.

A response that is none of the labels has a column of its own in the counts. It is a miss of its gold label and no
label's false alarm, so that the recalls weighted by their labels' shares are the accuracy over all examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Confusion:
    """Counts of n examples: `labels` [K, K], gold by given label, and `no_label` [K], the gold labels of the others."""

    labels: npt.NDArray[np.int64]
    no_label: npt.NDArray[np.int64]

    @property
    def gold(self) -> npt.NDArray[np.int64]:
        """How many examples have each label [K] as their gold one."""
        return np.asarray(self.labels.sum(axis=1) + self.no_label)


def confusion(gold: npt.ArrayLike, given: npt.ArrayLike, num_labels: int) -> Confusion:
    """Counts of `gold` [n] against `given` [n], indices into K labels; in `given` -1 stands for none of them.

    ValueError where n is 0, lengths differ or an index is outside of 0..K-1 (-1..K-1 in `given`).
    """
    right, said = np.asarray(gold), np.asarray(given)
    if right.ndim != 1 or right.size == 0 or right.shape != said.shape:
        raise ValueError(f"want two non-empty [n], got {list(right.shape)} and {list(said.shape)}")
    for name, indices, least in (("gold", right, 0), ("given", said, -1)):
        whole = np.issubdtype(indices.dtype, np.integer)
        if not whole or indices.min() < least or indices.max() >= num_labels:
            raise ValueError(f"{name}: want label indices from {least} to {num_labels - 1}")
    counts = np.zeros((num_labels, num_labels + 1), dtype=np.int64)
    np.add.at(counts, (right, said), 1)  # -1 is the last column
    return Confusion(counts[:, :-1], counts[:, -1])


def recalls(counts: Confusion) -> Floats:
    """For each label [K] the share (0 to 1) of its examples that are answered with it; NaN where it has none."""
    return _divided(np.diag(counts.labels), counts.gold)


def named_recalls(counts: Confusion, labels: Sequence[str]) -> dict[str, float]:
    """`recalls` by label; a label that no example has is left out."""
    return {label: float(recall) for label, recall in zip(labels, recalls(counts), strict=True) if not np.isnan(recall)}


def named_counts(counts: Confusion, labels: Sequence[str]) -> dict[str, dict[str, dict[str, int]] | dict[str, int]]:
    """{labels: {gold: {given: count}}, no_label: {gold: count}}: apart, so that no label's name can be mistaken."""
    rows = (dict(zip(labels, row, strict=True)) for row in counts.labels.tolist())
    return {
        "labels": dict(zip(labels, rows, strict=True)),
        "no_label": dict(zip(labels, counts.no_label.tolist(), strict=True)),
    }


def balanced_accuracy(counts: Confusion) -> float:
    """Percent: mean recall over the labels that are the gold one of some example; chance is 100 / K for any shares.

    As `sklearn.metrics.balanced_accuracy_score`.
    """
    return 100.0 * float(np.nanmean(recalls(counts)))


def macro_f1(counts: Confusion) -> float:
    """Mean F1 (0 to 1) over the labels that are gold or given for some example, 2 hits / (gold + given) each.

    As `sklearn.metrics.f1_score(average="macro")` over these labels: one that is given but never right counts with 0,
    one that does not occur is left out, and what is no label is no class.
    """
    f1 = _divided(2 * np.diag(counts.labels), counts.gold + counts.labels.sum(axis=0))
    present = ~np.isnan(f1)
    return float(f1[present].mean())


def _divided(hits: npt.NDArray[np.int64], of: npt.NDArray[np.int64]) -> Floats:
    result: Floats = np.full(hits.shape, np.nan)
    return np.divide(hits, of, out=result, where=of > 0)
