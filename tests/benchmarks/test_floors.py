"""The formulas of docs/performance.md, against what torch counts and what really lies in memory and on disk."""

from pathlib import Path
from random import Random

import pytest
import torch
from floors import Phase, Rates, Reach, decoding, distinct, forward, one_by_one, shape_of, training_step
from tiny import tiny_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from ia2.lm.decoding import Decoding
from ia2.lm.forward import reading
from ia2.training.targets import collect, save_targets

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


# Memory and disk


def test_weights_are_those_of_the_matrices(model: PreTrainedModel) -> None:
    shape = shape_of(model.config, model.dtype)
    layers = [value for name, value in model.named_parameters() if "layers." in name and value.dim() == 2]
    assert shape.body_weights == sum(value.numel() for value in layers)
    assert shape.weight_bytes == (shape.body_weights + model.get_output_embeddings().weight.numel()) * 4


@pytest.mark.parametrize("size", SIZES)
def test_the_cache_grows_by_the_same_for_every_token(model: PreTrainedModel, size: int) -> None:
    cache = DynamicCache()
    model(torch.tensor([ids(size)]), past_key_values=cache)
    taken = 0
    for layer in cache.layers:
        assert isinstance(layer, DynamicLayer)
        assert layer.keys is not None
        assert layer.values is not None
        taken += layer.keys.nbytes + layer.values.nbytes
    assert taken == size * shape_of(model.config, model.dtype).cache_bytes


@pytest.mark.parametrize(("num_examples", "num_tokens"), [(2, 1), (2, 3), (5, 3)])
def test_targets_take_so_much_on_disk(tmp_path: Path, num_examples: int, num_tokens: int) -> None:
    model = tiny_model("llama")
    prompts = [ids(6, seed) for seed in range(num_examples)]
    with reading(model) as teacher:
        targets = collect(teacher, prompts, Decoding(num_tokens, None), {"tokens", "activations"})
    save_targets(tmp_path, targets, {})
    positions, header = num_examples * num_tokens, 8 + 200
    activations = positions * shape_of(model.config, model.dtype).target_bytes
    assert 0 < (tmp_path / "activations.safetensors").stat().st_size - activations < header
    assert 0 < (tmp_path / "tokens.safetensors").stat().st_size - 8 * (positions + num_examples) < header
