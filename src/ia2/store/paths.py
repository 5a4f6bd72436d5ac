"""Paths of artefacts below a root, and the names of runs. Names are for people: nothing parses one."""

import os
import stat
from pathlib import Path
from typing import Any

from ia2.config import LOW_DATA_FIELDS, Config, TrainConfig, path_part
from ia2.errors import UserError
from ia2.store.files import ADAPTER_FILES, DESCRIPTION, description_path, safe_filename, value_digest
from ia2.store.locks import file_lock, locked_path

LONGEST_TAIL = 200
NAMED_FIELDS = LOW_DATA_FIELDS | {
    *("training_method", "dataset", "model_id", "num_generated_tokens", "num_train_examples", "lr", "run_idx"),
    *("lora_type", "lora_r", "lora_alpha", "ia3_type", "num_virtual_tokens"),
    *("label_type", "tokl_top_k", "ce_loss_weight"),
}
"""Fields with a place in the published name."""


def resolve_root(config: Config, default: Path | None = None) -> Path:
    """`--root`, else $IA2_ROOT, else `default`, else the parent of this repository's scripts/ if that is here, else
    this folder. UserError where that is no folder, nor a place for one.
    """
    root = config.root or (Path(os.environ["IA2_ROOT"]) if "IA2_ROOT" in os.environ else default)
    if root is None:
        here = Path.cwd()
        return here.parent if here.name == "scripts" and (here / "train_unified.py").exists() else here
    try:
        if not stat.S_ISDIR(root.stat().st_mode):
            raise UserError(f"root={str(root)!r} is no folder; give another --root")
    except FileNotFoundError:  # it is made when something is written
        return root
    except (OSError, ValueError) as error:  # a loop of links, a file above it, a name that is too long or holds a NUL
        raise UserError(f"root={str(root)!r}: {getattr(error, 'strerror', error)}; give another --root") from None
    return root


# Data


def pool_path(root: Path, dataset: str) -> Path:
    """Path of a prepared dataset."""
    return root / "data" / path_part(dataset) / "main.json"


def split_path(root: Path, dataset: str, num_train_examples: int, run_idx: int, demos: str = "") -> Path:
    """Path of the split of (N, run); its `demos` are of one order each (""), `fixed`, or `shuffled_{num_shuffles}`."""
    folder = "train_fixed" if demos == "fixed" else "train"
    beginning = f"{demos}_" if demos.startswith("shuffled") else ""
    return root / "data" / path_part(dataset) / folder / f"{beginning}{num_train_examples}_{run_idx}.json"


def low_data_path(root: Path, dataset: str, sizes: tuple[int, int, int], run_idx: int) -> Path:
    """Path of the low-data split of (N, M, K) and run."""
    return root / "data" / f"{path_part(dataset)}-ldr" / "train" / f"{'_'.join(map(str, (*sizes, run_idx)))}.json"


def split_file(root: Path, config: TrainConfig) -> Path:
    """Path of the split that a run trains on."""
    if config.ldr_mode:
        return low_data_path(root, config.dataset, config.low_data_sizes, config.run_idx)
    demos = {"unique": "", "fixed": "fixed", "shuffled": f"shuffled_{config.num_shuffles}"}[config.demo_type]
    return split_path(root, config.dataset, config.num_train_examples, config.run_idx, demos)


def splits_on_disk(root: Path, dataset: str) -> list[tuple[int, int]]:
    """(N, run) of every split {N}_{run}.json of a dataset."""
    names = (file.stem.split("_") for file in (root / "data" / path_part(dataset) / "train").glob("*.json"))
    pairs = (parts for parts in names if len(parts) == 2 and all(map(str.isdecimal, parts)))
    return sorted((int(num_examples), int(run_idx)) for num_examples, run_idx in pairs)


# Outputs


def short_model_name(model_id: str) -> str:
    """The last part of a model id, as names show it: `Qwen/Qwen3-4B-Base` is `Qwen3-4B-Base`."""
    return Path(model_id.rstrip("/")).name.removesuffix(".gguf")


def run_name(config: TrainConfig) -> str:
    """The published name, and a tail for every other field that decides the result and is not at its default."""
    match config.method.adapter:
        case "lora":
            adapter = [config.lora_type, config.lora_r, config.lora_alpha]
        case "ia3":
            adapter = ["ia3", config.ia3_type]
        case other:
            adapter = [other, config.num_virtual_tokens]
    applies = config.method.fields
    variant: list[Any] = [f"ldr{'_'.join(map(str, config.low_data_sizes))}"] if config.ldr_mode else []
    variant += [config.label_type] if applies & {"label_type", "tokl_top_k"} else []
    variant += [f"topk{config.tokl_top_k}"] if "tokl_top_k" in applies and config.tokl_top_k != "all" else []
    variant += [config.ce_loss_weight] if "ce_loss_weight" in applies else []
    model, tokens = short_model_name(config.model_id), config.num_generated_tokens
    name = "_".join(map(str, [model, *adapter, tokens, config.num_labels, config.lr, config.run_idx, *variant]))
    others = config.relevant_fields().keys() - NAMED_FIELDS
    return safe_filename(name + name_tail({key: value for key, value in config.changed().items() if key in others}))


def name_tail(fields: dict[str, Any]) -> str:
    """`+field=value` for each field, or a digest of them all where that would be too long for a name."""
    tail = "".join(f"+{key}={str(value).replace('/', '-')}" for key, value in fields.items())
    return tail if len(tail) <= LONGEST_TAIL else f"+{value_digest(fields)}"


def targets_folder(root: Path, digest: str) -> Path:
    """Folder of the teacher targets of that digest."""
    return root / "outputs" / "targets" / digest


def run_folder(root: Path, config: TrainConfig) -> Path:
    """Folder of a run whose num_generated_tokens is resolved."""
    return root / "outputs" / config.training_method / path_part(config.dataset) / run_name(config)


def evaluations_folder(root: Path, method: str, dataset: str | None, uncertainty: bool) -> Path:
    """Folder of the records of a method trained on a dataset (of base: None)."""
    folder = root / "outputs" / "evaluations" / (f"{method}_uncertainty" if uncertainty else method)
    return folder if dataset is None else folder / path_part(dataset)


def run_folders(root: Path) -> list[Path]:
    """Every run below `root`, in order of path; one whose replacing was cut off is brought back first.

    One that lost a file is among them, for its reader to name.
    """
    outputs = root / "outputs"
    for old in outputs.glob("*/*/.*.old"):
        if os.access(old.parent, os.W_OK):
            with file_lock(locked_path(old)):
                pass
    folders = {file.parent for name in (DESCRIPTION, ADAPTER_FILES[0]) for file in outputs.glob(f"*/*/*/{name}")}
    return sorted(folder for folder in folders if not folder.name.startswith(".") and description_path(folder).exists())


def is_run(folder: Path) -> bool:
    """True for the folder of a finished run; half of one, as the first edition could leave it, is none."""
    return all(file.exists() for file in (*(folder / name for name in ADAPTER_FILES), description_path(folder)))
