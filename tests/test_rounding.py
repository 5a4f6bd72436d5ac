"""The stand-in for other processors shakes the last bits, forwards and backwards, and nothing more."""

import torch
from rounding import another_rounding
from torch import Tensor


def products() -> list[Tensor]:
    """Of each kind, and a gradient."""
    torch.manual_seed(0)
    rows, weight, bias = torch.randn(6, 8, requires_grad=True), torch.randn(8, 5), torch.randn(5)
    linear = torch.nn.functional.linear(rows, weight.T, bias)
    batched = torch.randn(3, 4, 8) @ torch.randn(3, 8, 5)
    (gradient,) = torch.autograd.grad(linear.square().sum(), rows)
    return [
        rows @ weight,
        linear,
        batched,
        torch.baddbmm(batched, torch.randn(3, 4, 8), torch.randn(3, 8, 5)),
        gradient,
    ]


def test_the_last_bits_differ_and_the_same_bits_come_again() -> None:
    plain = products()
    with another_rounding(1):
        one, again = products(), products()
    with another_rounding(2):
        other = products()
    for ours, theirs, third, fourth in zip(plain, one, again, other, strict=True):
        assert not torch.equal(ours, theirs)
        assert not torch.equal(theirs, fourth)
        assert torch.equal(theirs, third)
        torch.testing.assert_close(theirs, ours, rtol=0, atol=2e-6 * float(ours.detach().abs().max()))
    assert all(torch.equal(*pair) for pair in zip(plain, products(), strict=True)), "it ends with its context"
    whole = torch.ones(2, 2, dtype=torch.int64)
    with another_rounding(1):
        assert (whole @ whole).tolist() == [[2, 2], [2, 2]]
        assert (torch.zeros(0, 4) @ torch.zeros(4, 2)).shape == (0, 2)
        half = torch.tensor([1.0, 0.0]) * torch.randn(3, 1)
        assert not (half @ torch.eye(2))[:, 1].any()
