"""Where artefacts lie below a root."""

import os
import stat
from pathlib import Path

from ia2.config import Config, TrainConfig, path_part
from ia2.errors import UserError
from ia2.store.locks import locked_path, try_lock
from ia2.store.names import run_name

DESCRIPTION = "run.json"
"""Not config.json: transformers takes a folder with that file for a whole model."""


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


def pool_path(root: Path, dataset: str) -> Path:
    """Where a prepared dataset lies."""
    return root / "data" / path_part(dataset) / "main.json"


def split_path(root: Path, dataset: str, num_train_examples: int, run_idx: int) -> Path:
    """Where the split of (N, run) lies."""
    return root / "data" / path_part(dataset) / "train" / f"{num_train_examples}_{run_idx}.json"


def fixed_path(root: Path, dataset: str, num_train_examples: int, run_idx: int) -> Path:
    """Where the split of (N, run) with one list of demonstrations lies."""
    return root / "data" / path_part(dataset) / "train_fixed" / f"{num_train_examples}_{run_idx}.json"


def shuffled_path(root: Path, dataset: str, draw: tuple[int, int], num_shuffles: int) -> Path:
    """Where the split of (N, run) with demonstrations in several orders lies."""
    return root / "data" / path_part(dataset) / "train" / f"shuffled_{num_shuffles}_{draw[0]}_{draw[1]}.json"


def low_data_path(root: Path, dataset: str, sizes: tuple[int, int, int], run_idx: int) -> Path:
    """Where the low-data split of (N, M, K) and run lies."""
    return root / "data" / f"{path_part(dataset)}-ldr" / "train" / f"{'_'.join(map(str, (*sizes, run_idx)))}.json"


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
    names = (file.stem.split("_") for file in (root / "data" / path_part(dataset) / "train").glob("*.json"))
    pairs = (parts for parts in names if len(parts) == 2 and all(map(str.isdecimal, parts)))
    return sorted((int(num_examples), int(run_idx)) for num_examples, run_idx in pairs)


def targets_folder(root: Path, digest: str) -> Path:
    """Where the teacher targets of that digest lie."""
    return root / "outputs" / "targets" / digest


def run_folder(root: Path, config: TrainConfig) -> Path:
    """The folder of a run whose num_generated_tokens is resolved."""
    return root / "outputs" / config.training_method / path_part(config.dataset) / run_name(config)


def evaluations_folder(root: Path, method: str, dataset: str | None, uncertainty: bool) -> Path:
    """Where records of a method trained on a dataset (of base: None) lie."""
    folder = root / "outputs" / "evaluations" / (f"{method}_uncertainty" if uncertainty else method)
    return folder if dataset is None else folder / path_part(dataset)


def description_path(folder: Path) -> Path:
    """The file that describes the run in `folder`: run.json, or the config.json that the first edition wrote."""
    older = folder / "config.json"
    return older if older.exists() and not (folder / DESCRIPTION).exists() else folder / DESCRIPTION


def run_folders(root: Path) -> list[Path]:
    """Every run below `root`, in order of path; one whose replacing was cut off is brought back first.

    One that lost a file is among them, for its reader to name.
    """
    outputs = root / "outputs"
    for old in outputs.glob("*/*/.*.old"):
        if os.access(old.parent, os.W_OK):
            with try_lock(locked_path(old)):
                pass
    folders = {file.parent for name in (DESCRIPTION, "adapter_config.json") for file in outputs.glob(f"*/*/*/{name}")}
    return sorted(folder for folder in folders if not folder.name.startswith(".") and description_path(folder).exists())


def is_run(folder: Path) -> bool:
    """Whether a folder holds a finished run; half of one, as the first edition could leave it, is none."""
    files = (folder / "adapter_config.json", folder / "adapter_model.safetensors", description_path(folder))
    return all(file.exists() for file in files)
