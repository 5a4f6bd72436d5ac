import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from ia2.evaluation.calibration import (
    ReliabilityBin,
    brier,
    entropy,
    expected_calibration_error,
    expected_ece_if_calibrated,
    nll,
    reliability_bins,
)

COARSE = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60)


def equal_width(confidence: np.ndarray, correct: np.ndarray, num_bins: int = 15) -> float:
    return expected_calibration_error(confidence, correct, num_bins, "equal_width")


def calibrated(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(0.3, 1.0, n)
    return confidence, generator.random(n) < confidence


def distributions(n: int, vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    return generator.dirichlet(np.ones(vocabulary) * 0.3, n), generator.integers(0, vocabulary, n)


def test_equal_count_by_hand() -> None:
    # two bins of two: confidences .2 .4 with one hit |.5 - .3| = .2; confidences .6 .8 with two hits |1 - .7| = .3
    confidence, correct = np.array([0.8, 0.2, 0.6, 0.4]), np.array([True, False, True, True])
    assert expected_calibration_error(confidence, correct, 2) == pytest.approx(0.25)
    first, second = reliability_bins(confidence, correct, 2)
    assert first == ReliabilityBin(0.2, 0.4, pytest.approx(0.3), 0.5, 2)
    assert second == ReliabilityBin(0.6, 0.8, pytest.approx(0.7), 1.0, 2)
    assert set(asdict(first)) == {"lower", "upper", "confidence", "accuracy", "count"}


def test_equal_width_by_hand_with_borders_below_and_an_empty_bin_left_out() -> None:
    # quarters: (0, .25] holds 0 and .25; (.25, .5] nothing; (.5, .75] holds .6; (.75, 1] holds 1
    confidence, correct = np.array([0.0, 0.25, 0.6, 1.0]), np.array([False, True, False, True])
    bins = reliability_bins(confidence, correct, 4, "equal_width")
    assert [(b.lower, b.upper, b.count) for b in bins] == [(0.0, 0.25, 2), (0.5, 0.75, 1), (0.75, 1.0, 1)]
    # (2 * |.5 - .125| + |0 - .6| + |1 - 1|) / 4
    assert equal_width(confidence, correct, 4) == pytest.approx((0.75 + 0.6) / 4)


def test_a_tie_is_never_cut() -> None:
    # ranks 0..3 in two bins would cut the tie .5 .5 .5; its middle one has rank 2, so all three go to the second bin
    confidence, correct = np.array([0.1, 0.5, 0.5, 0.5]), np.array([False, True, False, False])
    assert [b.count for b in reliability_bins(confidence, correct, 2)] == [1, 3]


def test_without_ties_bins_are_equal_up_to_one() -> None:
    confidence, correct = calibrated(500, 0)
    assert {b.count for b in reliability_bins(confidence, correct)} == {33, 34}
    assert len(reliability_bins(confidence, correct)) == 15


@given(COARSE, st.randoms(use_true_random=False), st.integers(1, 15))
def test_order_of_rows_changes_nothing(rows: list, random: object, num_bins: int) -> None:
    shuffled = rows[:]
    random.shuffle(shuffled)
    values = []
    for variant in (rows, shuffled):
        confidence, correct = np.array([c / 8 for c, _ in variant]), np.array([hit for _, hit in variant])
        values.append(
            (expected_calibration_error(confidence, correct, num_bins), equal_width(confidence, correct, num_bins))
        )
    assert values[0] == values[1]


@given(COARSE, st.integers(1, 7))
def test_equal_count_against_brute_force(rows: list, num_bins: int) -> None:
    ranked = sorted(rows)
    bins: dict[int, list] = {}
    for level in sorted({c for c, _ in rows}):
        ranks = [rank for rank, (c, _) in enumerate(ranked) if c == level]
        middle = (ranks[0] + ranks[-1]) / 2
        bins.setdefault(int(middle * num_bins / len(rows) + 1e-9), []).extend(row for row in rows if row[0] == level)
    gaps = [abs(sum(hit - c / 8 for c, hit in members)) for members in bins.values()]
    confidence, correct = np.array([c / 8 for c, _ in rows]), np.array([hit for _, hit in rows])
    assert expected_calibration_error(confidence, correct, num_bins) == pytest.approx(sum(gaps) / len(rows), abs=1e-12)


def test_one_bin_is_the_gap_between_accuracy_and_mean_confidence() -> None:
    confidence, correct = calibrated(80, 2)
    gap = abs(correct.mean() - confidence.mean())
    assert expected_calibration_error(confidence, correct, 1) == pytest.approx(gap)
    assert equal_width(confidence, correct, 1) == pytest.approx(gap)


def test_a_perfect_classifier_has_no_error_and_a_sure_wrong_one_has_all() -> None:
    sure = np.ones(40)
    for estimator in (expected_calibration_error, equal_width):
        assert estimator(sure, np.ones(40, dtype=bool)) == 0.0
        assert estimator(sure, np.zeros(40, dtype=bool)) == 1.0
    assert expected_ece_if_calibrated(sure) == 0.0


def test_a_calibrated_classifier_lands_on_the_floor() -> None:
    eces = [expected_calibration_error(*calibrated(500, seed)) for seed in range(200)]
    floor = expected_ece_if_calibrated(calibrated(500, 0)[0], num_draws=500)
    standard_error = np.std(eces, ddof=1) / math.sqrt(len(eces))
    assert abs(np.mean(eces) - floor) < 4 * standard_error
    assert 0.04 < floor < 0.07  # method.md: about .055 at 500 examples and 15 bins


def test_the_floor_falls_with_n_and_repeats_with_its_seed() -> None:
    small, large = calibrated(100, 0)[0], calibrated(2000, 0)[0]
    assert expected_ece_if_calibrated(small, num_draws=100) > 2 * expected_ece_if_calibrated(large, num_draws=100)
    assert expected_ece_if_calibrated(small, seed=4, num_draws=20) == expected_ece_if_calibrated(
        small[::-1], seed=4, num_draws=20
    )
    assert expected_ece_if_calibrated(small, seed=4, num_draws=20) != expected_ece_if_calibrated(
        small, seed=5, num_draws=20
    )


def test_the_floor_of_one_coin_by_hand() -> None:
    # n=1, confidence p: the gap is 1-p with probability p and p with probability 1-p, on average 2p(1-p) = .32
    assert expected_ece_if_calibrated(np.array([0.8]), num_draws=20000) == pytest.approx(0.32, abs=0.01)


def test_nll_by_hand_and_against_scikit_learn() -> None:
    assert nll(np.log([0.5, 0.25])) == pytest.approx(1.5 * math.log(2))
    probabilities, gold = distributions(50, 6)
    expected = log_loss(gold, probabilities, labels=range(6))
    assert nll(np.log(probabilities[np.arange(50), gold])) == pytest.approx(expected)
    assert nll([0.0, -math.inf]) == math.inf


def test_brier_by_hand_and_against_scikit_learn() -> None:
    assert brier([0.5], [0.5**2 + 0.3**2 + 0.2**2]) == pytest.approx(0.5**2 + 0.3**2 + 0.2**2)
    assert brier([1.0], [1.0]) == 0.0
    assert brier([0.0], [1.0]) == 2.0
    probabilities, gold = distributions(50, 6)
    expected = brier_score_loss(gold, probabilities, labels=range(6), scale_by_half=False)
    squares = (probabilities**2).sum(axis=1)
    assert brier(probabilities[np.arange(50), gold], squares) == pytest.approx(expected)


def test_entropy_in_nats() -> None:
    rows = np.array([[1.0, 0.0, 0.0, 0.0], [0.25] * 4, [0.5, 0.5, 0.0, 0.0]])
    assert entropy(rows) == pytest.approx([0.0, math.log(4), math.log(2)])
    with pytest.raises(ValueError, match="sum to 1"):
        entropy([[0.2, 0.3]])
    with pytest.raises(ValueError, match=r"\[n, V\]"):
        entropy([0.5, 0.5])


@pytest.mark.parametrize(
    ("confidence", "correct"),
    [
        ([], np.array([], dtype=bool)),
        ([0.5, 0.5], np.array([True])),
        ([1.2], np.array([True])),
        ([-0.1], np.array([True])),
        ([math.nan], np.array([True])),
        ([0.5], np.array([0.5])),
    ],
)
def test_bad_confidences_are_refused(confidence: list, correct: np.ndarray) -> None:
    for estimator in (expected_calibration_error, reliability_bins):
        with pytest.raises(ValueError, match="want"):
            estimator(confidence, correct)


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="num_bins"):
        expected_calibration_error([0.5], [True], 0)
    with pytest.raises(ValueError, match="num_draws"):
        expected_ece_if_calibrated([0.5], num_draws=0)
    for bad in ([], [0.5], [math.nan], [[0.0]]):
        with pytest.raises(ValueError, match="at most 0"):
            nll(bad)
    with pytest.raises(ValueError, match="differ"):
        brier([0.5, 0.5], [0.5])
    with pytest.raises(ValueError, match="below the square"):
        brier([0.9], [0.1])


def test_rounding_of_a_float32_softmax_is_no_error() -> None:
    assert expected_calibration_error(np.array([1.0000001], dtype=np.float32), np.array([True])) == 0.0
    assert nll(np.array([1e-7], dtype=np.float32)) == 0.0
