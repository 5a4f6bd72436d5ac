"""Spread, bootstrap and permutation test: by hand, against scipy, and the laws that they keep."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq

from ia2.evaluation.statistics import (
    FEW_VALUES,
    bootstrap_interval,
    correlation,
    covariance_ellipse,
    interval_over_runs,
    paired_permutation_test,
    proportion_interval,
    standard_deviation,
)

SCORES = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(lambda counts: np.array(counts) / 5)
PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40).map(
    lambda rows: tuple(np.array(column) / 5 for column in zip(*rows, strict=True))
)


def answers(share: float, num: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(num) < share


# Spread


def test_standard_deviation_by_hand() -> None:
    # mean 66; deviations -6, -1, 7: squares 36 + 1 + 49 = 86
    assert standard_deviation([60, 65, 73]) == pytest.approx(math.sqrt(86 / 2))
    assert standard_deviation([60, 65, 73], ddof=0) == pytest.approx(math.sqrt(86 / 3))
    assert math.isnan(standard_deviation([60]))
    assert standard_deviation([60], ddof=0) == 0
    assert math.isnan(standard_deviation([60, math.nan]))


# Bootstrap


def test_the_interval_of_two_examples_by_hand() -> None:
    """Means of two draws of 0 and 1: 0 and 1 in a quarter of the draws each, 0.5 in half of them."""
    wide, narrow = bootstrap_interval([0, 1]), bootstrap_interval([0, 1], level=0.4)
    assert (wide.low, wide.high) == (0, 1)
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_a_coin_has_the_interval_of_a_binomial() -> None:
    interval = bootstrap_interval(np.arange(500) < 350)
    binomial = stats.binom(500, 0.7)
    assert (interval.low, interval.high) == pytest.approx(
        (binomial.ppf(0.025) / 500, binomial.ppf(0.975) / 500), abs=3e-3
    )


@pytest.mark.parametrize("scores", [answers(0.8, 60, 1), answers(0.1, 200, 2), np.linspace(0, 1, 40) ** 3])
def test_the_interval_is_that_of_scipy(scores: np.ndarray) -> None:
    theirs = stats.bootstrap(
        (scores.astype(float),), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(3)
    )
    ours = bootstrap_interval(scores)
    wanted = theirs.confidence_interval
    assert (ours.low, ours.high) == pytest.approx(
        (wanted.low, wanted.high), abs=0.1 * theirs.standard_error + 1 / scores.size
    )


def test_runs_that_answer_alike_say_no_more_than_one() -> None:
    """Pooling their answers would shrink the interval."""
    run = answers(0.6, 80, 4)
    joint = bootstrap_interval([run, run, run])
    alone, pooled = bootstrap_interval(run), bootstrap_interval(np.tile(run, 3))
    assert (joint.low, joint.high) == pytest.approx((alone.low, alone.high))
    assert pooled.high - pooled.low < 0.7 * (joint.high - joint.low)


@pytest.mark.parametrize("num_values", [2, 200], ids=["counted", "drawn one by one"])
def test_runs_are_drawn_and_then_examples(num_values: int) -> None:
    """By brute force: a loop over draws of runs and examples."""
    generator = np.random.default_rng(0)
    scores = np.round(generator.random((3, 60)) * (num_values - 1)) / (num_values - 1) + np.array([[0.0], [0.5], [1.5]])
    means = [
        np.mean([scores[run, shown].mean() for run in generator.integers(3, size=3)])
        for shown in generator.integers(60, size=(4000, 60))
    ]
    found = bootstrap_interval(scores)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.06)
    alone = bootstrap_interval(scores.mean(axis=0))
    assert found.high - found.low > 3 * (alone.high - alone.low), "runs differ more than examples do"


def clopper_pearson(right: int, num: int) -> tuple[float, float]:
    """By its definition: the shares under which as many right answers or more (or fewer) have probability 0.025."""

    def tail(share: float, counts: range) -> float:
        return sum(math.comb(num, k) * share**k * (1 - share) ** (num - k) for k in counts)

    low = brentq(lambda share: tail(share, range(right, num + 1)) - 0.025, 0, 1, xtol=1e-14) if right else 0.0
    high = brentq(lambda share: tail(share, range(right + 1)) - 0.025, 0, 1, xtol=1e-14) if right < num else 1.0
    return low, high


@pytest.mark.parametrize(("right", "num"), [(18, 18), (0, 15), (17, 18), (1, 40), (3, 3)])
@pytest.mark.parametrize("num_runs", [1, 3])
def test_near_the_edge_a_share_has_the_interval_of_clopper_and_pearson(right: int, num: int, num_runs: int) -> None:
    low, high = clopper_pearson(right, num)
    found = proportion_interval(np.tile(np.arange(num) < right, (num_runs, 1)))
    at_least = bootstrap_interval(np.arange(num) < right)
    assert (found.low, found.high) == pytest.approx((min(low, at_least.low), max(high, at_least.high)))


def test_18_of_18_and_0_of_15_are_not_certain() -> None:
    assert proportion_interval(np.ones(18)).low == pytest.approx(0.815, abs=5e-4)
    assert proportion_interval(np.zeros(15)).high == pytest.approx(0.218, abs=5e-4)
    assert proportion_interval(np.ones(18)).high == 1
    assert proportion_interval(np.zeros(15)).low == 0


def test_in_the_middle_a_share_has_the_bootstrap_interval_and_more_right_is_never_less() -> None:
    assert proportion_interval(answers(0.5, 40, 1)) == bootstrap_interval(answers(0.5, 40, 1))
    lows = [proportion_interval(np.arange(18) < right).low for right in range(19)]
    assert lows == sorted(lows)


@given(SCORES)
def test_an_interval_holds_the_mean_lies_among_the_scores_and_knows_no_order(scores: np.ndarray) -> None:
    interval = bootstrap_interval(scores, num_draws=2000)
    assert scores.min() - 1e-9 <= interval.low <= scores.mean() + 1e-9
    assert scores.mean() - 1e-9 <= interval.high <= scores.max() + 1e-9
    assert interval == bootstrap_interval(scores[::-1], num_draws=2000)


def test_the_interval_narrows_with_n_and_with_the_level_and_repeats_with_its_seed() -> None:
    def width(num: int, level: float = 0.95) -> float:
        interval = bootstrap_interval(np.arange(num) < num // 2, level)
        return interval.high - interval.low

    assert width(100) == pytest.approx(2 * width(400), rel=0.1)
    assert width(100, 0.68) == pytest.approx(width(100) / 2, rel=0.15)
    uneven = np.linspace(0, 1, 30) ** 2
    assert (
        bootstrap_interval(uneven, seed=1) == bootstrap_interval(uneven, seed=1) != bootstrap_interval(uneven, seed=2)
    )


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_outside_0_to_1_is_an_error(level: float) -> None:
    with pytest.raises(ValueError, match=f"level={level}"):
        bootstrap_interval([0, 1], level)
    with pytest.raises(ValueError, match=f"share={level}"):
        covariance_ellipse([(0, 0), (1, 1), (2, 3)], level)


def test_an_interval_needs_draws() -> None:
    with pytest.raises(ValueError, match="num_draws=0"):
        bootstrap_interval([0, 1], num_draws=0)


def test_many_different_values_are_drawn_one_by_one_to_the_same_law() -> None:
    """One value more than are counted: the interval hardly moves where the values hardly do."""
    scores = np.repeat(np.linspace(0, 1, FEW_VALUES), 5)
    other = scores + np.linspace(0, 1e-7, scores.size)
    one, two = bootstrap_interval(scores), bootstrap_interval(other)
    assert (one.low, one.high) == pytest.approx((two.low, two.high), abs=3e-3)
    assert two == bootstrap_interval(other[::-1])
    assert bootstrap_interval(other, num_draws=1).low == bootstrap_interval(other, num_draws=1).high


# Over runs


@pytest.mark.parametrize(
    ("values", "mean", "half"),
    [
        ([1.0, 2.0], 1.5, math.tan(0.475 * math.pi) / 2),  # Cauchy's quantile, 12.706; sd / sqrt(2) is 1/2
        ([60, 65, 73], 66.0, 0.95 * math.sqrt(2 / (1 - 0.95**2)) * math.sqrt(43 / 3)),  # t is 4.303, the variance 43
        ([0.1, 0.2, 0.3, 0.4, 0.5], 0.3, 2.7764451 * math.sqrt(0.025 / 5)),  # t of 4 degrees from a table
    ],
)
def test_the_interval_over_runs_is_students(values: list[float], mean: float, half: float) -> None:
    found = interval_over_runs(values)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half), rel=1e-7)


def test_one_run_has_no_interval() -> None:
    assert math.isnan(interval_over_runs([3.0]).low)
    assert math.isnan(interval_over_runs([3.0, math.nan, 1.0]).high)
    with pytest.raises(ValueError, match=r"want a non-empty \[runs\], got \[0\]"):
        interval_over_runs([])


def test_correlation_is_pearsons_and_needs_three_that_vary() -> None:
    assert correlation([1, 2, 3], [2, 4, 7]) == pytest.approx(stats.pearsonr([1, 2, 3], [2, 4, 7]).statistic)
    assert math.isnan(correlation([1, 2], [2, 4]))
    assert math.isnan(correlation([1, 2, 3], [2, 2, 2]))
    with pytest.raises(ValueError, match="lengths differ: 3 and 2"):
        correlation([1, 2, 3], [1, 2])


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_an_ellipse_holds_its_share_of_a_normal_law(share: float) -> None:
    covariance = np.array([[2.0, 1.2], [1.2, 1.0]])
    points = np.random.default_rng(0).multivariate_normal([3, -1], covariance, 20_000)
    ellipse = covariance_ellipse(points, share)
    assert ellipse is not None
    turn = math.radians(ellipse.angle)
    axes = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    inside = (((points - ellipse.centre) @ axes.T / ellipse.half_axes) ** 2).sum(axis=1) <= 1
    assert inside.mean() == pytest.approx(share, abs=3 * math.sqrt(share * (1 - share) / 20_000))
    radius = math.sqrt(stats.chi2(2).ppf(share))
    wanted = radius * np.sqrt(np.linalg.eigvalsh(np.cov(points.T))[::-1])
    assert ellipse.half_axes == pytest.approx(tuple(wanted))


def test_points_on_a_line_have_a_flat_ellipse_and_two_points_none() -> None:
    flat = covariance_ellipse([(0, 0), (1, 1), (2, 2)], 0.5)
    assert flat is not None
    assert flat.half_axes[1] == pytest.approx(0, abs=1e-7)
    assert flat.angle % 180 == pytest.approx(45)
    assert covariance_ellipse([(0, 0), (1, 1)], 0.5) is None


# Permutation test


@pytest.mark.parametrize(
    ("ours", "theirs", "p"),
    [
        ([1, 1, 1], [0, 0, 0], 2 / 8),  # only +++ and --- are as far
        ([1, 1, 1, 0], [0, 0, 0, 1], 10 / 16),  # the sum 2 is reached by 8 patterns with one odd sign and 2 with none
        ([1, 0], [0, 1], 1),  # sum 0
        ([1, 0.5], [0, 0], 2 / 4),  # sums 1.5, 0.5 and their negatives
        ([1, 1, 0], [1, 0, 0], 1),  # one differs: + and - are as far
        ([1, 1], [1, 1], 1),
    ],
)
def test_p_by_hand(ours: list[float], theirs: list[float], p: float) -> None:
    assert paired_permutation_test(ours, theirs) == p


@pytest.mark.parametrize(("num", "share"), [(8, 0.4), (60, 0.65)])
def test_p_is_that_of_scipy(num: int, share: float) -> None:
    """With 8 examples both try all patterns; with 60 both draw some."""
    ours = np.mean([answers(0.75, num, seed) for seed in range(3)], axis=0)
    theirs = np.mean([answers(share, num, seed) for seed in range(3, 6)], axis=0)
    wanted = stats.permutation_test(
        (ours, theirs),
        lambda one, other, axis: np.mean(one - other, axis=axis),
        permutation_type="samples",
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    p = paired_permutation_test(ours, theirs)
    assert 0.01 < p < 0.9, "neither end would show much"
    assert p == pytest.approx(wanted.pvalue, abs=1e-12 if num == 8 else 0.02)


def test_drawing_some_patterns_agrees_with_trying_all(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = np.array([3, 2, 4, 0, 5, 4, 3, 2, 5, 1]) / 5, np.array([1, 3, 2, 1, 2, 3, 4, 0, 3, 0]) / 5
    exact = paired_permutation_test(ours, theirs)
    monkeypatch.setattr("ia2.evaluation.statistics.MAX_ENUMERATED", 0)
    drawn = paired_permutation_test(ours, theirs)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=0.02)


def test_a_difference_beyond_all_draws_has_the_least_p_and_not_zero() -> None:
    assert paired_permutation_test(np.ones(200), np.zeros(200), num_draws=999) == 1 / 1000


def test_p_is_uniform_between_models_that_are_alike() -> None:
    """The level of the test: at most a share x of p-values lies below x."""
    ps = [paired_permutation_test(answers(0.7, 50, seed), answers(0.7, 50, 1000 + seed)) for seed in range(300)]
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(ps) <= level) < level + 3 * math.sqrt(level * (1 - level) / 300)


def test_runs_that_differ_make_a_difference_less_certain() -> None:
    """One run far ahead, two that are not: the mean over runs hides that another split could turn it round."""
    theirs = np.tile(np.arange(40) % 2, (3, 1))
    ours = theirs.copy()
    ours[0, :30] = 1
    uneven, mean = paired_permutation_test(ours, theirs), paired_permutation_test(ours.mean(0), theirs.mean(0))
    assert mean < 0.001
    assert uneven > 0.2
    even = np.tile(ours.mean(0), (3, 1))
    assert paired_permutation_test(even, theirs) == mean


@pytest.mark.parametrize(
    ("runs", "p"),
    [
        # Two examples, on which both runs are ahead alike: their mean is 1, the sums of its signs 2, 0, 0, -2, so alone
        # p is 2/4. Runs 0.8 from their mean, times 2 / sqrt(2), add 2.26, 0, 0, -2.26: at least 2 from 0 are 3 of the
        # 4 with 2, 2 of the 4 with each 0, 3 of the 4 with -2. Without the correction 1.6 would lift no 0.
        ((1.8, 0.2), 10 / 16),
        # 0.1 from their mean they lift no 0, and 6 of 16 would be less than with the examples alone.
        ((1.1, 0.9), 2 / 4),
    ],
)
def test_p_of_two_levels_by_hand(runs: tuple[float, float], p: float) -> None:
    assert paired_permutation_test([[run, run] for run in runs], np.zeros((2, 2))) == p
    assert paired_permutation_test([1, 1], [0, 0]) == 2 / 4


def test_the_level_is_kept_where_runs_differ() -> None:
    """Five runs of each of two methods that are alike, each run with luck of its own."""
    generator = np.random.default_rng(0)

    def method() -> np.ndarray:
        luck, ease = generator.normal(0, 0.3, (5, 1)), generator.normal(0, 1, 40)
        return generator.logistic(0, 0.5, (5, 40)) + luck + ease > 0

    pairs = [(method(), method()) for _ in range(200)]
    both = [paired_permutation_test(*pair, num_draws=999) for pair in pairs]
    assert np.mean(np.array(both) <= 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


@given(PAIRS)
def test_p_is_a_probability_is_symmetric_and_knows_no_order(pair: tuple[np.ndarray, np.ndarray]) -> None:
    ours, theirs = pair
    p = paired_permutation_test(ours, theirs, num_draws=500)
    assert 0 < p <= 1
    assert p == paired_permutation_test(ours[::-1], theirs[::-1], num_draws=500)
    assert paired_permutation_test(theirs, ours, num_draws=500) == p
    assert paired_permutation_test(ours, ours) == 1


def test_p_repeats_with_its_seed() -> None:
    pair = answers(0.7, 100, 0), answers(0.6, 100, 1)
    assert paired_permutation_test(*pair) == paired_permutation_test(*pair) != paired_permutation_test(*pair, seed=1)


@pytest.mark.parametrize("scores", [[], [[]], [[[0.5]]], [math.nan], [math.inf]])
def test_what_is_no_list_of_numbers_is_an_error(scores: list) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        bootstrap_interval(scores)
    with pytest.raises(ValueError, match="finite numbers"):
        paired_permutation_test(scores, [1])


def test_unequal_lengths_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"lengths differ: \[1, 2\] and \[1, 1\]"):
        paired_permutation_test([1, 0], [1])
