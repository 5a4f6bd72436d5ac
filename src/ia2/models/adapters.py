"""Adapters through PEFT: made, attached to a base model, saved, loaded and taken off again.

All train in float32 under whatever the base model is in. An adapter is attached within a context and leaves the base
model bit-equal, so that one loaded model serves any number of runs. Several LoRA adapters may be attached at once, each
for rows of its own in a batch; a name tells them apart.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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


ALONE = "default"
"""PEFT's name for the adapter of a model that has one."""


@contextmanager
def new_adapter(model: PreTrainedModel, config: PeftConfig, seed: int, name: str = ALONE) -> Iterator[PeftModel]:
    """`model` with a fresh adapter, initialised from `seed` alone; the base is as before when the context ends."""
    with _bare_afterwards(model):
        with _drawing_from(model, seed):
            with warnings.catch_warnings(), stand_ins(model):  # peft reads an attribute that is on its way out
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
                adapted = get_peft_model(model, config, adapter_name=name)
            if config.is_prompt_learning:
                begin_with_words(adapted)
        adapted.eval()
        yield adapted


@contextmanager
def _drawing_from(model: PreTrainedModel, seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices={weight.device for weight in model.parameters() if weight.is_cuda}):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class Beginning:
    """What a run's adapter is and starts from: weights drawn from `seed`, or those of a trained run's `folder`."""

    config: PeftConfig
    seed: int
    folder: Path | None = None


@contextmanager
def trainable_adapters(
    model: PreTrainedModel, beginnings: Sequence[Beginning]
) -> Iterator[tuple[PeftModel, list[str]]]:
    """`model` with an adapter for each beginning, all trainable, and their names; several are LoRA adapters.

    Each starts from the weights that it would start from alone.
    """
    names = [ALONE] if len(beginnings) == 1 else [f"run{place}" for place in range(len(beginnings))]
    first, *others = zip(names, beginnings, strict=True)
    with new_adapter(model, first[1].config, first[1].seed, first[0]) as adapted:
        for name, beginning in others:
            with _drawing_from(model, beginning.seed), stand_ins(model):
                adapted.add_adapter(name, beginning.config)
        for name, beginning in (first, *others):
            if beginning.folder is not None:
                with _telling_of(beginning.folder, model):
                    _fill(adapted, _saved(beginning.folder)[1], name)
        if others:
            _let_all_train(adapted, names)
        yield adapted, names


def _let_all_train(adapted: PeftModel, names: Sequence[str]) -> None:
    """PEFT lets only the active adapter train."""
    for key, parameter in adapted.named_parameters():
        parameter.requires_grad_(any(_is_of(key, name) for name in names))


@contextmanager
def saved_adapter(model: PreTrainedModel, folder: Path) -> Iterator[PeftModel]:
    """`model` with the adapter in `folder`, to be read with; UserError where the folder holds none that fits.

    PEFT's own loading will not train virtual tokens further, leaves its layers in the base where it fails half-way,
    and drops or skips weights of another model without an error.
    """
    with _telling_of(folder, model), ExitStack() as stack:
        config, weights = _saved(folder)
        adapted = stack.enter_context(new_adapter(model, config, seed=0))
        _fill(adapted, weights)
        taken_off_later = stack.pop_all()
    with taken_off_later:
        adapted.requires_grad_(False)
        yield adapted


def saved_config(model: PreTrainedModel, folder: Path) -> PeftConfig:
    """PEFT's description of the adapter in `folder`; UserError where there is none."""
    with _telling_of(folder, model):
        return _saved(folder)[0]


PLAIN_FIELDS: dict[str, tuple[Callable[..., PeftConfig], set[str]]] = {
    "LORA": (LoraConfig, {"r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "fan_in_fan_out"}),
    "IA3": (IA3Config, {"target_modules", "feedforward_modules", "fan_in_fan_out"}),
    "PROMPT_TUNING": (PromptTuningConfig, {"num_virtual_tokens"}),
    "PREFIX_TUNING": (PrefixTuningConfig, {"num_virtual_tokens"}),
}
"""What is read of an adapter_config.json, by its peft_type."""
OF_NO_EFFECT = {
    *("peft_type", "task_type", "peft_version", "base_model_name_or_path", "revision", "inference_mode"),
    *("auto_mapping", "init_lora_weights", "init_ia3_weights", "prompt_tuning_init"),
    *("token_dim", "num_transformer_submodules", "num_attention_heads", "num_layers", "encoder_hidden_size"),
}
"""What says where an adapter came from or how it began, or is taken from the model."""


def _saved(folder: Path) -> tuple[PeftConfig, dict[str, Tensor]]:
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
    """What adapter_config.json describes, from its plain fields alone.

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
def _telling_of(folder: Path, model: PreTrainedModel) -> Iterator[None]:
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


def _fill(adapted: PeftModel, weights: dict[str, Tensor], name: str = ALONE) -> None:
    wanted = get_peft_model_state_dict(adapted, adapter_name=name, save_embedding_layers=False).keys()
    if wanted != weights.keys():
        raise ValueError(f"its weights are not those of this model, for instance {min(wanted ^ weights.keys())}")
    set_peft_model_state_dict(adapted, weights, adapter_name=name)


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

    peft's `unload` would leave in memory a copy of every weight under them that lies on the disk.
    """
    for name, module in list(base.named_modules()):
        if isinstance(module, BaseTunerLayer):
            base.set_submodule(name, module.get_base_layer())


def save_adapter(adapted: PeftModel, folder: Path, model_id: str, name: str = ALONE) -> None:
    """Write a plain PEFT folder: adapter_config.json and adapter_model.safetensors."""
    adapted.peft_config[name].base_model_name_or_path = model_id
    adapted.save_pretrained(str(folder), save_embedding_layers=False, selected_adapters=[name])
    (folder / "README.md").unlink(missing_ok=True)
    if name != ALONE:  # which PEFT writes into a folder of that name
        for file in (folder / name).iterdir():
            file.replace(folder / file.name)
        (folder / name).rmdir()


def trainable_parameters(adapted: PeftModel, name: str = ALONE) -> dict[str, Tensor]:
    """An adapter's live parameters by their name in the model."""
    parameters = adapted.named_parameters()
    return {key: parameter for key, parameter in parameters if parameter.requires_grad and _is_of(key, name)}


def _is_of(key: str, name: str) -> bool:
    """Whether a parameter is of the adapter of that name, which stands within its key or ends it."""
    return f".{name}." in f"{key}."


def snapshot(adapted: PeftModel, name: str = ALONE) -> dict[str, Tensor]:
    """A copy of an adapter's weights that training cannot change."""
    return {key: parameter.detach().clone() for key, parameter in trainable_parameters(adapted, name).items()}


@torch.no_grad()
def restore(adapted: PeftModel, weights: dict[str, Tensor], name: str = ALONE) -> None:
    """Put a snapshot back, bit for bit."""
    live = trainable_parameters(adapted, name)
    assert live.keys() == weights.keys()
    for key, parameter in live.items():
        parameter.copy_(weights[key])
