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
from typing import Any, cast

import torch
from peft import (
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PeftType,
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
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from ia2 import store
from ia2.config import TrainConfig
from ia2.errors import UserError, library_errors
from ia2.models.hooked_model import attention_blocks, device_of
from ia2.models.loading import json_object

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
    attention_blocks(model)  # refuses an unknown architecture
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
    try:
        with torch.random.fork_rng(devices={weight.device for weight in model.parameters() if weight.is_cuda}):
            torch.manual_seed(seed)
            with warnings.catch_warnings(), _stand_ins(model):  # peft reads an attribute that is on its way out
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
                adapted = get_peft_model(model, config)
            if config.is_prompt_learning:
                _begin_with_words(adapted)
        adapted.eval()
        yield adapted
    finally:
        # Nothing of peft's stays, not even what it had put there when memory ran out. Its own `unload` would leave in
        # memory a copy of every weight that is on the disk.
        for name, module in list(model.named_modules()):
            if isinstance(module, BaseTunerLayer):
                model.set_submodule(name, module.get_base_layer())
        model.__dict__.pop("peft_config", None)
        model.eval().requires_grad_(False)


@contextmanager
def _stand_ins(model: nn.Module) -> Iterator[None]:
    """Let weights that are placeholders seem to be on the device where they compute, without taking memory.

    peft puts the weights of an adapter beside the weight that it finds: next to a placeholder they would be lost.
    """
    away = [
        (module, name, weight)
        for module in model.modules()
        for name, weight in module.named_parameters(recurse=False)
        if weight.is_meta
    ]
    for module, name, weight in away:
        nothing = torch.empty(1, dtype=weight.dtype, device=device_of(module))
        module._parameters[name] = nn.Parameter(nothing.expand(weight.shape), requires_grad=False)
    try:
        yield
    finally:
        for module, name, weight in away:
            module._parameters[name] = weight


@torch.no_grad()
def _begin_with_words(adapted: PeftModel) -> None:
    """Start V virtual tokens from random words of the vocabulary: a prompt from their embeddings (Lester et al. 2021),
    a prefix, a table [V, 2 L H W], from their keys and values (Li and Liang 2021, section 7.4).

    PEFT's own start, N(0, 1) everywhere, is unlike anything the model has seen: from there a prefix taught SmolLM2
    nothing of `capitals` in 100 steps.
    """
    base, (table,) = cast(PreTrainedModel, adapted.get_base_model()), adapted.prompt_encoder.parameters()
    embeddings = base.get_input_embeddings()
    words = torch.randint(base.config.vocab_size, (1, len(table))).to(device_of(embeddings))
    start = embeddings(words)[0]
    if adapted.active_peft_config.peft_type == PeftType.PREFIX_TUNING:
        cache = DynamicCache()
        base.base_model(input_ids=words, past_key_values=cache, use_cache=True)
        layers = cast(list[DynamicLayer], cache.layers)
        halves = [cast(Tensor, half)[0].to(words.device) for layer in layers for half in (layer.keys, layer.values)]
        start = torch.stack(halves).permute(2, 0, 1, 3)
    table.copy_(start.reshape(table.shape))


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
        wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
        if wanted != weights.keys():
            raise ValueError(f"its weights are not those of this model, for instance {min(wanted ^ weights.keys())}")
        set_peft_model_state_dict(adapted, weights)
        taken_off_later = stack.pop_all()
    with taken_off_later:
        if not trainable:
            adapted.requires_grad_(False)
        yield adapted


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
        )
    ):
        yield


class SingleAdapter:
    """The adapter of a PEFT model, with the surface of `StackedLora`: other kinds than LoRA train one at a time.

    The only run is 0; `parameters[0]` are the tensors that its optimizer moves.
    """

    def __init__(self, model: PeftModel) -> None:
        self.model = model
        self.parameters: list[list[Tensor]] = [[one for one in model.parameters() if one.requires_grad]]
        self.num_parameters = [sum(one.numel() for one in self.parameters[0])]

    def rows(self, _counts: Mapping[int, int]) -> AbstractContextManager[None]:
        """Nothing: the adapter is a part of the model."""
        return nullcontext()

    def save(self, _run: int, folder: Path, model_id: str) -> None:
        """Write it as a plain PEFT folder: adapter_config.json and adapter_model.safetensors."""
        self.model.active_peft_config.base_model_name_or_path = model_id
        self.model.save_pretrained(str(folder), save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
