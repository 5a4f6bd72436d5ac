"""The formulas of time in docs/performance.md, against the operations that torch counts."""

from random import Random

import pytest
import torch
from floors import Phase, Rates, Reach, decoding, distinct, forward, one_by_one, training_step
from sizes import shape_of
from tiny import tiny_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache, PreTrainedModel

SIZES = (5, 9, 20)


@pytest.fixture(params=["llama", "qwen3"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return tiny_model(request.param, attention="eager")


def ids(length: int, seed: int = 0) -> tuple[int, ...]:
    return tuple(Random(seed).choices(range(100, 320), k=length))


# What is read


def test_every_distinct_beginning_is_one_token_that_sees_all_of_it() -> None:
    draw = Random(0)
    prompts = [tuple(draw.choices(range(3), k=draw.randint(1, 6))) for _ in range(40)]
    beginnings = {prompt[: end + 1] for prompt in prompts for end in range(len(prompt))}
    assert distinct(prompts) == Reach(len(beginnings), sum(map(len, beginnings)))
    assert one_by_one([(1, 2), (1, 2, 3)]) == Reach(5, 3 + 6)


# Arithmetic


@pytest.mark.parametrize("size", SIZES)
def test_a_forward_takes_the_operations_that_torch_counts(model: PreTrainedModel, size: int) -> None:
    """torch counts all S x S pairs of a position and another, the formula those that a causal model needs."""
    shape = shape_of(model.config, model.dtype)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model(torch.tensor([ids(size), ids(size, 1)]))
    assert counted.get_total_flops() == forward(shape, Reach(2 * size, 2 * size**2), 2 * size).flops


@pytest.mark.parametrize("size", SIZES)
def test_a_training_step_takes_the_operations_that_torch_counts(model: PreTrainedModel, size: int) -> None:
    shape = shape_of(model.config, model.dtype)
    embedded = model.get_input_embeddings()(torch.tensor([ids(size)])).requires_grad_()
    with FlopCounterMode(display=False) as counted:
        model(inputs_embeds=embedded).logits.sum().backward()
    unseen = shape.attention_flops * 3 * (size**2 - size * (size + 1) // 2)
    assert counted.get_total_flops() == training_step(shape, [ids(size)], size).flops + unseen


def test_decoding_adds_a_step_of_one_token_a_prompt(model: PreTrainedModel) -> None:
    shape, prompts, num_tokens = shape_of(model.config, model.dtype), [ids(7), ids(9, 1)], 4
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        for prompt in prompts:
            cache = DynamicCache()
            model(torch.tensor([prompt]), past_key_values=cache, logits_to_keep=1)
            for token in range(num_tokens - 1):
                model(torch.tensor([[token]]), past_key_values=cache)
    unseen = shape.attention_flops * sum(len(prompt) * (len(prompt) - 1) // 2 for prompt in prompts)
    assert counted.get_total_flops() == sum(phase.flops for phase in decoding(shape, prompts, num_tokens)) + unseen


def test_the_floor_is_what_is_slower_in_each_phase() -> None:
    rates = Rates(flops=100.0, moved=10.0)
    assert rates.seconds([Phase(flops=200.0, moved=1.0), Phase(flops=1.0, moved=30.0)]) == 2.0 + 3.0
