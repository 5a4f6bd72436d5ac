"""A base model spread by accelerate, part of it on the disk, against the same model in one piece.

The placeholders, the wrapped forwards and the loading from the disk are those of a model that is too large for its
GPU; only that everything computes on the CPU is not.
"""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import dispatch_model
from adapting import ADAPTERS, random_adapter, trainable_parameters
from oracles import Witness, assert_close, assert_same, plain_greedy
from tiny import SHAPES, WINDOW, save_tiny_model, tiny_model
from torch import nn
from transformers import PreTrainedModel

from ia2.config import ModelConfig
from ia2.errors import UserError
from ia2.methods import Adapter
from ia2.models.generation import GenerationConfig, generate
from ia2.models.hooked_model import HookedModel, Model, device_of
from ia2.models.loading import load_model
from ia2.prompts.prompt import Ids, TokenizedExample
from ia2.training.dataset import collate
from ia2.training.targets import add_kinds, collect

IN_PART = "a layer in memory, a layer on the disk"
ON_DISK = "everything on the disk"
MEMORY = {IN_PART: "130KB", ON_DISK: "0KB"}
BEGINNING: Ids = tuple(range(100, 111))
PROMPTS: list[Ids] = [
    *((17,), (60, 61, 62), tuple(range(40, 40 + WINDOW + 7))),
    *((*BEGINNING, 5), (*BEGINNING, 6, 7, 8, 9), (*BEGINNING, *range(20, 29)), (*BEGINNING, 3, 3)),
]
EXAMPLES = [
    TokenizedExample(prompt, (9, 8, 7)[:size]) for prompt, size in zip(PROMPTS, (3, 1, 2, 3, 3, 1, 2), strict=True)
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {shape: save_tiny_model(root / shape, shape) for shape in SHAPES}


def spread(folder: Path, place: str) -> PreTrainedModel:
    """The model in `folder`, of which the memory holds a part."""
    limit = "180KB" if folder.name == "gpt2" and place == IN_PART else MEMORY[place]
    model = load_model(ModelConfig(model_id=str(folder), device_map="sequential", max_memory=(f"cpu={limit}",))).model
    assert any(weight.is_meta for weight in model.parameters())
    return model


@pytest.mark.parametrize(("shape", "place"), [*((shape, IN_PART) for shape in SHAPES), ("gemma3_text", ON_DISK)])
def test_decoding_is_the_same(folders: dict[str, Path], shape: str, place: str) -> None:
    whole, witness = tiny_model(shape), Witness()
    hooked = HookedModel(spread(folders[shape], place))
    responses = generate(hooked, PROMPTS, GenerationConfig(5, None), witness.see, activations=True)
    for row, prompt in enumerate(PROMPTS):
        assert_same(witness.plain(row, responses[row]), plain_greedy(whole, prompt, 5))


def read(model: Model) -> dict[str, torch.Tensor]:
    """What a model does at answer positions, and the gradients of its adapter."""
    hooked = HookedModel(model)
    batch = collate(EXAMPLES)
    states, activations = hooked.outputs(batch.rows, batch.columns, activations=True, input_ids=batch.input_ids)
    assert activations is not None
    logits = hooked.logits(states)
    (activations.square().mean() + logits.log_softmax(-1).square().mean()).backward()
    gradients = {name: weight.grad for name, weight in trainable_parameters(model).items()}  # type: ignore[arg-type]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients.values())
    return {"activations": activations.detach(), "logits": logits.detach(), **gradients}  # type: ignore[dict-item]


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize(("shape", "place"), [("gemma3_text", IN_PART), ("gpt2", IN_PART), ("llama", ON_DISK)])
def test_adapters_start_compute_and_learn_the_same(
    folders: dict[str, Path], shape: str, adapter: Adapter, place: str
) -> None:
    seen = []
    for model in (spread(folders[shape], place), tiny_model(shape)):
        with random_adapter(model, adapter) as adapted:
            start = {name: weight.detach().clone() for name, weight in trainable_parameters(adapted).items()}
            seen.append({**read(adapted), **{f"start of {name}": weight for name, weight in start.items()}})
            assert not any(weight.is_meta for weight in start.values())
    for name, expected in seen[1].items():
        assert_close(seen[0][name], expected)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_leaves_nothing_behind(folders: dict[str, Path], adapter: Adapter) -> None:
    """Nor any weight in memory: peft's own way to take an adapter off keeps those that lay on the disk."""
    model = spread(folders["llama"], IN_PART)
    before = [str(module) for module in model.modules()], sources(model)
    with random_adapter(model, adapter) as adapted:
        read(adapted)
    assert ([str(module) for module in model.modules()], sources(model)) == before
    assert not any(weight.requires_grad for weight in model.parameters())
    ids = torch.tensor([PROMPTS[2]])
    assert torch.equal(model(ids).logits, tiny_model("llama")(ids).logits)


def sources(model: PreTrainedModel) -> list[Any]:
    """Where the weights of each module come from when it computes."""
    return [module._hf_hook.weights_map for module in model.modules() if hasattr(module, "_hf_hook")]


def test_what_is_wrapped_is_not_packed(folders: dict[str, Path]) -> None:
    wrapped = [module for module in spread(folders["llama"], IN_PART).modules() if hasattr(module, "_hf_hook")]
    in_memory = [module for module in wrapped if isinstance(module, nn.Linear) and not module.weight.is_meta]
    assert len(in_memory) == 7
    assert all(isinstance(module.forward, functools.partial) for module in in_memory)  # as accelerate has it


def test_targets_are_the_same(folders: dict[str, Path]) -> None:
    how, found = GenerationConfig(4, None), []
    for model in (spread(folders["qwen3"], IN_PART), tiny_model("qwen3")):
        hooked = HookedModel(model)
        early = collect(hooked, PROMPTS, how, {"tokens", "activations"})
        found.append(add_kinds(hooked, PROMPTS, early, {"distributions"}))
    assert found[0].responses == found[1].responses
    for kind in ("activations", "distributions"):
        assert_close(found[0].tensors[kind], found[1].tensors[kind])


@pytest.mark.parametrize("shape", ["llama", "gemma3_text"])
def test_weights_in_the_memory_of_another_device_too(shape: str) -> None:
    """As beside a GPU that does not hold all layers: they are copied to it from the CPU's memory, tied ones once."""
    whole, model = tiny_model(shape), tiny_model(shape)
    dispatch_model(model, {"model": "cpu", "lm_head": "cpu"}, main_device=torch.device("cpu"), force_hooks=True)
    assert all(weight.is_meta for weight in model.parameters())
    with random_adapter(model, "lora") as adapted, random_adapter(whole, "lora") as expected:
        found = read(adapted)
        for name, right in read(expected).items():
            assert_close(found[name], right)


def test_what_fits_is_not_spread(tiny_model_folder: Path) -> None:
    lm = load_model(ModelConfig(model_id=str(tiny_model_folder), device_map="auto"))
    assert not any(hasattr(module, "_hf_hook") for module in lm.model.modules())
    assert device_of(lm.model) == lm.model.device


def test_it_is_said_what_lies_where(folders: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="ia2"):
        spread(folders["llama"], IN_PART)
    # 328 x 32 embeddings and as many of the head, and 7,744 weights a layer
    assert caplog.messages == ["the base model's weights are spread: 50% on cpu, 50% on the disk"]


def test_a_gpu_that_is_not_there_is_refused(tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    config = ModelConfig(model_id=str(tiny_model_folder), device_map="auto", max_memory=("1=2GiB", "cpu=1GB"))
    with pytest.raises(UserError, match="max_memory names GPU 1: this machine has 0 CUDA devices"):
        load_model(config)
