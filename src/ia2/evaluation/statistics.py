"""Effect of chance on a mean: spread over runs, and intervals and a paired test over runs and examples.

scipy.stats has no bootstrap that draws examples together with their answers of all drawn runs, and no permutation test
over two crossed levels, so these are ours; the distributions are those of `scipy.special`, since `scipy.stats` would
add most of a second to every report. Resampling is seeded and depends on the values, never on their order: equal values
are counted once and their counts drawn, which is the same distribution as drawing examples one by one, and fast. Input
that is empty, unequal or not finite is a ValueError.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, stdtrit

Floats = npt.NDArray[np.float64]

MAX_ENUMERATED = 12
"""Terms up to which all sign patterns are tried."""
DECIMALS = 9
"""Decimals within which values, and sums of them, count as equal."""
FEW_VALUES = 40
"""Different values up to which drawing their counts is faster than drawing examples one by one."""
DRAWN_AT_ONCE = 500
FEW_RIGHT_OR_WRONG = 5
"""Right or wrong answers below which the bootstrap of a share is too narrow."""
MIN_POINTS = 3
"""Points in a plane below which neither a correlation nor a spread is defined."""


@dataclass(frozen=True)
class Interval:
    """Interval from `low` to `high`, in the unit of the mean."""

    low: float
    high: float


def standard_deviation(values: npt.ArrayLike, ddof: int = 1) -> float:
    """Standard deviation of `values` [n] with divisor n - ddof; NaN where that is 0, or where a value is NaN."""
    array = np.asarray(values, dtype=np.float64)
    return float(array.std(ddof=ddof)) if array.size > ddof else math.nan


def interval_over_runs(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Student's t interval of the mean of `values` [R], one per run: mean -+ t sd / sqrt(R) with R - 1 degrees.

    It is about other runs (other draws of examples and seeds) on the same evaluation set, takes runs for normally
    distributed, and is wide for few: t is 12.7 for two runs and 2.8 for five. NaN where R is 1 or a value is NaN.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"values: want a non-empty [runs], got {list(array.shape)}")
    half = float(stdtrit(array.size - 1, (1 + level) / 2)) * standard_deviation(array) / math.sqrt(array.size)
    return Interval(float(array.mean()) - half, float(array.mean()) + half)


def bootstrap_interval(scores: npt.ArrayLike, level: float = 0.95, seed: int = 0, num_draws: int = 10_000) -> Interval:
    """Hierarchical bootstrap interval of the mean of `scores` [R, n], or [n] of one run: over runs, then examples.

    Each draw takes n examples and R runs with replacement and averages their scores; the interval is the middle `level`
    of the draws. The runs answered the same examples, so a drawn example comes with its answers of all drawn runs. With
    one run the interval is over examples alone. Where all scores are equal it has no width; `proportion_interval` mends
    that for right and wrong.
    """
    if not 0 < level < 1 or num_draws < 1:
        raise ValueError(f"level={level}, num_draws={num_draws}: want a level between 0 and 1 and at least one draw")
    array = _numbers(scores, "scores")
    generator, (num_runs, num) = np.random.default_rng(seed), array.shape
    columns, counts = np.unique(array, axis=1, return_counts=True)
    if counts.size <= FEW_VALUES:
        run_means: Floats = generator.multinomial(num, counts / num, size=num_draws) @ columns.T / num
    else:
        ordered, blocks = np.repeat(columns, counts, axis=1), range(0, num_draws, DRAWN_AT_ONCE)
        sizes = [(min(DRAWN_AT_ONCE, num_draws - done), num) for done in blocks]
        drawn = [ordered[:, generator.integers(num, size=size)].mean(axis=2) for size in sizes]
        run_means = np.concatenate(drawn, axis=1).T
    weights = generator.multinomial(num_runs, [1 / num_runs] * num_runs, size=num_draws) / num_runs
    low, high = np.quantile((run_means * weights).sum(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def proportion_interval(correct: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Interval of a share: `bootstrap_interval` of `correct` [R, n] or [n], whose values are from 0 to 1.

    With fewer than 5 of the n right, or wrong, a resample hardly holds another answer than the usual one, and none
    where all are alike: 18 of 18 would be certainty. There it is widened to the exact interval of Clopper and Pearson,
    which holds its level at any n (Wilson's can fall below it at the edge). n counts examples, not answers: runs answer
    the same ones.
    """
    array = _numbers(correct, "correct")
    num, interval = array.shape[1], bootstrap_interval(array, level)
    # A mean over runs, so no whole number, which scipy.stats.binomtest asks for.
    right, tail = float(array.mean()) * num, (1 - level) / 2
    if min(right, num - right) >= FEW_RIGHT_OR_WRONG:
        return interval
    low = float(betaincinv(right, num - right + 1, tail)) if right > 0 else 0.0
    high = float(betaincinv(right + 1, num - right, 1 - tail)) if right < num else 1.0
    return Interval(min(low, interval.low), max(high, interval.high))


