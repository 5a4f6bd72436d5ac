"""Adapters through PEFT: made, attached to a base model, saved, loaded and taken off again.

All train in float32 under whatever the base model is in. An adapter is attached within a context and leaves the base
model bit-equal, so that one loaded model serves any number of runs. LoRA is trained through `stacked_lora`, and read
through PEFT as the others are.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from peft import (
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    PromptTuningInit,
    TaskType,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from ia2 import store
from ia2.config import TrainConfig
from ia2.errors import UserError, library_errors
from ia2.models.architecture import architecture_of
from ia2.models.model_files import json_object
from ia2.models.placement import ran_out_of_memory, stand_ins
from ia2.models.virtual_tokens import begin_with_words

SPLIT = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "g": "mlp.gate_proj",
    "u": "mlp.up_proj",
    "d": "mlp.down_proj",
}
FUSED: dict[str, dict[str, str]] = {
    "phi3": {
        "qkv": "self_attn.qkv_proj",
        "o": "self_attn.o_proj",
        "gu": "mlp.gate_up_proj",
        "d": "mlp.down_proj",
    },
    "gpt2": {"qkv": "attn.c_attn", "o": "attn.c_proj", "u": "mlp.c_fc", "d": "mlp.c_proj"},
    "gpt_neox": {
        "qkv": "attention.query_key_value",
        "o": "attention.dense",
        "u": "mlp.dense_h_to_4h",
        "d": "mlp.dense_4h_to_h",
    },
}


def target_modules(model: PreTrainedModel, letters: str) -> list[str]:
    """The projections that `letters` (of q k v o g u d) mean in this architecture.

    Raises UserError where the model has no such projection, or has it fused with one that was not asked for.
    """
    architecture_of(model)
    names = FUSED.get(model.config.model_type, SPLIT)
    chosen = [group for group in names if set(group) <= set(letters)]
    missing = set(letters) - set("".join(chosen))
    if missing:
        raise UserError(
            f"the projection letters {letters!r} cannot be had on a {model.config.model_type} model "
            f"(no separate {' '.join(sorted(missing))}); what it has: {', '.join(names)}"
        )
    return [names[group] for group in chosen]


def peft_config(model: PreTrainedModel, config: TrainConfig) -> PeftConfig:
    """PEFT's description of the adapter that a run trains."""
    match config.method.adapter:
        case "lora":
            return LoraConfig(
                task_type=TaskType.CAUSAL_LM,
                r=config.lora_r,
                lora_alpha=config.lora_alpha,
                lora_dropout=0.0,
                target_modules=target_modules(model, config.lora_type),
                fan_in_fan_out=model.config.model_type == "gpt2",
            )
        case "ia3":
            targets = target_modules(model, config.ia3_type)
            down = target_modules(model, "d")
            return IA3Config(
                task_type=TaskType.CAUSAL_LM,
                target_modules=targets,
                feedforward_modules=[name for name in targets if name in down],
                fan_in_fan_out=model.config.model_type == "gpt2",
            )
        case "prompt":
            return PromptTuningConfig(
                task_type=TaskType.CAUSAL_LM,
                num_virtual_tokens=config.num_virtual_tokens,
                prompt_tuning_init=PromptTuningInit.RANDOM,  # and then from words
            )
        case "prefix":
            return PrefixTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=config.num_virtual_tokens)


@contextmanager
def new_adapter(model: PreTrainedModel, config: PeftConfig, seed: int) -> Iterator[PeftModel]:
    """`model` with a fresh adapter, initialised from `seed` alone; the base is as before when the context ends."""
    with _bare_afterwards(model):
        with _drawing_from(model, seed):
            with warnings.catch_warnings(), stand_ins(model):  # peft reads an attribute that is on its way out
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
                adapted = get_peft_model(model, config)
            if config.is_prompt_learning:
                begin_with_words(adapted)
        adapted.eval()
        yield adapted


@contextmanager
def _drawing_from(model: PreTrainedModel, seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices={weight.device for weight in model.parameters() if weight.is_cuda}):
        torch.manual_seed(seed)
        yield


@contextmanager
def saved_adapter(model: PreTrainedModel, folder: Path, trainable: bool = False) -> Iterator[PeftModel]:
    """`model` with the adapter in `folder`, to be read with unless it is to be trained further.

    Raises UserError where the folder holds none that fits.

    PEFT's own loading will not train virtual tokens further, leaves its layers in the base where it fails half-way,
    and drops or skips weights of another model without an error.
    """
    with adapter_errors(folder, model), ExitStack() as stack:
        config, weights = store.read_steadily(folder, lambda: read_adapter(folder))
        adapted = stack.enter_context(new_adapter(model, config, seed=0))
        _fill(adapted, weights)
        taken_off_later = stack.pop_all()
    with taken_off_later:
        if not trainable:
            adapted.requires_grad_(False)
        yield adapted


def saved_config(model: PreTrainedModel, folder: Path) -> PeftConfig:
    """PEFT's description of the adapter in `folder`; UserError where there is none."""
    with adapter_errors(folder, model):
        return read_adapter(folder)[0]


