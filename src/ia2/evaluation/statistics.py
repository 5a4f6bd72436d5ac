"""How far chance could move a mean: spread over runs, and intervals and a paired test over runs and examples.

Resampling is seeded, and depends on which values there are and never on their order: equal values are counted once and
the counts drawn, which is the same distribution as drawing the examples one by one and takes no time to speak of. Only
where nearly all values differ are they drawn one by one, in ascending order.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, stdtrit

Floats = npt.NDArray[np.float64]

MOST_EXACT = 12
"""Up to so many examples that differ, all sign patterns are tried."""
ROUNDING = 9
"""Decimals within which values, and sums of them, count as equal."""
FEW_VALUES = 40
"""Up to so many different values, drawing their counts is quicker than drawing them one by one."""
DRAWN_AT_ONCE = 500
FEW_RIGHT_OR_WRONG = 5
"""Right or wrong answers below which the bootstrap of a share is too narrow."""
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


def bootstrap_interval(scores: npt.ArrayLike, level: float = 0.95, seed: int = 0, num_draws: int = 10_000) -> Interval:
    """Hierarchical bootstrap interval of the mean of `scores` [R, n], or [n] of one run: over runs, then examples.

    Each draw takes n examples and R runs with replacement and averages their scores; the interval is the middle `level`
    of the draws. The runs answered the same examples, so a drawn example comes with its answers of all drawn runs. One
    run has no other to be drawn: its interval is over examples alone. Where all scores are equal it has no width;
    `proportion_interval` mends that for what is right or wrong. ValueError where there are no scores or draws, or
    `level` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}: want a number between 0 and 1")
    if num_draws < 1:
        raise ValueError(f"num_draws={num_draws}: want at least 1")
    means = _drawn_means(_numbers(scores, "scores"), seed, num_draws)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _drawn_means(scores: Floats, seed: int, num_draws: int) -> Floats:
    """Means of R runs and n examples drawn with replacement; of examples with equal scores the counts are drawn."""
    generator = np.random.default_rng(seed)
    num_runs, num = scores.shape
    columns, counts = np.unique(scores, axis=1, return_counts=True)
    if counts.size <= FEW_VALUES:
        of_runs: Floats = generator.multinomial(num, counts / num, size=num_draws) @ columns.T / num
    else:
        ordered, blocks = np.repeat(columns, counts, axis=1), range(0, num_draws, DRAWN_AT_ONCE)
        sizes = [(min(DRAWN_AT_ONCE, num_draws - done), num) for done in blocks]
        drawn = [ordered[:, generator.integers(num, size=size)].mean(axis=2) for size in sizes]
        of_runs = np.concatenate(drawn, axis=1).T
    shares = generator.multinomial(num_runs, [1 / num_runs] * num_runs, size=num_draws) / num_runs
    means: Floats = (of_runs * shares).sum(axis=1)
    return means


def proportion_interval(correct: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Interval of a share: `bootstrap_interval` of `correct` [R, n] or [n], whose values are from 0 to 1.

    With fewer than 5 of the n right, or wrong, a resample hardly shows another answer than those there are, and none
    where all are alike: 18 of 18 would be certainty. There it is widened to the exact interval of Clopper and Pearson
    of so many of n, which holds its level at any n (Wilson's can fall below it at the edge). n counts examples, not
    answers: runs answer the same ones.
    """
    array = _numbers(correct, "correct")
    num, interval = array.shape[1], bootstrap_interval(array, level)
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
    """Two-sided p-value of a difference in mean between two models, by scores [R, n], or [n], of the same R runs
    (splits) and n examples in one order.

    If the models were alike, the difference on each example (mean over runs) could as well have had the other sign, and
    so could the deviation of each run's difference from their mean (times sqrt(R / (R - 1)), so that its variance is
    that of the mean over runs). p is the share of sign patterns whose sum is at least as far from 0 as the difference
    found, and never less than that of the examples alone, since runs that differ make nothing more certain: of all
    patterns where at most 12 terms differ from 0, else (b + 1) / (m + 1) for b of m random ones, so that it is never 0.
    Two or three runs show little of how much runs differ: there the level is kept only where they differ little.
    Examples without a difference cannot change it; with none that differs it is 1. ValueError on empty, unequal or
    non-finite input.
    """
    one, other = _numbers(ours, "ours"), _numbers(theirs, "theirs")
    if one.shape != other.shape:
        raise ValueError(f"lengths differ: {list(one.shape)} and {list(other.shape)} runs and examples")
    differences, (num_runs, num) = one - other, one.shape
    of_examples = np.round(differences.mean(axis=0), ROUNDING)
    found = float(of_examples.sum())
    p_value = _sign_test(of_examples, found, seed, num_draws)
    if num_runs == 1:
        return p_value
    of_runs = differences.mean(axis=1)
    deviations = np.round((of_runs - of_runs.mean()) * num / math.sqrt(num_runs * (num_runs - 1)), ROUNDING)
    return max(p_value, _sign_test(np.concatenate([of_examples, deviations]), found, seed, num_draws))


def _sign_test(terms: Floats, found: float, seed: int, num_draws: int) -> float:
    """Share of sign patterns of the terms whose sum is at least as far from 0 as `found`."""
    terms, found = terms[terms != 0], abs(found)
    if terms.size <= MOST_EXACT:
        return float(_at_least(_all_sums(terms), found).mean())
    return float((_at_least(_random_sums(terms, seed, num_draws), found).sum() + 1) / (num_draws + 1))


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
    """The values as [R, n], those of one run as [1, n]."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2) or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{name}: want a non-empty [n] or [R, n] of finite numbers, got {list(array.shape)}")
    return np.atleast_2d(array)
