import gc
import json
import shutil
import weakref
from pathlib import Path

import huggingface_hub
import pytest
import torch
from adapting import ADAPTERS, random_adapter, trainable_parameters
from oracles import assert_close
from safetensors.torch import load_file, save_file
from tiny import BOS, EOS, VOCABULARY, save_tiny_model, tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, BertConfig, BertLMHeadModel, GPTJConfig, GPTJForCausalLM, PreTrainedModel

from ia2.config import ModelConfig
from ia2.errors import UserError
from ia2.methods import Adapter
from ia2.models import loading
from ia2.models.loading import LanguageModel, ModelCache, load_model, requested_device


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may reach for the network; the variable itself is read when the library is imported."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def copied(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model's folder, to be changed."""
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "copy"))


def load(folder: Path | str, device: str = "cpu") -> LanguageModel:
    return load_model(ModelConfig(model_id=str(folder), device=device))


def test_a_folder_is_loaded_with_its_tokenizer_frozen_and_in_evaluation_mode(tiny_model_folder: Path) -> None:
    lm = load(tiny_model_folder)
    expected = tiny_model("llama")
    assert lm.model_id == str(tiny_model_folder)
    assert lm.dtype == "float32"
    assert all(torch.equal(weight, expected.state_dict()[name]) for name, weight in lm.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())
    assert not any(module.training for module in lm.model.modules())
    assert lm.prompt_tokenizer().ids("Text:so\n\n") == tuple(
        tiny_tokenizer()("Text:so\n\n", add_special_tokens=False).input_ids
    )
    assert lm.prompt_tokenizer() is lm.prompt_tokenizer(chat=False)


@pytest.mark.parametrize("shape", ["gemma3_text", "gpt2", "gpt_neox", "phi3"])
def test_other_shapes_load_too(shape: str, tmp_path: Path) -> None:
    assert load(save_tiny_model(tmp_path, shape)).model.config.model_type == shape


@pytest.mark.parametrize(("asked", "found"), [("auto", "float32"), ("float32", "float32"), ("bfloat16", "bfloat16")])
def test_dtype_on_a_cpu(asked: str, found: str, tmp_path: Path) -> None:
    """auto is float32, even where the checkpoint is in half precision."""
    tiny_model("llama").to(torch.float16).save_pretrained(tmp_path)  # type: ignore[arg-type]
    tiny_tokenizer().save_pretrained(tmp_path)
    config = ModelConfig(model_id=str(tmp_path), device="cpu", torch_dtype=asked)  # type: ignore[arg-type]
    lm = load_model(config)
    assert lm.dtype == found
    assert {str(parameter.dtype) for parameter in lm.model.parameters()} == {f"torch.{found}"}


@pytest.mark.parametrize("model_id", ["nobody/no-such-model", "smollm3-135m", "./nowhere"])
def test_an_unknown_model_is_named_with_the_valid_forms(model_id: str) -> None:
    with pytest.raises(UserError) as told:
        load(model_id)
    message = str(told.value)
    assert message.startswith(f"model_id={model_id!r} ")
    for form in ("hub id", "folder", ".gguf file", "smollm2-135m"):
        assert form in message
    assert "\n" not in message


def test_a_gguf_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.gguf': no such file"):
        load(tmp_path / "a.gguf")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_that_lacks_something_is_refused(copied: Path, missing: str) -> None:
    (copied / missing).unlink()
    with pytest.raises(UserError, match="could not be loaded") as told:
        load(copied)
    assert repr(str(copied)) in str(told.value)


def test_weights_that_are_missing_are_not_made_up(copied: Path) -> None:
    """transformers draws them at random and says so in a log that is switched off."""
    weights = load_file(copied / "model.safetensors")
    del weights["model.layers.1.self_attn.q_proj.weight"]
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"model\.layers\.1\.self_attn\.q_proj\.weight"):
        load(copied)


def unsupported() -> list[PreTrainedModel]:
    sizes = {"vocab_size": VOCABULARY, "bos_token_id": BOS, "eos_token_id": EOS}
    bert = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        is_decoder=True,
    )
    return [
        GPTJForCausalLM(GPTJConfig(**sizes, n_embd=16, n_layer=1, n_head=2, rotary_dim=4)),
        BertLMHeadModel(bert),
    ]


@pytest.mark.parametrize("model", unsupported(), ids=lambda model: type(model).__name__)
def test_an_unsupported_architecture_lists_what_was_found(model: PreTrainedModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"known: llama, mistral, .* It has 1 layers and .*Attention") as told:
        load(tmp_path)
    assert repr(model.config.model_type) in str(told.value)


# Devices


