import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import torch
from adapting import ADAPTERS, config_of, random_adapter, save_adapter, snapshot, trainable_parameters
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from tiny import SHAPES, tiny_model
from torch import Tensor
from transformers import PreTrainedModel

from ia2.config import TrainConfig
from ia2.errors import UserError
from ia2.methods import Adapter
from ia2.models import adapters
from ia2.models.adapters import new_adapter, peft_config, read_adapter, saved_adapter, target_modules
from ia2.models.stacked_lora import trainable_adapters

IDS = torch.arange(3, 23).view(2, 10)


@torch.no_grad()
def logits_of(model: PreTrainedModel | PeftModel) -> Tensor:
    logits: Tensor = model(input_ids=IDS, use_cache=False).logits
    return logits


def new_weights(adapter: Adapter, seed: int) -> dict[str, Tensor]:
    model = tiny_model("llama")
    with new_adapter(model, peft_config(model, config_of(adapter)), seed) as adapted:
        return snapshot(adapted)


def bit_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("adapter", ["lora", "prompt", "prefix"])
def test_a_new_adapter_is_decided_by_its_seed(adapter: Adapter) -> None:
    torch.manual_seed(1)
    one = new_weights(adapter, seed=3)
    torch.manual_seed(2)
    assert bit_equal(new_weights(adapter, seed=3), one)
    assert not bit_equal(new_weights(adapter, seed=4), one)


def test_a_new_ia3_adapter_is_all_ones() -> None:
    """(IA)3 has nothing random in it."""
    assert all(torch.equal(weight, torch.ones_like(weight)) for weight in new_weights("ia3", seed=0).values())


