"""A comparison finds what differs, forgives what rounding leaves open, and says which is which."""

import math

import pytest
import torch
from comparing import TOLERANCES, Comparison, noise

EXACT, ROUNDED = (TOLERANCES[dtype] for dtype in (torch.float32, torch.bfloat16))
LOGITS = torch.tensor([1.0, 4.0, 3.9, 2.0])


def test_in_float32_every_token_is_equal() -> None:
    comparison = Comparison("the plain side", EXACT)
    comparison.token(1, LOGITS)
    assert not comparison.differences
    comparison.token(2, LOGITS)
    assert comparison.differences == ["token 2 where the other's 1 has a logit 0.1 greater"]
    assert comparison.num_tokens == 2


def test_in_bf16_a_token_may_differ_at_a_tie_and_that_is_shown() -> None:
    comparison = Comparison("float32", ROUNDED, noise=0.03)
    comparison.token(2, LOGITS)  # 0.1 is less than four deviations
    assert comparison.ties == [pytest.approx(0.1, abs=1e-6)]
    assert str(comparison) == "with float32: 1 tokens (1 at ties, logit gaps 0.1, deviation 0.03)"
    comparison.token(3, LOGITS)
    assert comparison.differences == ["token 3 where the other's 1 has a logit 2 greater"]


def test_a_gap_that_rounding_does_not_explain_is_no_tie() -> None:
    comparison = Comparison("float32", ROUNDED, noise=0.02)
    comparison.token(2, LOGITS)
    assert comparison.differences == ["token 2 where the other's 1 has a logit 0.1 greater"]


def test_noise_is_the_deviation_of_a_logit() -> None:
    exact = torch.randn(3, 20000, generator=torch.Generator().manual_seed(0))
    rounded = exact + 0.02 * torch.randn(3, 20000, generator=torch.Generator().manual_seed(1))
    assert noise(rounded, exact) == pytest.approx(0.02, rel=0.02)


def test_each_vector_is_measured_by_its_own_norm() -> None:
    comparison = Comparison("the plain side", ROUNDED)
    large, small = [300.0, 400.0], [0.03, 0.04]  # norms 500 and 0.05
    comparison.numbers("activations", torch.tensor([[300.0, 405.0], small]), torch.tensor([large, small]))
    assert comparison.errors == {"activations": pytest.approx(0.01)}
    comparison.numbers("activations", torch.tensor([large, [0.03, 0.045]]), torch.tensor([large, small]))
    assert comparison.errors == {"activations": pytest.approx(0.1)}
    assert comparison.differences == ["activations by 0.1 relatively"]


def test_scalars_are_measured_one_by_one_and_by_a_unit_where_they_may_vanish() -> None:
    comparison = Comparison("the plain side", EXACT)
    comparison.numbers("losses", [100.0, 1.00005], [100.0, 1.0])
    assert comparison.errors["losses"] == pytest.approx(5e-5)
    comparison.numbers("logarithms", [-0.00001], [-0.00002], unit=1.0)
    assert not comparison.differences
    comparison.numbers("losses", [100.0, 1.001], [100.0, 1.0])
    assert comparison.differences


def test_what_is_no_number_and_what_is_missing_differ() -> None:
    for ours in ([math.nan, 1.0], [1.0]):
        comparison = Comparison("the plain side", ROUNDED)
        comparison.numbers("losses", ours, [1.0, 1.0])
        assert comparison.differences