@pytest.mark.parametrize("name", ["tpu", "gpu", "cuda:x", "mps", ""])
def test_an_unknown_device_is_refused_with_the_valid_ones(name: str) -> None:
    with pytest.raises(UserError, match=rf"device={name!r}: valid are auto, cpu, cuda and cuda:N"):
        requested_device(name)


@pytest.mark.parametrize(("name", "available"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_a_device_that_is_not_there_is_refused(name: str, available: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: available)
    with pytest.raises(UserError, match=rf"device='{name}': this machine has {available} CUDA devices"):
        requested_device(name)


def test_auto_is_the_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert requested_device("auto") == requested_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert requested_device("auto") == torch.device("cuda")
    assert requested_device("cuda:1") == torch.device("cuda", 1)


def test_a_lack_of_memory_is_not_told_as_a_model_that_is_not_there(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    with pytest.raises(torch.OutOfMemoryError):
        load(tiny_model_folder)


# Revisions


def test_the_revision_is_that_of_the_weights_and_not_of_the_folder(tiny_model_folder: Path, copied: Path) -> None:
    original = load(tiny_model_folder).revision
    assert load(tiny_model_folder).revision == original
    assert load(copied).revision == original
    (copied / "README.md").write_text("notes")
    assert load(copied).revision == original


def test_other_weights_another_revision(tiny_model_folder: Path, copied: Path, tmp_path: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    weights["model.norm.weight"][0] += 1e-3
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    revisions = {
        load(folder).revision for folder in (tiny_model_folder, copied, save_tiny_model(tmp_path / "b", seed=1))
    }
    assert len(revisions) == 3


def test_another_configuration_or_tokenizer_another_revision(tiny_model_folder: Path, copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    changed = load(copied).revision
    assert changed != load(tiny_model_folder).revision
    tiny_tokenizer("two").save_pretrained(copied)
    assert load(copied).revision != changed


# What ends a response


def test_every_eos_token_of_the_generation_config_ends_a_response(copied: Path) -> None:
    (copied / "generation_config.json").write_text(json.dumps({"eos_token_id": [77, 78]}))
    stopper = load(copied).stopper("eos")
    assert stopper.ended(torch.tensor([77, 78, EOS, 79]), None).tolist() == [True, True, True, False]


def test_the_separator_ends_a_response(tiny_model_folder: Path) -> None:
    lm = load(tiny_model_folder)
    (blank,) = lm.prompt_tokenizer().ids("\n\n")
    token = torch.tensor([blank, EOS, 50])
    assert lm.stopper("separator").ended(token, None).tolist() == [True, True, False]
    assert lm.stopper("eos").ended(token, None).tolist() == [False, True, False]
    assert lm.stopper("separator") is lm.stopper("separator"), "it takes a second for 50,000 tokens"


# The shelf


def test_a_model_is_loaded_once_for_all_that_follows(tiny_model_folder: Path, copied: Path) -> None:
    models, config = ModelCache(), ModelConfig(model_id=str(tiny_model_folder), device="cpu")
    first = models.load(config)
    assert models.load(config.model_copy(update={"root": Path("elsewhere")})) is first
    assert models.num_loaded == 1
    other = models.load(ModelConfig(model_id=str(copied), device="cpu"))
    assert (other.model_id, models.num_loaded) == (str(copied), 2)
    assert models.load(config) is not first


def test_the_model_before_is_gone_when_the_next_is_loaded(
    tiny_model_folder: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replaced forwards make circles of references, which Python breaks when it likes: too late for two large ones."""
    models, held = ModelCache(), list[bool]()
    weight = weakref.ref(models.load(ModelConfig(model_id=str(tiny_model_folder), device="cpu")).model.lm_head.weight)

    def loaded(config: ModelConfig) -> LanguageModel:
        held.append(weight() is not None)
        return load_model(config)

    monkeypatch.setattr(loading, "load_model", loaded)
    gc.disable()
    try:
        models.load(ModelConfig(model_id=str(copied), device="cpu"))
    finally:
        gc.enable()
    assert held == [False]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_loaded_model_computes_what_an_unloaded_one_does(tiny_model_folder: Path, adapter: Adapter) -> None:
    """Loading may lay weights out for speed; outputs and the adapter's gradients stay what they are."""
    seen = []
    for model in (load(tiny_model_folder).model, tiny_model("llama")):
        with random_adapter(model, adapter) as adapted:
            logits = adapted(input_ids=torch.arange(3, 23).view(2, 10), use_cache=False).logits
            logits.square().mean().backward()
            seen.append([logits.detach(), *(weight.grad for weight in trainable_parameters(adapted).values())])
    for found, expected in zip(*seen, strict=True):
        assert_close(found, expected)