PLAIN_FIELDS: dict[str, tuple[Callable[..., PeftConfig], set[str]]] = {
    "LORA": (LoraConfig, {"r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "fan_in_fan_out"}),
    "IA3": (IA3Config, {"target_modules", "feedforward_modules", "fan_in_fan_out"}),
    "PROMPT_TUNING": (PromptTuningConfig, {"num_virtual_tokens"}),
    "PREFIX_TUNING": (PrefixTuningConfig, {"num_virtual_tokens"}),
}
"""Fields that are read of an adapter_config.json, by its peft_type."""
OF_NO_EFFECT = {
    *("peft_type", "task_type", "peft_version", "base_model_name_or_path", "revision", "inference_mode"),
    *("auto_mapping", "init_lora_weights", "init_ia3_weights", "prompt_tuning_init"),
    *("token_dim", "num_transformer_submodules", "num_attention_heads", "num_layers", "encoder_hidden_size"),
}
"""Fields about the origin and the start of an adapter, or taken from the model."""


def read_adapter(folder: Path) -> tuple[PeftConfig, dict[str, Tensor]]:
    """The adapter in `folder`; OSError or ValueError where it is not whole."""
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"there is no file {name}")
    if store.description_path(folder).exists():
        store.read_description(folder)
    config, weights = _plain_config(folder), load_file(folder / "adapter_model.safetensors")
    size = getattr(config, "r", None) or getattr(config, "num_virtual_tokens", None)
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise ValueError(f"its weights {name} hold NaN or infinity")
        if size is not None and size not in weight.shape:
            raise ValueError(f"its weights {name} have the shape {tuple(weight.shape)}, not of size {size}")
    return config, weights


def _plain_config(folder: Path) -> PeftConfig:
    """The description in adapter_config.json, from its plain fields alone.

    PEFT's own reading opens what the file names: tokenizers, modules, pickles. ValueError where a field that is not
    read here is not at its default, since it could change what the adapter computes.
    """
    written = json_object(folder / "adapter_config.json")
    if written.get("peft_type") not in PLAIN_FIELDS:
        raise ValueError(f"peft_type is {written.get('peft_type')!r}; valid: {', '.join(PLAIN_FIELDS)}")
    kind, plain = PLAIN_FIELDS[written["peft_type"]]
    fields: dict[str, Any] = {name: value for name, value in written.items() if name in plain}
    for name, value in fields.items():
        if name.endswith("_modules") and isinstance(value, list) and all(isinstance(one, str) for one in value):
            fields[name] = set(value)
        elif name.endswith("_modules") or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{name} is {value!r}")
    config = kind(task_type=TaskType.CAUSAL_LM, **fields)
    for name in written.keys() - plain - OF_NO_EFFECT:
        if written[name] not in (getattr(config, name, None), None, False, [], {}):
            raise ValueError(f"{name} is {written[name]!r}, which is not supported here")
    return config


@contextmanager
def adapter_errors(folder: Path, model: PreTrainedModel) -> Iterator[None]:
    """UserError that names the folder, for whatever goes wrong with what it holds, but for a lack of memory."""
    kind = model.config.model_type
    with library_errors(
        lambda why: (
            f"{folder}: no adapter that loads on this {kind} model ({why}); give the folder of a trained run, "
            "and the model it was trained on"
        ),
        ran_out_of_memory,
    ):
        yield


def _fill(adapted: PeftModel, weights: dict[str, Tensor]) -> None:
    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
    if wanted != weights.keys():
        raise ValueError(f"its weights are not those of this model, for instance {min(wanted ^ weights.keys())}")
    set_peft_model_state_dict(adapted, weights)


@contextmanager
def _bare_afterwards(base: PreTrainedModel) -> Iterator[None]:
    """Nothing of peft's stays in the base, not even what it had put there when memory ran out."""
    try:
        yield
    finally:
        _unwrap(base)
        base.__dict__.pop("peft_config", None)
        base.eval().requires_grad_(False)


def _unwrap(base: nn.Module) -> None:
    """Put the base's own layers back in place of peft's around them.

    peft's `unload` would leave in memory a copy of every weight under them that is on the disk.
    """
    for name, module in list(base.named_modules()):
        if isinstance(module, BaseTunerLayer):
            base.set_submodule(name, module.get_base_layer())


def save_adapter(adapted: PeftModel, folder: Path, model_id: str) -> None:
    """Write a plain PEFT folder: adapter_config.json and adapter_model.safetensors."""
    adapted.active_peft_config.base_model_name_or_path = model_id
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def trainable_parameters(adapted: PeftModel) -> dict[str, Tensor]:
    """The live parameters of the adapter by their name in the model."""
    return {name: parameter for name, parameter in adapted.named_parameters() if parameter.requires_grad}


class SingleAdapter:
    """The adapter of a PEFT model, with the surface of `StackedLora`: other kinds than LoRA train one at a time."""

    def __init__(self, model: PeftModel) -> None:
        self.model = model

    def parameters(self, run: int) -> list[Tensor]:
        """The tensors that the optimizer of the only run, 0, moves."""
        assert run == 0
        return list(trainable_parameters(self.model).values())

    def num_parameters(self, run: int) -> int:
        """The number of its weights."""
        return sum(parameter.numel() for parameter in self.parameters(run))

    def rows(self, _counts: Mapping[int, int]) -> AbstractContextManager[None]:
        """Nothing: the adapter is a part of the model."""
        return nullcontext()

    def save(self, _run: int, folder: Path, model_id: str) -> None:
        """Write it as a plain PEFT folder."""
        save_adapter(self.model, folder, model_id)
