"""How alike two models work: averages of the cosines between their activations on one and the same response.

Cosines are computed on the device (`analysis/activations.py`); averages are defined here.
An example counts the same however long its response is: its tokens are averaged first. A cosine that is not defined,
since an activation is zero, is NaN and enters no average.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ia2.evaluation.statistics import standard_deviation

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """A mean over n examples and their standard deviation (ddof 1); NaN where n says that there is none."""

    mean: float
    sd: float
    n: int


def mean_over_tokens(cosines: npt.ArrayLike, lengths: Sequence[int]) -> Floats:
    """The mean [n, L] of each example and layer, of `cosines` [L, M] of n responses of `lengths` tokens end to end."""
    array = np.asarray(cosines, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != sum(lengths) or min(lengths, default=0) < 1:
        raise ValueError(f"cosines: want [L, {sum(lengths)}] and no empty response, got {list(array.shape)}")
    starts = np.cumsum([0, *lengths[:-1]])
    known = ~np.isnan(array)
    sums = np.add.reduceat(np.where(known, array, 0.0), starts, axis=1)
    counts = np.add.reduceat(known.astype(np.float64), starts, axis=1)
    means: Floats = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0).T
    return means


def mean_over_layers(means: npt.ArrayLike) -> Floats:
    """The mean [n] of each example over its layers, of `mean_over_tokens` [n, L]."""
    array = np.asarray(means, dtype=np.float64)
    known = ~np.isnan(array)
    counts = known.sum(axis=1)
    sums = np.where(known, array, 0.0).sum(axis=1)
    whole: Floats = np.divide(sums, counts, out=np.full(len(array), np.nan), where=counts > 0)
    return whole


def mean_over_examples(values: npt.ArrayLike) -> Mean:
    """The mean of one value for each example, over those that have one."""
    array = np.asarray(values, dtype=np.float64)
    known = array[~np.isnan(array)]
    return Mean(float(known.mean()) if known.size else math.nan, standard_deviation(known), int(known.size))
