"""Where artefacts live, how they are named, and how they are written so that nothing half-made ever counts.

A file or folder is written under a temporary name beginning with a dot and then renamed; readers skip such names.
Names are for people: nothing parses one. What a folder holds is said by the config.json inside it.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from ia2.config import LOW_DATA_FIELDS, Config, TrainConfig
from ia2.errors import UserError

LONGEST_TAIL = 200
LONGEST_NAME = 230
"""File systems take 255 bytes, of which an ending and a temporary name need some."""


def root_of(config: Config) -> Path:
    """`--root`, else $IA2_ROOT, else the parent of this repository's scripts/ if that is here, else this folder."""
    if config.root is not None:
        return config.root
    if "IA2_ROOT" in os.environ:
        return Path(os.environ["IA2_ROOT"])
    here = Path.cwd()
    in_scripts = here.name == "scripts" and (here / "train_unified.py").exists()
    return here.parent if in_scripts else here


# Reading and writing


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON is any value
    """The value in a JSON file; UserError names the file where it is missing, cut or malformed."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); mend it, or delete it to have it made again") from None


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; UserError where it holds something else too."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path} holds {type(value).__name__}, not an object; delete it to have it made again")
    return value


def json_text(value: Any) -> str:  # noqa: ANN401
    """The JSON text that we write everywhere: the same bytes for the same value."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401
    """Write a value as JSON, whole or not at all."""
    with writing(path) as temporary:
        temporary.write_text(json_text(value), encoding="utf-8")


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary name for `path`, a file or a folder, that replaces it only if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{_beginning(path.name, 150)}.{os.getpid()}.tmp")
    remove(temporary)
    try:
        yield temporary
        _flush(temporary)
        if temporary.is_dir():
            remove(path)
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    except Exception as error:
        if told := re.search(r"\(os error (\d+)\)", str(error)):  # what is written in Rust has errors of its own
            raise OSError(int(told[1]), os.strerror(int(told[1])), str(path)) from error
        raise
    finally:
        remove(temporary)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time makes what belongs at `path`; leftovers of killed ones are swept first.

    A thread that holds it already, or has `claimed` it, goes straight on.
    """
    lock = _lock_of(path)
    with lock:
        _sweep(lock, path)
        yield


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """`locked` without waiting: yields whether it is ours, or another process is at it."""
    lock = _lock_of(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        _sweep(lock, path)
        yield True
    finally:
        lock.release()


def _lock_of(path: Path) -> BaseFileLock:
    """One lock for each path of this process, so that who holds it can take it again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(_lock_path(path), is_singleton=True)


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{_beginning(path.name, 150)}.lock")


def locked_by(lock: Path) -> Path:
    """What a lock file locks, by as much of its name as the lock holds."""
    return lock.with_name(lock.name[1:].removesuffix(".lock"))


def _sweep(lock: BaseFileLock, path: Path) -> None:
    """Remove what was left by processes that are gone, unless we are at it ourselves already."""
    if lock.lock_counter == 1:
        for leftover in [*temporaries(path), *path.glob(".*.tmp")]:
            remove(leftover)


def temporaries(path: Path) -> list[Path]:
    """What processes are writing, or have left, that would become `path`."""
    return list(path.parent.glob(f".{_escaped(_beginning(path.name, 150))}.*.tmp"))


def is_locked(path: Path) -> bool:
    """Whether a process is making what belongs at `path` just now."""
    if not _lock_path(path).exists():
        return False
    try:
        with FileLock(_lock_path(path), timeout=0):
            return False
    except Timeout:
        return True


def _escaped(name: str) -> str:
    return name.replace("[", "[[]")