def test_a_new_adapter_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    new_weights("lora", seed=0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("adapter", ["lora", "ia3"])
def test_a_new_lora_or_ia3_adapter_does_nothing_yet(adapter: Adapter) -> None:
    model = tiny_model("qwen2")
    before = logits_of(model)
    with new_adapter(model, peft_config(model, config_of(adapter)), seed=0) as adapted:
        assert torch.equal(logits_of(adapted), before)


def test_prompt_tuning_starts_from_embeddings_of_the_vocabulary() -> None:
    """PEFT's own start is far larger than the embeddings of a language model."""
    embeddings = tiny_model("llama").get_input_embeddings().weight
    (prompt,) = new_weights("prompt", seed=0).values()
    assert all(any(torch.equal(token, known) for known in embeddings) for token in prompt)


def look_of(model: PreTrainedModel) -> dict[str, tuple[str, bool]]:
    """Every module's class and every parameter's trainability."""
    modules = {name: (type(module).__name__, module.training) for name, module in model.named_modules()}
    return modules | {name: ("parameter", parameter.requires_grad) for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("shape", ["llama", "gpt2", "gemma3_text"])
def test_the_base_model_is_bit_equal_afterwards(shape: str, adapter: Adapter, fails: bool) -> None:
    model = tiny_model(shape)
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    look, attributes, logits = look_of(model), set(vars(model)), logits_of(model)
    try:
        with random_adapter(model, adapter) as adapted:
            assert not torch.equal(logits_of(adapted)[:, -10:], logits)
            logits_of(adapted)
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    assert bit_equal(dict(model.state_dict()), weights)
    assert look_of(model) == look
    assert set(vars(model)) == attributes
    assert torch.equal(logits_of(model), logits)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_adapters_follow_each_other_on_one_base(adapter: Adapter) -> None:
    """What an adapter does is the same on a used base as on a fresh one."""
    used = tiny_model("llama")
    for earlier in ADAPTERS:
        with random_adapter(used, earlier):
            pass
    with random_adapter(used, adapter) as on_used, random_adapter(tiny_model("llama"), adapter) as on_fresh:
        assert torch.equal(logits_of(on_used), logits_of(on_fresh))


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("shape", ["llama", "gpt2", "gemma3_text"])
def test_a_saved_adapter_comes_back_bit_equal(shape: str, adapter: Adapter, tmp_path: Path) -> None:
    model = tiny_model(shape)
    with random_adapter(model, adapter) as adapted:
        expected = logits_of(adapted)
        save_adapter(adapted, tmp_path, "org/base")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == "org/base"
    with saved_adapter(model, tmp_path) as loaded:
        assert torch.equal(logits_of(loaded), expected)
        assert not trainable_parameters(loaded)
    plain = PeftModel.from_pretrained(tiny_model(shape), str(tmp_path)).eval()
    assert torch.equal(logits_of(plain), expected)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_saved_adapter_can_be_trained_on(adapter: Adapter, tmp_path: Path) -> None:
    model = tiny_model("llama")
    with random_adapter(model, adapter) as adapted:
        weights = snapshot(adapted)
        save_adapter(adapted, tmp_path, "base")
    with saved_adapter(model, tmp_path, trainable=True) as loaded:
        assert sorted(map(tensor_key, snapshot(loaded).values())) == sorted(map(tensor_key, weights.values()))
        assert not loaded.training
    saved = load_file(tmp_path / "adapter_model.safetensors")
    with trainable_adapters(model, [read_adapter(tmp_path)[0]], [tmp_path]) as adapters:
        adapters.save(0, tmp_path / "again", "base")
        assert adapters.num_parameters[0] == sum(weight.numel() for weight in saved.values())
        assert all(parameter.requires_grad for parameter in adapters.parameters[0])
    assert bit_equal(load_file(tmp_path / "again" / "adapter_model.safetensors"), saved)


def tensor_key(tensor: Tensor) -> list[float]:
    values: list[float] = tensor.flatten().tolist()
    return values


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    file = folder / "adapter_model.safetensors"
    save_file(change(load_file(file)), file)


BREAKS: dict[str, Callable[[Path], object]] = {
    "no folder": shutil.rmtree,
    "no config": lambda folder: (folder / "adapter_config.json").unlink(),
    "not JSON": lambda folder: (folder / "adapter_config.json").write_text("{"),
    "no adapter's config": lambda folder: (folder / "adapter_config.json").write_text("{}"),
    "no weights": lambda folder: (folder / "adapter_model.safetensors").unlink(),
    "cut weights": lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"1234567890"),
    "a layer too few": lambda folder: change_weights(
        folder, lambda weights: {name: weight for name, weight in weights.items() if ".1." not in name}
    ),
    "a layer too many": lambda folder: change_weights(
        folder,
        lambda weights: weights | {name.replace(".1.", ".2."): weight.clone() for name, weight in weights.items()},
    ),
    "another width": lambda folder: change_weights(
        folder, lambda weights: {name: weight.repeat(2, 2) for name, weight in weights.items()}
    ),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_folder_without_an_adapter_that_fits_is_refused_and_the_base_left_alone(broken: str, tmp_path: Path) -> None:
    model, folder = tiny_model("llama"), tmp_path / "run"
    with random_adapter(model, "lora") as adapted:
        save_adapter(adapted, folder, "base")
    BREAKS[broken](folder)
    assert_refused(model, folder)


@pytest.mark.parametrize(("trained_on", "adapter"), [("phi3", "lora"), ("gpt2", "ia3"), ("gpt2", "prefix")])
def test_an_adapter_of_another_model_is_refused(trained_on: str, adapter: Adapter, tmp_path: Path) -> None:
    with random_adapter(tiny_model(trained_on), adapter) as adapted:
        save_adapter(adapted, tmp_path, "base")
    assert_refused(tiny_model("llama"), tmp_path)


def assert_refused(model: PreTrainedModel, folder: Path) -> None:
    look, attributes, logits = look_of(model), set(vars(model)), logits_of(model)
    refused = pytest.raises(UserError, match="no adapter that loads on this llama model")
    with refused as told, saved_adapter(model, folder):
        pass
    assert str(told.value).startswith(f"{folder}: ")
    assert "\n" not in str(told.value)
    assert look_of(model) == look
    assert set(vars(model)) == attributes
    assert torch.equal(logits_of(model), logits)


def out_of_memory(*_: object, **__: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_lack_of_memory_is_not_told_as_a_folder_that_does_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    with random_adapter(model, "lora") as adapted:
        save_adapter(adapted, tmp_path, "base")
    monkeypatch.setattr(adapters, "load_file", out_of_memory)
    with pytest.raises(torch.OutOfMemoryError), saved_adapter(model, tmp_path):
        pass
    config = peft_config(model, TrainConfig(training_method="act"))
    with pytest.raises(torch.OutOfMemoryError), trainable_adapters(model, [config], [tmp_path]):
        pass


def _until(number: int, work: Callable[..., None]) -> Callable[..., None]:
    """The same, but for the so many-th call, at which memory runs out."""
    calls = count(1)

    def worked(*given: object, **more: object) -> None:
        (out_of_memory if next(calls) == number else work)(*given, **more)

    return worked


def test_the_base_is_bare_after_memory_ran_out_while_an_adapter_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    look, attributes, logits = look_of(model), set(vars(model)), logits_of(model)
    monkeypatch.setattr(LoraLayer, "reset_lora_parameters", _until(2, LoraLayer.reset_lora_parameters))
    with (
        pytest.raises(torch.OutOfMemoryError),
        new_adapter(model, peft_config(model, TrainConfig(training_method="act")), seed=0),
    ):
        pass
    assert look_of(model) == look
    assert set(vars(model)) == attributes
    assert torch.equal(logits_of(model), logits)


def test_errors_inside_the_context_pass_as_they_are(tmp_path: Path) -> None:
    """A ValueError of the caller is no adapter that does not load."""
    model = tiny_model("llama")
    with random_adapter(model, "lora") as adapted:
        save_adapter(adapted, tmp_path, "base")
    with pytest.raises(ValueError, match="the caller's own"), saved_adapter(model, tmp_path):
        raise ValueError("the caller's own")
    assert not any("lora" in name for name, _ in model.named_modules())


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_adapters_are_float32_under_a_bfloat16_base(adapter: Adapter, tmp_path: Path) -> None:
    model = tiny_model("llama").to(torch.bfloat16)  # type: ignore[arg-type]
    with random_adapter(model, adapter) as adapted:
        assert {weight.dtype for weight in snapshot(adapted).values()} == {torch.float32}
        save_adapter(adapted, tmp_path, "base")
        expected = logits_of(adapted)
    with saved_adapter(model, tmp_path, trainable=True) as loaded:
        assert {weight.dtype for weight in snapshot(loaded).values()} == {torch.float32}
        assert torch.equal(logits_of(loaded), expected)
    assert {weight.dtype for weight in model.state_dict().values()} == {torch.bfloat16}


# Letters


def adapted_modules(shape: str, letters: str) -> set[str]:
    """The last names of the modules that a LoRA adapter sits on."""
    model = tiny_model(shape)
    with new_adapter(model, peft_config(model, config_of("lora", letters)), seed=0) as adapted:
        names = {name.split(".lora_A")[0] for name in trainable_parameters(adapted) if ".lora_A" in name}
    assert len({name.split(".")[-3] for name in names}) == model.config.num_hidden_layers  # every layer has them
    return {".".join(name.split(".")[-2:]) for name in names}


@pytest.mark.parametrize(
    ("shape", "letters", "modules"),
    [
        ("llama", "qkvo", {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"}),
        ("gemma3_text", "ogd", {"self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"}),
        ("qwen3", "u", {"mlp.up_proj"}),
        ("phi3", "qkvgu", {"self_attn.qkv_proj", "mlp.gate_up_proj"}),
        ("gpt2", "qkv", {"attn.c_attn"}),
        ("gpt2", "o", {"attn.c_proj"}),  # and not the MLP's, which has the same last name
        ("gpt2", "vkqd", {"attn.c_attn", "mlp.c_proj"}),
        ("gpt_neox", "qkvou", {"attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h"}),
    ],
)
def test_letters_choose_projections(shape: str, letters: str, modules: set[str]) -> None:
    assert adapted_modules(shape, letters) == modules


@pytest.mark.parametrize(
    ("shape", "letters", "missing", "has"),
    [
        ("gpt2", "q", "q", "qkv, o, u, d"),
        ("gpt2", "qkvg", "g", "qkv, o, u, d"),
        ("phi3", "qko", "k q", "qkv, o, gu, d"),
        ("phi3", "qkvu", "u", "qkv, o, gu, d"),
        ("gpt_neox", "v", "v", "qkv, o, u, d"),
    ],
)
def test_letters_that_are_fused_with_others_are_refused(shape: str, letters: str, missing: str, has: str) -> None:
    with pytest.raises(
        UserError,
        match=rf"'{letters}' cannot be had on a {shape} model .*\(?no separate {missing}\); what it has: {has}",
    ):
        target_modules(tiny_model(shape), letters)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_all_letters_it_names_together(shape: str) -> None:
    letters = "qkvoud" if shape in ("gpt2", "gpt_neox") else "qkvogud"
    assert adapted_modules(shape, letters)


def test_ia3_scales_the_input_of_the_down_projection_and_the_output_of_the_others() -> None:
    """That is where the paper of (IA)3 puts it: MLP activations are scaled before their projection."""
    model = tiny_model("llama")
    with new_adapter(model, peft_config(model, config_of("ia3", "kvod")), seed=0) as adapted:
        sizes = {name.split(".")[-3]: weight.numel() for name, weight in trainable_parameters(adapted).items()}
    assert sizes == {"k_proj": 16, "v_proj": 16, "o_proj": 32, "down_proj": 48}


def test_ia3_on_attention_alone_works_where_no_down_letter_is_asked_for() -> None:
    config = TrainConfig(training_method="ia3-act", ia3_type="qkv")
    model = tiny_model("gpt2")
    with new_adapter(model, peft_config(model, config), seed=0) as adapted:
        assert sum(weight.numel() for weight in trainable_parameters(adapted).values()) == 2 * 96
