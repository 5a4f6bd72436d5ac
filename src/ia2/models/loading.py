"""A base model from wherever it is: the hub, a folder, a .gguf file, or embedded in a package.

It is loaded frozen, in evaluation mode, and stays so: dropout would make targets and losses noise. Its `parts` are
digests of its weights, tokenizer and configuration, so that what was collected from one model is never used with
another. Nothing that comes with a model is run: no code beside it, no pickle.
"""

import gc
import hashlib
import json
import logging as python_logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from ia2.config import ModelConfig, StopRule
from ia2.errors import UserError, did_you_mean, library_errors
from ia2.models.architecture import ARCHITECTURES, architecture_of
from ia2.models.generation import Stopper
from ia2.models.kernels import fuse_kernels, pack_linears
from ia2.models.model_files import (
    EMBEDDED_MODELS,
    changed_parts,
    check_plain,
    hub_snapshot,
    is_here,
    model_folder,
    parts_of,
    weight_files,
)
from ia2.models.placement import is_spread, log_placement, placement, ran_out_of_memory
from ia2.prompts.tokenization import PromptTokenizer
from ia2.sources import forget_digests, hub_resolves

OPENED: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
"""Arguments with which transformers opens a folder: it runs no code in it, and asks nobody for permission."""


@dataclass(frozen=True)
class LanguageModel:
    """A frozen base model with its tokenizer, and the id that it was requested by.

    `revision` is the hub's commit, else a digest of samples of its files; `parts` are digests of all of them. `source`
    is what `from_pretrained` takes: a hub id or an absolute folder.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    model_id: str
    revision: str
    parts: dict[str, str] = field(default_factory=dict)
    source: str = ""
    _prompt_tokenizers: dict[bool, PromptTokenizer] = field(default_factory=dict, init=False, repr=False, compare=False)
    _stoppers: dict[tuple[StopRule, bool], Stopper] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def dtype(self) -> str:
        return str(self.model.dtype).removeprefix("torch.")

    @property
    def description(self) -> dict[str, Any]:
        """The `base` of runs, records and comparisons."""
        return {"model_id": self.model_id, "revision": self.revision, "dtype": self.dtype, "parts": self.parts}

    def prompt_tokenizer(self, chat: bool = False) -> PromptTokenizer:
        """Tokenizer of prompts as plain text or as turns of the chat template (UserError without one), made once."""
        if chat not in self._prompt_tokenizers:
            embeddings = cast(torch.nn.Embedding, self.model.get_input_embeddings())
            made = PromptTokenizer(self.tokenizer, chat=chat, vocabulary=embeddings.num_embeddings)
            self._prompt_tokenizers[chat] = made
        return self._prompt_tokenizers[chat]

    def stopper(self, rule: StopRule, chat: bool = False) -> Stopper:
        """The end of a response of this model under `rule`; made once, since it looks at every token's text.

        With `chat` a turn of the chat template ends it too.
        """
        if (rule, chat) not in self._stoppers:
            eos = self.model.generation_config.eos_token_id if self.model.generation_config else None
            ends = [*(eos if isinstance(eos, list) else [eos]), self.tokenizer.eos_token_id]
            ends += self.prompt_tokenizer(chat).turn_end[-1:]
            self._stoppers[rule, chat] = Stopper(self.tokenizer, rule, [token for token in ends if token is not None])
        return self._stoppers[rule, chat]


class ModelCache:
    """Base models in memory: loads on demand and keeps the last one, so that a command over many runs loads once."""

    def __init__(self) -> None:
        self._kept: tuple[ModelConfig, LanguageModel] | None = None
        self.num_loaded = 0

    def load(self, config: ModelConfig) -> LanguageModel:
        """The model of `config`, loaded unless it is the last one and its files are unchanged."""
        wanted, model = config.base_model(), config.model_id
        if self._kept is None or self._kept[0] != wanted or changed_parts(self._kept[1].parts, parts_on_disk(model)):
            self._kept = None
            gc.collect()  # layers whose forward was replaced hold on to themselves, and to their weights
            self._kept = (wanted, load_model(wanted))
            self.num_loaded += 1
        return self._kept[1]


def load_model(config: ModelConfig) -> LanguageModel:
    """Load a base model; UserError where there is none of that name, or no such device."""
    device = requested_device(config.device)
    dtype: torch.dtype | str = "auto" if device.type == "cuda" else torch.float32
    if config.torch_dtype != "auto":
        dtype = cast(torch.dtype, getattr(torch, config.torch_dtype))
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    python_logging.getLogger("accelerate").setLevel(python_logging.ERROR)
    if config.verify:
        forget_digests()
    where = placement(config)
    with library_errors(lambda why: _not_loaded(config.model_id, why), ran_out_of_memory):
        given = model_folder(config.model_id)
        folder = Path(given) if Path(given).is_dir() else hub_snapshot(config.model_id, fetch=True)
        parts = parts_of(folder)
        described = AutoConfig.from_pretrained(folder, **OPENED)
        _check_configuration(config.model_id, described, folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, **OPENED)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **OPENED, **where
        )
        model, found = cast(tuple[PreTrainedModel, dict[str, set[str]]], loaded)
        if config.device_map is None:
            model.to(device)  # type: ignore[arg-type]  # transformers types it wrongly
        _check_loaded(model, tokenizer, found)
    architecture_of(model)
    if config.device_map is None and device.index is not None:
        torch.cuda.set_device(device)  # graphs and kernels of others go by it
    log_placement(model)
    freeze(model)
    source = str(folder.absolute()) if Path(given).is_dir() else config.model_id
    return LanguageModel(model, tokenizer, config.model_id, _revision(model, folder), parts, source)


def parts_on_disk(model_id: str) -> dict[str, str] | None:
    """The `parts` of a base model as its files are now, which is not loaded; None where there are no files here."""
    with library_errors(lambda why: _not_loaded(model_id, why)):
        if not is_here(model_id):
            return None
        folder = model_folder(model_id)
        return parts_of(Path(folder) if Path(folder).is_dir() else hub_snapshot(model_id, fetch=False))


def _check_configuration(model_id: str, described: PreTrainedConfig, folder: Path) -> None:
    """Refuse, before weights are read, what cannot be trained on, or would take for ever to build."""
    if (quantised := getattr(described, "quantization_config", None)) is not None:  # other activations than its model's
        settings = quantised if isinstance(quantised, dict) else quantised.to_dict()
        bits = "4-bit " if settings.get("load_in_4bit") or settings.get("bits") == 4 else ""
        kind = f"{bits}weights quantised by {settings.get('quant_method', 'an unknown method')}"
        raise UserError(
            f"model_id={model_id!r} holds {kind}, on which no adapter is trained here; "
            "give the model it was made from, or one in float32, bfloat16 or float16"
        )
    if hasattr(described, "transformers_weights"):
        raise ValueError(f"its config.json names other weights, {described.transformers_weights!r}: take that out")
    num_tensors = 0
    for name in weight_files(folder):
        with safe_open(folder / name, framework="pt") as file:
            num_tensors += len(file.keys())
    layers = getattr(described.get_text_config(), "num_hidden_layers", None)
    if not isinstance(layers, int) or not 0 < layers <= num_tensors:
        raise ValueError(f"its config.json has num_hidden_layers {layers!r}, its weights are {num_tensors} tensors")
    if described.model_type not in ARCHITECTURES:
        with torch.device("meta"):
            architecture_of(AutoModelForCausalLM.from_config(described, trust_remote_code=False))


@torch.no_grad()
def _check_loaded(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, found: dict[str, set[str]]) -> None:
    """Refuse a model whose files do not fit together, by its names, its numbers and two tokens that it is given."""
    if found["missing_keys"]:  # transformers would draw them at random
        raise ValueError(f"it has no weights for {min(found['missing_keys'])}")
    if found["unexpected_keys"]:
        raise ValueError(f"its config.json has no place for its weights {min(found['unexpected_keys'])}")
    for name, weight in model.named_parameters():
        if not weight.is_meta and not weight.sum(dtype=torch.float32).isfinite():
            raise ValueError(f"its weights {name} hold NaN or infinity")
    if not tokenizer("Text: a\n\n").input_ids:
        raise ValueError("its tokenizer makes no tokens of a text")
    if not any(weight.is_meta for weight in model.parameters()):
        logits = model.eval()(input_ids=torch.zeros(1, 2, dtype=torch.long, device=model.device)).logits
        if not logits.isfinite().all():
            raise ValueError("it computes NaN or infinity in this number format")


def freeze(model: PreTrainedModel) -> None:
    """Let a model answer only, as fast as its device can: nothing of it is trained or drawn at random."""
    model.eval().requires_grad_(False)
    if model.device.type == "cuda" and not is_spread(model.get_input_embeddings()):
        fuse_kernels(model)
    pack_linears(model)


def load_tokenizer(model_id: str) -> PreTrainedTokenizerBase:
    """A base model's tokenizer alone; UserError where there is no model of that name."""
    with library_errors(lambda why: _not_loaded(model_id, why), ran_out_of_memory):
        folder = model_folder(model_id)
        if is_folder := Path(folder).is_dir():
            check_plain(Path(folder))
        cached = is_folder or not hub_resolves()
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, **OPENED | {"local_files_only": cached}
        )
    return tokenizer


