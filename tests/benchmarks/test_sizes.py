"""The formulas of room in docs/performance.md, against what really lies in memory and on disk, at three sizes."""

from pathlib import Path
from random import Random

import pytest
import torch
from adapting import save_adapter
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from sizes import shape_of
from tiny import tiny_model
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from ia2.models.adapters import new_adapter
from ia2.models.generation import GenerationConfig
from ia2.models.hooked_model import HookedModel
from ia2.training.targets import collect, register

SIZES = (5, 9, 20)


@pytest.fixture(params=["llama", "qwen3"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return tiny_model(request.param)


def ids(length: int, seed: int = 0) -> tuple[int, ...]:
    return tuple(Random(seed).choices(range(100, 320), k=length))


def test_weights_are_those_of_the_matrices(model: PreTrainedModel) -> None:
    shape = shape_of(model.config, model.dtype)
    matrices = {name: value.numel() for name, value in model.named_parameters() if value.dim() == 2}
    assert shape.body_weights == sum(number for name, number in matrices.items() if "layers." in name)
    assert shape.weight_bytes == 4 * sum(matrices.values())


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
    teacher = HookedModel(model)
    targets = collect(teacher, prompts, GenerationConfig(num_tokens, None), {"tokens", "activations"}, tmp_path)
    register(tmp_path, targets, {})
    positions, header = num_examples * num_tokens, 8 + 200
    activations = positions * shape_of(model.config, model.dtype).target_bytes
    assert 0 < (tmp_path / "activations.safetensors").stat().st_size - activations < header
    assert 0 < (tmp_path / "tokens.safetensors").stat().st_size - 8 * (positions + num_examples) < header


RANK, ADAPTED = 8, ("q_proj", "k_proj", "v_proj")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", SIZES)
def test_a_training_step_keeps_so_much_of_every_token(model: PreTrainedModel, size: int, dtype: torch.dtype) -> None:
    """Beside it only the two tables of rotary positions, which all rows and layers share."""
    adapted = get_peft_model(model.to(dtype), LoraConfig(r=RANK, target_modules=list(ADAPTED)))
    shape = shape_of(model.config, dtype)
    tables = 2 * size * shape.head_width * dtype.itemsize
    assert kept_bytes(adapted, [ids(size), ids(size, 1)]) == 2 * size * shape.kept_bytes(RANK, len(ADAPTED)) + tables


def test_an_adapter_takes_so_much_on_disk(model: PreTrainedModel, tmp_path: Path) -> None:
    for rank in (2, 8, 16):
        with new_adapter(model, LoraConfig(r=rank, target_modules=list(ADAPTED)), seed=0) as adapted:
            save_adapter(adapted, tmp_path, "tiny")
        weights = load_file(tmp_path / "adapter_model.safetensors").values()
        assert sum(value.nbytes for value in weights) == shape_of(model.config, model.dtype).adapter_bytes(rank)


def kept_bytes(adapted: PeftModel, rows: list[tuple[int, ...]]) -> int:
    """Bytes that autograd holds on to after a forward of the decoder, weights left out, each piece of memory once."""
    weights = {value.untyped_storage().data_ptr() for value in (*adapted.parameters(), *adapted.buffers())}
    kept: dict[int, int] = {}
    held: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        held.append(value)  # so that no later one takes its place
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with saved_tensors_hooks(keep, lambda value: value):
        adapted.get_base_model().base_model(torch.tensor(rows), use_cache=False)
    return sum(number for pointer, number in kept.items() if pointer not in weights)