def correlation(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Pearson's r of two measures [n] of the same things; NaN for fewer than 3, or where one measure never varies."""
    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"lengths differ: {first.size} and {second.size}")
    if first.size < MIN_POINTS or not (np.ptp(first) and np.ptp(second)):
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
    -2 ln(1 - share). None for fewer than 3 points, which have no spread in two directions.
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share}: want a number between 0 and 1")
    array = np.asarray(points, dtype=np.float64)
    if array.shape[0] < MIN_POINTS:
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
    """Two-sided p-value of a difference in mean between two models, by scores [R, n], or [n], of the same R runs
    (splits) and n examples in one order.

    If the models were alike, the difference on each example (mean over runs) could as well have had the other sign, and
    so could the deviation of each run's difference from their mean (times sqrt(R / (R - 1)), so that its variance is
    that of the mean over runs). p is the share of sign patterns whose sum is at least as far from 0 as the difference
    found: of all patterns where at most 12 terms differ from 0, else (b + 1) / (m + 1) for b of m random ones, so that
    it is never 0. It is never less than that of the examples alone, since runs that differ make nothing more certain.
    Two or three runs hardly show how much runs differ: there the level is kept only where they differ little. Examples
    without a difference cannot change p; where none differs it is 1.
    """
    one, other = _numbers(ours, "ours"), _numbers(theirs, "theirs")
    if one.shape != other.shape:
        raise ValueError(f"lengths differ: {list(one.shape)} and {list(other.shape)} runs and examples")
    differences, (num_runs, num) = one - other, one.shape
    of_examples = np.round(differences.mean(axis=0), DECIMALS)
    found = abs(float(of_examples.sum()))
    p_value = _sign_test(of_examples, found, seed, num_draws)
    if num_runs == 1:
        return p_value
    of_runs = differences.mean(axis=1)
    deviations = np.round((of_runs - of_runs.mean()) * num / math.sqrt(num_runs * (num_runs - 1)), DECIMALS)
    return max(p_value, _sign_test(np.concatenate([of_examples, deviations]), found, seed, num_draws))


def _sign_test(terms: Floats, found: float, seed: int, num_draws: int) -> float:
    """Share of sign patterns of the terms whose sum is at least `found` from 0."""
    terms = terms[terms != 0]
    if terms.size <= MAX_ENUMERATED:
        signs, sizes, observed = 1 - 2 * (np.arange(2**terms.size)[:, None] >> np.arange(terms.size) & 1), terms, 0
    else:  # of terms of equal size only the number of positive ones matters, a binomial
        sizes, counts = np.unique(np.abs(terms), return_counts=True)
        signs = 2 * np.random.default_rng(seed).binomial(counts, 0.5, size=(num_draws, counts.size)) - counts
        observed = 1
    # The same terms added in another order differ by rounding.
    as_far = np.abs(signs @ sizes) >= found - 10.0**-DECIMALS * (1 + found)
    return float((as_far.sum() + observed) / (as_far.size + observed))


def _numbers(values: npt.ArrayLike, name: str) -> Floats:
    """The values as [R, n], those of one run as [1, n]."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2) or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{name}: want a non-empty [n] or [R, n] of finite numbers, got {list(array.shape)}")
    return np.atleast_2d(array)
