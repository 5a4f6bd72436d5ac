"""How far chance could move a mean: spread over runs, intervals over examples, and a paired test.

Resampling is seeded, and depends on which values there are and never on their order: equal values are counted once and
the counts drawn, which is the same distribution as drawing the examples one by one and takes no time to speak of. Only
where nearly all values differ are they drawn one by one, in ascending order.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Floats = npt.NDArray[np.float64]

MOST_EXACT = 12
"""Up to so many examples that differ, all sign patterns are tried."""
ROUNDING = 9
"""Decimals within which values, and sums of them, count as equal."""
FEW_VALUES = 40
"""Up to so many different values, drawing their counts is quicker than drawing them one by one."""
DRAWN_AT_ONCE = 500
FEWEST_PAIRS = 3
"""Of fewer points in a plane, neither a correlation nor a spread says anything."""


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, in the unit of what was averaged."""

    low: float
    high: float


def standard_deviation(values: npt.ArrayLike, ddof: int = 1) -> float:
    """Standard deviation of `values` [n] with divisor n - ddof; NaN where that is 0, since one run shows no spread.

    NaN too where one of the values is: what was not measured has no spread either.
    """
    array = np.asarray(values, dtype=np.float64)
    return float(array.std(ddof=ddof)) if array.size > ddof else math.nan


def interval_over_runs(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Student's t interval of the mean of `values` [R], one per run: mean -+ t sd / sqrt(R) with R - 1 degrees.

    It is about other runs (other draws of examples and seeds) on the same evaluation set, takes runs for normally
    distributed, and is wide for few: t is 12.7 for two runs and 2.8 for five. NaN where R is 1 or a value
    is NaN, ValueError where R is 0.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"values: want a non-empty [runs], got {list(array.shape)}")
    half = float(stdtrit(array.size - 1, (1 + level) / 2)) * standard_deviation(array) / math.sqrt(array.size)
    return Interval(float(array.mean()) - half, float(array.mean()) + half)


def mean_over_runs(scores: npt.ArrayLike) -> Floats:
    """Mean over R runs of `scores` [R, n], for each of the n examples that all of them answered."""
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"scores: want a non-empty [runs, examples], got {list(array.shape)}")
    means: Floats = array.mean(axis=0)
    return means


def bootstrap_interval(scores: npt.ArrayLike, level: float = 0.95, seed: int = 0, num_draws: int = 10_000) -> Interval:
    """Percentile bootstrap interval of the mean of `scores` [n], one per example, over examples.

    Each draw takes n examples with replacement and averages them; the interval holds the middle `level` of the draws.
    For a mean over runs, `scores` are `mean_over_runs`: the runs answered the same examples, so an example is drawn
    with its answers of all runs. The interval is about other examples, with these very runs; where all scores are
    equal it has no width, however few they are. ValueError where n is 0, `level` is not between 0 and 1, or there are
    no draws.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}: want a number between 0 and 1")
    if num_draws < 1:
        raise ValueError(f"num_draws={num_draws}: want at least 1")
    low, high = np.quantile(
        _drawn_means(_numbers(scores, "scores"), seed, num_draws), [(1 - level) / 2, (1 + level) / 2]
    )
    return Interval(float(low), float(high))


def _drawn_means(scores: Floats, seed: int, num_draws: int) -> Floats:
    """Means of n draws with replacement of n scores, `num_draws` times."""
    generator = np.random.default_rng(seed)
    values, counts = np.unique(scores, return_counts=True)
    if values.size <= FEW_VALUES:
        means: Floats = generator.multinomial(scores.size, counts / scores.size, size=num_draws) @ values / scores.size
        return means
    ordered, blocks = np.sort(scores), range(0, num_draws, DRAWN_AT_ONCE)
    sizes = [(min(DRAWN_AT_ONCE, num_draws - done), scores.size) for done in blocks]
    return np.concatenate([ordered[generator.integers(scores.size, size=size)].mean(axis=1) for size in sizes])


def correlation(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Pearson's r of two measures [n] of the same things; NaN for fewer than 3, or where one measure never varies."""
    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"lengths differ: {first.size} and {second.size}")
    if first.size < FEWEST_PAIRS or not (np.ptp(first) and np.ptp(second)):
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])


@dataclass(frozen=True)
class Ellipse:
    """Half axes along the principal directions; `angle` is that of the first from the x axis, in degrees."""

    centre: tuple[float, float]
    half_axes: tuple[float, float]
    angle: float


def covariance_ellipse(points: npt.ArrayLike, share: float) -> Ellipse | None:
    """The ellipse around the mean of `points` [n, 2] that would hold `share` of a normal law of their covariance.

    Covariance with ddof 1; the squared Mahalanobis radius is the chi-square quantile with 2 degrees of freedom,
    -2 ln(1 - share). None for fewer than 3 points, which show no spread in two directions. ValueError where `share` is
    not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share}: want a number between 0 and 1")
    array = np.asarray(points, dtype=np.float64)
    if array.shape[0] < FEWEST_PAIRS:
        return None
    variances, directions = np.linalg.eigh(np.cov(array.T, ddof=1))
    radius = math.sqrt(-2 * math.log(1 - share))
    long, short = (radius * math.sqrt(max(variance, 0.0)) for variance in variances[::-1])
    x, y = directions[:, 1]
    centre = array.mean(axis=0)
    return Ellipse((float(centre[0]), float(centre[1])), (long, short), math.degrees(math.atan2(y, x)))


def paired_permutation_test(
    ours: npt.ArrayLike, theirs: npt.ArrayLike, seed: int = 0, num_draws: int = 10_000
) -> float:
    """Two-sided p-value of a difference in mean between two models, by scores [n] of the same examples in one order.

    If the models were alike, the difference on each example could as well have had the other sign. p is the share of
    sign patterns whose summed difference is at least as far from 0 as the one found: of all patterns where at most 12
    examples differ, else (b + 1) / (m + 1) for b of m random ones, so that it is never 0. Examples without a difference
    cannot change it; with none that differs it is 1. ValueError on empty, unequal or non-finite input.
    """
    one, other = _numbers(ours, "ours"), _numbers(theirs, "theirs")
    if one.shape != other.shape:
        raise ValueError(f"lengths differ: {one.size} and {other.size}")
    differences = np.round(one - other, ROUNDING)
    differences = differences[differences != 0]
    found = abs(differences.sum())
    if differences.size <= MOST_EXACT:
        return float(_at_least(_all_sums(differences), found).mean())
    return float((_at_least(_random_sums(differences, seed, num_draws), found).sum() + 1) / (num_draws + 1))


def _at_least(sums: Floats, found: float) -> npt.NDArray[np.bool_]:
    """Which sums are as far from 0 as `found`, whatever the order in which they were added up."""
    return np.abs(sums) >= found - 10.0**-ROUNDING * (1 + found)


def _all_sums(differences: Floats) -> Floats:
    """The sum under each of the 2^n sign patterns."""
    bits = np.arange(2**differences.size)[:, None] >> np.arange(differences.size) & 1
    sums: Floats = (1 - 2 * bits) @ differences
    return sums


def _random_sums(differences: Floats, seed: int, num_draws: int) -> Floats:
    """The sum under random sign patterns; of equal differences only how many are positive matters, a binomial."""
    sizes, counts = np.unique(np.abs(differences), return_counts=True)
    positive = np.random.default_rng(seed).binomial(counts, 0.5, size=(num_draws, counts.size))
    sums: Floats = (2 * positive - counts) @ sizes
    return sums


def _numbers(values: npt.ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{name}: want a non-empty [n] of finite numbers, got {list(array.shape)}")
    return array
