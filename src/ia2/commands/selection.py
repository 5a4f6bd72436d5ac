"""Runs of a store that a command is about: fields of their configs are compared, never names or beginnings of names.

A folder without a readable description can be neither in nor out, so it is reported apart. Where no run is left, the
filter that left none is named, with the values before it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any, TypeVar

from ia2 import store
from ia2.commands.data_files import name_of
from ia2.config import RunFilter, TrainConfig
from ia2.errors import UserError
from ia2.methods import parse_method
from ia2.tasks import task
from ia2.training.trained_run import TrainedRun, read_trained_run

FILTERS = {
    "model_types": "training_method",
    "trained_datasets": "dataset",
    "model_id": "model_id",
    "num_examples": "num_labels",
    "run_indices": "run_idx",
    "lrs": "lr",
    "label_types": "label_type",
    "lora_types": "lora_type",
    "lora_rs": "lora_r",
    "lora_alphas": "lora_alpha",
    "ia3_types": "ia3_type",
    "num_virtual_tokens": "num_virtual_tokens",
    "ce_loss_weights": "ce_loss_weight",
    "tokl_top_ks": "tokl_top_k",
    "num_generated_tokens": "num_generated_tokens",
    "ldr_mode": "ldr_mode",
}
"""Flag of a selection -> the field of a run that it filters by."""
OF_BASE_TOO = {"trained_datasets", "model_id", "num_examples", "run_indices"}
"""Filters that say something about the base model as well: where no run passes them, it may still be meant."""


@dataclass(frozen=True)
class Selection:
    """The runs that pass every filter, the folders that cannot be read, and the filter that left no run, if one did."""

    runs: tuple[TrainedRun, ...] = ()
    unreadable: Mapping[Path, UserError] = field(default_factory=dict)
    emptied_by: str | None = None
    told: str = ""  # why no run is left

    @property
    def told_unreadable(self) -> str:
        """Addition to a message where no run is left and some could not be read."""
        return "".join(f"; one cannot be read: {error}" for error in self.unreadable.values())


def select_runs(root: Path, config: RunFilter) -> list[TrainedRun]:
    """The runs that pass every filter that was given."""
    return list(select(root, config).runs)


def select(root: Path, config: RunFilter) -> Selection:
    """Runs of the store that pass every filter that was given."""
    runs: list[TrainedRun] = []
    unreadable: dict[Path, UserError] = {}
    for folder in store.run_folders(root):
        try:
            runs.append(read_trained_run(folder))
        except UserError as error:
            unreadable[folder] = error
    filters: dict[str, tuple[Any, ...]] = {
        **{name: getattr(config, name) for name in FILTERS},
        "model_types": tuple(name for name in config.model_types if name != "base"),
        "trained_datasets": tuple(map(name_of, config.trained_datasets)),
        "model_id": (config.model_id,) if config.model_id else (),
        "ldr_mode": (True,) if config.ldr_mode else (),
    }
    for name, accepted in filters.items():
        if not accepted:
            continue
        fields, field = [run_fields(run.config) for run in runs], FILTERS[name]
        passes = [field not in of_run or of_run[field] in accepted for of_run in fields]
        if not any(passes):
            flag = f"--{name}" if accepted == (True,) else f"--{name} {' '.join(map(str, accepted))}"
            values = ", ".join(map(str, in_order(of_run[field] for of_run in fields)))
            before = f"{field} of the {len(runs)} before this filter: {values}" if runs else "it holds none"
            told = f"no trained run below {root / 'outputs'} matches {flag}; {before}"
            return Selection((), unreadable, name, told)
        runs = list(compress(runs, passes))
    return Selection(tuple(runs), unreadable)


def select_some(root: Path, config: RunFilter) -> Selection:
    """As `select`; UserError where no run is left."""
    selection = select(root, config)
    if not selection.runs:
        told = selection.told or f"no trained run below {root / 'outputs'}; `ia2 train` makes one"
        raise UserError(f"{told}{selection.told_unreadable}")
    return selection


def run_fields(run: TrainConfig) -> dict[str, Any]:
    """The fields that mean something to a run's method, and N under one name for both regimes."""
    return {**run.relevant_fields(), "num_labels": run.num_labels, "ldr_mode": run.ldr_mode}


def in_order(values: Iterable[Any]) -> list[Any]:
    """Numbers by size, then words."""
    return sorted(set(values), key=lambda value: (isinstance(value, str), value))


AnySelection = TypeVar("AnySelection", bound=RunFilter)


def by_name(root: Path, config: AnySelection) -> tuple[AnySelection, dict[str, str]]:
    """The config with datasets by their names, and how each that is evaluated or shown was given.

    UserError for methods and datasets unknown.
    """
    for method in set(config.model_types) - {"base"}:
        parse_method(method)
    fields = [field for field in ("trained_datasets", "eval_datasets", "icl_source_datasets") if hasattr(config, field)]
    given = {name_of(dataset): dataset for field in fields[1:] for dataset in getattr(config, field)}
    for name, dataset in given.items():
        if not store.pool_path(root, name).exists():
            task(dataset)  # refuses what it does not know
    return config.model_copy(update={field: tuple(map(name_of, getattr(config, field))) for field in fields}), given
