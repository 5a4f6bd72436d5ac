"""The three losses against numbers worked by hand, and the laws they have to keep."""

import math

import pytest
import torch
from torch import Tensor

from ia2.training.losses import act_loss, mean_over_tokens, spread_remainder, tok_loss, tokl_loss

ROWS = torch.tensor([0, 0, 1])  # two tokens of example 0, one of example 1


def random_logits(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3


def test_mean_over_tokens_weighs_every_token_of_an_example_the_same() -> None:
    # example 0: (1 + 5) / 2, example 1: 9
    assert mean_over_tokens(torch.tensor([1.0, 5.0, 9.0]), ROWS, 2).tolist() == [3.0, 9.0]


def test_positions_may_lie_in_any_order() -> None:
    # example 1 first and last: (1 + 9) / 2; example 0: 5
    assert mean_over_tokens(torch.tensor([1.0, 5.0, 9.0]), torch.tensor([1, 0, 1]), 2).tolist() == [5.0, 5.0]


def test_act_sums_over_layers_and_averages_over_tokens_and_width() -> None:
    student = torch.zeros(2, 3, 2)
    target = torch.tensor([[[1.0, 1.0], [1.0, 3.0], [2.0, 0.0]], [[0.0, 2.0], [0.0, 0.0], [4.0, 4.0]]])
    # mean squares over width, layer 1: 1, (1 + 9) / 2 = 5, 4 / 2 = 2; layer 2: 4 / 2 = 2, 0, 16
    # sums over layers: 3, 5, 18; over tokens: example 0 (3 + 5) / 2 = 4, example 1 18
    assert act_loss(student, target, ROWS, 2).tolist() == [4.0, 18.0]


def test_tok_is_the_mean_cross_entropy_in_nats() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)], [0.0, 0.0]])
    # p = (1/4, 3/4): token 1 costs log(4/3), token 0 log 4; p = (1/2, 1/2) costs log 2
    expected = [(math.log(4 / 3) + math.log(4)) / 2, math.log(2)]
    assert tok_loss(logits, torch.tensor([1, 0, 0]), ROWS, 2).tolist() == pytest.approx(expected, rel=1e-6)


def test_tokl_is_the_divergence_from_the_teacher() -> None:
    teacher = torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.5, 0.5]]).log()
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)], [0.0, 0.0]])
    # KL((1/2, 1/2) || (1/4, 3/4)) = log(2)/2 + log(2/3)/2 = log(4/3)/2; a student equal to its teacher has 0
    assert tokl_loss(logits, teacher, ROWS, 2).tolist() == pytest.approx([math.log(4 / 3) / 4, 0.0], abs=1e-7)


def test_tokl_of_a_certain_teacher_is_cross_entropy() -> None:
    logits, tokens = random_logits(0, 3, 7), torch.tensor([2, 0, 6])
    certain = (torch.nn.functional.one_hot(tokens, 7) * 200.0).log_softmax(-1)
    torch.testing.assert_close(tokl_loss(logits, certain, ROWS, 2), tok_loss(logits, tokens, ROWS, 2))


def test_tokl_of_a_student_equal_to_its_teacher_is_zero_and_pulls_nowhere() -> None:
    logits = random_logits(1, 3, 50).requires_grad_()
    loss = tokl_loss(logits, logits.detach().log_softmax(-1), ROWS, 2)
    loss.sum().backward()
    assert loss.abs().max() < 1e-6
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-7


def test_losses_of_bfloat16_are_worked_in_float32() -> None:
    rows = torch.zeros(900, dtype=torch.long)
    student, target = random_logits(6, 2, 900, 8).bfloat16(), random_logits(7, 2, 900, 8).bfloat16()
    logits, teacher = random_logits(8, 900, 9).bfloat16(), random_logits(9, 900, 9).log_softmax(-1).bfloat16()
    tokens = torch.arange(900) % 9
    pairs = [
        (act_loss(student, target, rows, 1), act_loss(student.float(), target.float(), rows, 1)),
        (tok_loss(logits, tokens, rows, 1), tok_loss(logits.float(), tokens, rows, 1)),
        (tokl_loss(logits, teacher, rows, 1), tokl_loss(logits.float(), teacher.float(), rows, 1)),
    ]
    for ours, upcast in pairs:
        assert ours.dtype == torch.float32
        assert torch.equal(ours, upcast)
        assert ours.bfloat16().float() != ours, "a value that bfloat16 holds would not tell"


def test_spread_remainder_by_hand() -> None:
    # p(token 3) = 1/2, p(token 0) = 1/4 are known of V = 4; the other 1/4 is spread over tokens 1 and 2
    spread = spread_remainder(torch.tensor([[0.5, 0.25]]).log(), torch.tensor([[3, 0]]), 4)
    assert spread.exp().tolist()[0] == pytest.approx([0.25, 0.125, 0.125, 0.5], rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("k", [1, 2, 10, 39, 40])
def test_spread_remainder_is_a_distribution_in_float32(k: int, dtype: torch.dtype) -> None:
    top = random_logits(10, 5, 40).log_softmax(-1).topk(k)
    spread = spread_remainder(top.values.to(dtype), top.indices, 40)
    assert spread.dtype == torch.float32
    assert torch.equal(spread.gather(-1, top.indices), top.values.to(dtype).float())
    # the logarithms of bfloat16 have three digits, so what is known may sum to a little more than one
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(spread.exp().sum(-1), torch.ones(5), atol=tolerance, rtol=0)


def test_spread_remainder_tends_to_the_full_distribution() -> None:
    full = random_logits(11, 5, 40).log_softmax(-1)
    rows = torch.arange(5)

    def divergence(k: int) -> float:
        top = full.topk(k)
        return tokl_loss(spread_remainder(top.values, top.indices, 40), full, rows, 5).max().item()

    divergences = [divergence(k) for k in (1, 5, 20, 39)]
    assert divergences == sorted(divergences, reverse=True)
    assert divergences[0] > 0.05
    assert divergences[-1] < 1e-5  # one token left over: nothing is spread