def _flush(path: Path) -> None:
    """Make the disk hold what was written before the rename makes it count."""
    for file in [path] if path.is_file() else [entry for entry in path.rglob("*") if entry.is_file()]:
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# Digests


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def value_digest(value: Any) -> str:  # noqa: ANN401
    """A short digest of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:20]


# Places


def pool_path(root: Path, dataset: str) -> Path:
    """Where a prepared dataset lies."""
    return root / "data" / dataset / "main.json"


def split_path(root: Path, dataset: str, num_train_examples: int, run_idx: int) -> Path:
    """Where the split of (N, run) lies."""
    return root / "data" / dataset / "train" / f"{num_train_examples}_{run_idx}.json"


def fixed_path(root: Path, dataset: str, num_train_examples: int, run_idx: int) -> Path:
    """Where the split of (N, run) with one list of demonstrations lies."""
    return root / "data" / dataset / "train_fixed" / f"{num_train_examples}_{run_idx}.json"


def shuffled_path(root: Path, dataset: str, draw: tuple[int, int], num_shuffles: int) -> Path:
    """Where the split of (N, run) with demonstrations in several orders lies."""
    return root / "data" / dataset / "train" / f"shuffled_{num_shuffles}_{draw[0]}_{draw[1]}.json"


def low_data_path(root: Path, dataset: str, sizes: tuple[int, int, int], run_idx: int) -> Path:
    """Where the low-data split of (N, M, K) and run lies."""
    return root / "data" / f"{dataset}-ldr" / "train" / f"{'_'.join(map(str, (*sizes, run_idx)))}.json"


def split_file(root: Path, config: TrainConfig) -> Path:
    """Where the split that a run trains on lies."""
    if config.ldr_mode:
        return low_data_path(root, config.dataset, config.low_data_sizes, config.run_idx)
    draw = config.num_train_examples, config.run_idx
    match config.demo_type:
        case "fixed":
            return fixed_path(root, config.dataset, *draw)
        case "shuffled":
            return shuffled_path(root, config.dataset, draw, config.num_shuffles)
        case "unique":
            return split_path(root, config.dataset, *draw)


def splits_on_disk(root: Path, dataset: str) -> list[tuple[int, int]]:
    """(N, run) of every split {N}_{run}.json of a dataset."""
    names = (file.stem.split("_") for file in (root / "data" / dataset / "train").glob("*.json"))
    return sorted((int(parts[0]), int(parts[1])) for parts in names if len(parts) == 2 and all(map(str.isdigit, parts)))


def targets_folder(root: Path, digest: str) -> Path:
    """Where the teacher targets of that digest lie."""
    return root / "outputs" / "targets" / digest


def run_folder(root: Path, config: TrainConfig) -> Path:
    """The folder of a run whose num_generated_tokens is resolved."""
    return root / "outputs" / config.training_method / config.dataset / run_name(config)


def evaluations_folder(root: Path, method: str, dataset: str, uncertainty: bool) -> Path:
    """Where records of a method (or base) trained on a dataset lie."""
    return root / "outputs" / "evaluations" / (f"{method}_uncertainty" if uncertainty else method) / dataset


def run_folders(root: Path) -> list[Path]:
    """Every finished run below `root`, in order of path."""
    outputs = root / "outputs"
    folders = (file.parent for file in outputs.glob("*/*/*/adapter_config.json"))
    return sorted(folder for folder in folders if not folder.name.startswith(".") and (folder / "config.json").exists())


# Names


def short_model_name(model_id: str) -> str:
    """The last part of a model id, as names show it: `Qwen/Qwen3-4B-Base` is `Qwen3-4B-Base`."""
    return Path(model_id.rstrip("/")).name.removesuffix(".gguf")


def run_name(config: TrainConfig) -> str:
    """The published name, and a tail for every other field that decides the result and is not at its default."""
    fields = [short_model_name(config.model_id), *_adapter_part(config), config.num_generated_tokens]
    fields += [config.num_labels, config.lr, config.run_idx, *_low_data_part(config), *_variant_part(config)]
    return fitting_name("_".join(map(str, fields)) + _tail(config))


def _low_data_part(config: TrainConfig) -> list[Any]:
    return [f"ldr{'_'.join(map(str, config.low_data_sizes))}"] if config.ldr_mode else []


def _adapter_part(config: TrainConfig) -> list[Any]:
    match config.method.adapter:
        case "lora":
            return [config.lora_type, config.lora_r, config.lora_alpha]
        case "ia3":
            return ["ia3", config.ia3_type]
        case adapter:
            return [adapter, config.num_virtual_tokens]


def _variant_part(config: TrainConfig) -> list[Any]:
    match config.method.variant:
        case "act":
            return []
        case "tna":
            return [config.ce_loss_weight]
        case "tokl":
            return ["icl_outputs"] + ([f"topk{config.tokl_top_k}"] if config.tokl_top_k != "all" else [])
        case _:
            return [config.label_type]


NAMED_FIELDS = LOW_DATA_FIELDS | {
    *("training_method", "dataset", "model_id", "num_generated_tokens", "num_train_examples", "lr", "run_idx"),
    *("lora_type", "lora_r", "lora_alpha", "ia3_type", "num_virtual_tokens"),
    *("label_type", "tokl_top_k", "ce_loss_weight"),
}


def _tail(config: TrainConfig) -> str:
    told = config.applicable().keys() - NAMED_FIELDS
    return name_tail({key: value for key, value in config.changed().items() if key in told})


def fitting_name(name: str) -> str:
    """The name, or its beginning and a digest of it where no file could be called so."""
    fits = len(name.encode()) <= LONGEST_NAME
    return name if fits else f"{_beginning(name, LONGEST_NAME - 21)}+{value_digest(name)}"


def _beginning(name: str, num_bytes: int) -> str:
    """As many characters of the name as take so many bytes at most."""
    return name.encode()[:num_bytes].decode(errors="ignore")


def name_tail(fields: dict[str, Any]) -> str:
    """`+field=value` for each field, or a digest of them all where that would be too long for a name."""
    tail = "".join(f"+{key}={str(value).replace('/', '-')}" for key, value in fields.items())
    return tail if len(tail) <= LONGEST_TAIL else f"+{value_digest(fields)}"
