"""Model folders that are odd, damaged or meant to harm: each is refused in one line, and nothing in it is run."""

import contextlib
import json
import os
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from adapting import random_adapter, save_adapter
from safetensors.torch import load_file, save_file
from tiny import save_tiny_model, tiny_model, tiny_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, Gemma3TextConfig, SiglipVisionConfig

from ia2.config import ModelConfig
from ia2.errors import MachineError, UserError
from ia2.methods import Adapter
from ia2.models import loading
from ia2.models.adapters import saved_adapter
from ia2.models.loading import load_model, load_tokenizer, parts_on_disk
from ia2.prompts.prompt import Prompt, PromptTokenizer
from ia2.tasks.task_spec import Example

Build = Callable[[Path], object]

LONGEST_LINE = 1000


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("IA2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody is asked whether code may run"))


def assert_told(work: Callable[[], object]) -> str:
    """The message of a refusal, which is one line."""
    with pytest.raises((UserError, MachineError)) as told:
        work()
    message = str(told.value)
    assert "\n" not in message
    assert len(message) <= LONGEST_LINE
    return message


def load(folder: Path) -> object:
    return load_model(ModelConfig(model_id=str(folder), device="cpu"))


# What is done to a folder


def written(file: str, content: str | bytes) -> Build:
    raw = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / file).write_bytes(raw)


def configured(file: str = "config.json", **changes: Any) -> Build:
    def build(folder: Path) -> None:
        content = json.loads((folder / file).read_text()) | changes
        (folder / file).write_text(json.dumps(content))

    return build


