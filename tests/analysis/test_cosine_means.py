"""Averages of cosines, worked out by hand."""

import math

import numpy as np
import pytest

from ia2.analysis.cosine_means import Mean, mean_over_examples, mean_over_layers, mean_over_tokens

NAN = math.nan
COSINES = [[1.0, 0.5, 0.0, 0.2], [0.0, 1.0, 0.5, NAN]]
"""Two layers, and responses of 3 tokens and of 1."""


def test_tokens_are_averaged_within_each_example() -> None:
    np.testing.assert_allclose(mean_over_tokens(COSINES, [3, 1]), [[0.5, 0.5], [0.2, NAN]])
    np.testing.assert_allclose(mean_over_tokens(COSINES, [1, 1, 2]), [[1, 0], [0.5, 1], [0.1, 0.5]])


def test_a_long_response_counts_as_much_as_a_short_one() -> None:
    """0.5 of three tokens and 0.2 of one: 0.35, where a mean over all tokens would be 0.425."""
    of_examples = mean_over_layers(mean_over_tokens(COSINES, [3, 1]))
    np.testing.assert_allclose(of_examples, [0.5, 0.2])
    found = mean_over_examples(of_examples)
    assert found == Mean(pytest.approx(0.35), pytest.approx(0.3 / math.sqrt(2)), 2)


def test_what_is_not_defined_enters_no_average_and_is_never_0() -> None:
    assert math.isnan(mean_over_layers([[NAN, NAN]])[0])
    assert mean_over_examples([NAN, 0.4, NAN, 0.6]) == Mean(0.5, pytest.approx(0.1 * math.sqrt(2)), 2)
    nothing = mean_over_examples([NAN])
    assert (math.isnan(nothing.mean), math.isnan(nothing.sd), nothing.n) == (True, True, 0)
    assert math.isnan(mean_over_examples([0.5]).sd)


@pytest.mark.parametrize("lengths", [[3], [3, 2], [4, 0], []])
def test_lengths_that_do_not_fit_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="cosines: want"):
        mean_over_tokens(COSINES, lengths)