def _not_loaded(model_id: str, why: str) -> str:
    if not is_here(model_id) and model_id not in EMBEDDED_MODELS and not hub_resolves():
        why = "no such folder, and the hub cannot be reached"
    if "trust_remote_code" in why or "custom code" in why:
        why = "it needs code that comes with it, and no code of a model is run here"
    if "ignore_mismatched_sizes" in why:
        why = "its weights have other shapes than its config.json describes"
    return (
        f"model_id={model_id!r} could not be loaded ({why}); give a hub id, a folder, a .gguf file or one of: "
        f"{', '.join(EMBEDDED_MODELS)}{did_you_mean(model_id, EMBEDDED_MODELS)}"
    )


def requested_device(name: str) -> torch.device:
    """The device called `name`; auto is the GPU if there is one."""
    available = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    if not re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]*))?", name):
        raise UserError(f"device={name!r}: valid are auto, cpu, cuda and cuda:N")
    if name != "cpu" and int(name.removeprefix("cuda").removeprefix(":") or 0) >= available:  # torch takes 256 for 0
        raise UserError(f"device={name!r}: this machine has {available} CUDA devices; use --device auto or cpu")
    return torch.device(name)


def _revision(model: PreTrainedModel, folder: Path) -> str:
    """The hub's commit, or a digest of a local folder's configuration and weight files; the same in every dtype.

    Weights are sampled: size, and 17 stretches of 64 KiB of every file, so that 100 GB take no minutes.
    """
    if folder.parent.name == "snapshots":
        return folder.name
    described = {key: value for key, value in model.config.to_diff_dict().items() if key != "dtype"}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    kinds = ("*.safetensors", "pytorch_model*.bin", "tokenizer.json")
    for file in (file for kind in kinds for file in sorted(folder.glob(kind))):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}".encode())
        with file.open("rb") as stream:
            for part in range(17):
                stream.seek(max(0, (size - 65536) * part // 16))
                digest.update(stream.read(65536))
    return digest.hexdigest()[:40]