def weighed(change: Callable[[dict[str, torch.Tensor]], object]) -> Build:
    def build(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    return build


def cut(file: str, size: int) -> Build:
    return lambda folder: os.truncate(folder / file, size)


def replaced(file: str, make: Callable[[Path], object]) -> Build:
    def build(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        make(folder / file)

    return build


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def fill(weights: dict[str, torch.Tensor], value: float) -> None:
    weights["model.layers.1.mlp.down_proj.weight"][3, 5] = value


GEMMA3 = {
    "model_type": "gemma3",
    "text_config": Gemma3TextConfig(num_hidden_layers=2, hidden_size=32, intermediate_size=48).to_dict(),
    "vision_config": SiglipVisionConfig(
        num_hidden_layers=1, hidden_size=32, intermediate_size=32, num_attention_heads=4
    ).to_dict(),
}
CODE = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\nraise SystemExit\n"

HOSTILE: dict[str, Build] = {
    "heads of the wrong type": configured(num_attention_heads="four"),
    "no heads": configured(num_attention_heads=0),
    "negative heads": configured(num_attention_heads=-4),
    "key heads that do not divide": configured(num_key_value_heads=3),
    "unknown activation": configured(hidden_act="nonsense"),
    "activation of the wrong type": configured(hidden_act=["silu"]),
    "unknown rope": configured(rope_parameters={"rope_type": "nonsense", "rope_theta": 1e4}),
    "rope of the wrong type": configured(rope_parameters="nonsense"),
    "no hidden size": configured(hidden_size=None),
    "layers as text": configured(num_hidden_layers="two"),
    "a billion layers": configured(num_hidden_layers=10**9),
    "fewer layers than weights": configured(num_hidden_layers=1),
    "a vocabulary of a trillion": configured(vocab_size=10**12),
    "a padding token beyond the vocabulary": configured(pad_token_id=10**6),
    "epsilon that is not a number": configured(rms_norm_eps=float("nan")),
    "no model type": configured(model_type=None),
    "unknown model type": configured(model_type="nothing"),
    "unsupported model type": configured(model_type="t5"),
    "multimodal gemma3": configured(**GEMMA3),
    "weights of another name": configured(transformers_weights="pytorch_model.bin"),
    "quantised by nobody": configured(quantization_config={"quant_method": "nonsense"}),
    "code in the configuration": configured(model_type="own", auto_map={"AutoConfig": "own.Own"}),
    "configuration that is a list": written("config.json", "[]"),
    "configuration that is nested deeply": written("config.json", "[" * 10**5),
    "configuration in no UTF-8": written("config.json", b'{"model_type": "\xff"}'),
    "generation configuration that is cut": written("generation_config.json", "{"),
    "NaN": weighed(lambda weights: fill(weights, float("nan"))),
    "infinity": weighed(lambda weights: fill(weights, float("inf"))),
    "an unexpected weight": weighed(lambda weights: weights.update(more=torch.zeros(2))),
    "a weight of another shape": weighed(lambda weights: weights.update({"lm_head.weight": torch.zeros(3, 3)})),
    "no weights": weighed(dict.clear),
    "weights that are cut": cut("model.safetensors", 5000),
    "weights that are cut in their header": cut("model.safetensors", 100),
    "empty weights": cut("model.safetensors", 0),
    "a header of 2**63 bytes": written("model.safetensors", struct.pack("<Q", 2**63) + b"{}"),
    "pickled weights": pickled,
    "weights in a folder": replaced("model.safetensors", Path.mkdir),
    "a FIFO in place of weights": replaced("model.safetensors", os.mkfifo),
    "a FIFO in place of the configuration": replaced("config.json", os.mkfifo),
    "a FIFO in place of a template": replaced("chat_template.jinja", os.mkfifo),
    "a symlink to itself": replaced("config.json", lambda path: path.symlink_to(path.name)),
    "a symlink to nothing": replaced("model.safetensors", lambda path: path.symlink_to("nothing")),
    "shards elsewhere": replaced(
        "model.safetensors",
        lambda path: path.with_name(f"{path.name}.index.json").write_text(
            json.dumps({"weight_map": {"lm_head.weight": "../elsewhere.safetensors"}})
        ),
    ),
    "shards that are no names": replaced(
        "model.safetensors", lambda path: path.with_name(f"{path.name}.index.json").write_text('{"weight_map": [1]}')
    ),
    "an adapter": written("adapter_config.json", json.dumps({"base_model_name_or_path": "nobody/base"})),
    "a tokenizer of another shape": written("tokenizer.json", '{"model": {"type": "nonsense"}}'),
    "a tokenizer that is cut": cut("tokenizer.json", 500),
    "a tokenizer that is a list": written("tokenizer.json", "[]"),
    "a tokenizer configuration that is a list": written("tokenizer_config.json", "[]"),
    "a special token that is a number": configured("tokenizer_config.json", eos_token=5),
    "a tokenizer without tokens": written(
        "tokenizer.json", '{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}}'
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "hostile")
    (folder / "own.py").write_text(CODE)
    HOSTILE[name](folder)
    message = assert_told(lambda: load(folder))
    assert "hostile" in message or "supported" in message
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("size", [0, 3, 4, 20, 100, 1000])
def test_a_gguf_file_that_is_cut_or_no_file_is_refused(size: int, tmp_path: Path) -> None:
    header = struct.pack("<4sIQQ", b"GGUF", 3, 2**60, 2**60) + struct.pack("<Q", 2**40) + b"general.name" * 100
    (tmp_path / "cut.gguf").write_bytes(header[:size])
    assert "cut.gguf: not a GGUF file" in assert_told(lambda: load(tmp_path / "cut.gguf"))
    os.mkfifo(tmp_path / "pipe.gguf")
    assert "pipe.gguf" in assert_told(lambda: load(tmp_path / "pipe.gguf"))


def test_code_beside_a_tokenizer_is_not_run_and_nobody_is_asked(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "hostile")
    (folder / "own.py").write_text(CODE)
    own = {"AutoTokenizer": ["own.Own", None]}
    configured("tokenizer_config.json", tokenizer_class="Own", auto_map=own)(folder)
    for work in (lambda: load(folder), lambda: load_tokenizer(str(folder))):
        with contextlib.suppress(UserError):
            work()
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("name", [name for name in HOSTILE if "token" in name or "FIFO" in name])
def test_a_hostile_tokenizer_alone_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "hostile")
    HOSTILE[name](folder)
    if name not in ("a padding token beyond the vocabulary", "a tokenizer without tokens"):
        assert "hostile" in assert_told(lambda: load_tokenizer(str(folder)))


def test_pickled_weights_beside_others_are_not_opened(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cposix\nsystem\n.")
    load(folder)


@pytest.mark.parametrize("error", [AssertionError, KeyError, TypeError, ZeroDivisionError])
def test_a_mistake_of_ours_is_not_taken_for_a_bad_folder(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted: dict[str, Any] = {"__name__": "ia2.lm.planted", "error": error}
    exec("def mistaken(*_): raise error('planted')", planted)
    monkeypatch.setattr(loading, "_check_loaded", planted["mistaken"])
    with pytest.raises(error, match="planted"):
        load(save_tiny_model(tmp_path / "model"))


def test_a_model_that_is_not_here_has_no_parts(tmp_path: Path) -> None:
    assert parts_on_disk(str(tmp_path / "nothing")) is None
    assert parts_on_disk("nobody/no-such-model") is None
    assert parts_on_disk("smollm2-135m") is None, "it would have to be unpacked"


# Adapters


def adapter_in(folder: Path, adapter: Adapter = "lora") -> Path:
    with random_adapter(tiny_model("llama"), adapter) as adapted:
        save_adapter(adapted, folder, "nobody/base")
    return folder


def adapted(**changes: Any) -> Build:
    return configured("adapter_config.json", **changes)


def of_adapter(change: Callable[[dict[str, torch.Tensor]], object]) -> Build:
    def build(folder: Path) -> None:
        weights = load_file(folder / "adapter_model.safetensors")
        change(weights)
        save_file(weights, folder / "adapter_model.safetensors")

    return build


HOSTILE_ADAPTERS: dict[str, Build] = {
    "a kind that opens a pickle": adapted(
        peft_type="MULTITASK_PROMPT_TUNING", prompt_tuning_init_state_dict_path="pickle.bin", num_virtual_tokens=5
    ),
    "no kind": adapted(peft_type=None),
    "a module to import": adapted(megatron_config={"a": 1}, megatron_core="own"),
    "layers to repeat": adapted(layer_replication=[[0, 2], [0, 2]]),
    "another rank by name": adapted(rank_pattern={"(a+)+$": 4}),
    "modules by a pattern": adapted(target_modules="(a+)+$"),
    "modules to train whole": adapted(modules_to_save=["lm_head"]),
    "a rank of a billion": adapted(r=10**9),
    "a rank as text": adapted(r="8"),
    "a negative rank": adapted(r=-8),
    "a scale that is not a number": adapted(lora_alpha=float("nan")),
    "a configuration that is a list": written("adapter_config.json", "[]"),
    "a configuration that is nested deeply": written("adapter_config.json", "[" * 10**5),
    "a FIFO in place of the configuration": replaced("adapter_config.json", os.mkfifo),
    "a FIFO in place of weights": replaced("adapter_model.safetensors", os.mkfifo),
    "weights that are cut": cut("adapter_model.safetensors", 200),
    "NaN": of_adapter(lambda weights: next(iter(weights.values())).fill_(float("nan"))),
    "another shape": of_adapter(
        lambda weights: weights.update({name: one[:, :-1].contiguous() for name, one in weights.items()})
    ),
}


@pytest.mark.parametrize("name", HOSTILE_ADAPTERS)
def test_a_hostile_adapter_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    folder, model = adapter_in(tmp_path / "hostile"), tiny_model("llama")
    HOSTILE_ADAPTERS[name](folder)

    def attach() -> None:
        with saved_adapter(model, folder):
            pass

    assert "hostile" in assert_told(attach)


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt_tuning_init": "TEXT", "prompt_tuning_init_text": None, "tokenizer_name_or_path": None},
        {"base_model_name_or_path": "hostile", "revision": "main", "inference_mode": False},
        {"auto_mapping": {"base_model_class": "Own", "parent_library": "own"}},
    ],
)
def test_nothing_that_an_adapter_names_is_opened(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for kind in (AutoTokenizer, AutoModelForCausalLM, AutoConfig):
        monkeypatch.setattr(kind, "from_pretrained", lambda *given, **_: pytest.fail(f"opened {given}"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *given, **_: pytest.fail(f"fetched {given}"))
    folder, model = adapter_in(tmp_path / "adapter", "prompt"), tiny_model("llama")
    adapted(**changes)(folder)
    with saved_adapter(model, folder):
        pass
    assert not (tmp_path / "ran").exists()


def test_a_text_that_an_adapter_begins_from_needs_a_tokenizer_and_is_refused(tmp_path: Path) -> None:
    folder, model = adapter_in(tmp_path / "hostile", "prompt"), tiny_model("llama")
    adapted(prompt_tuning_init_text="a", tokenizer_name_or_path=str(save_tiny_model(tmp_path / "own")))(folder)
    with pytest.raises(UserError, match="not supported"), saved_adapter(model, folder):
        pass


# Chat templates

TEMPLATES = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "raises": "{{ raise_exception('no\nsystem') }}",
    "names what is not there": "{{ messages[0].content.nothing.more }}",
    "calls itself": "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    "is no template": "{% if %}",
    "reaches out": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("in_a_thread", [False, True])
def test_a_hostile_chat_template_is_refused_in_one_line(
    name: str, in_a_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ia2.prompts.prompt.TEMPLATE_SECONDS", 0.5)
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATES[name]
    prompt = Prompt((), Example(0, "Input: France\nOutput:", " Paris"))

    def render() -> object:
        return PromptTokenizer(tokenizer, chat=True).prompt(prompt)

    with ThreadPoolExecutor(1) as pool:
        message = assert_told(pool.submit(render).result if in_a_thread else render)
    assert "chat_template" in message
