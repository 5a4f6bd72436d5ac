"""Which runs a command is about: fields of their configs are compared, never names or beginnings of names.

A folder that does not say what it holds can be neither in nor out, so it is told apart. Where no run is left, the
filter that left none is named, with the values that were there before it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ia2 import store
from ia2.config import RunFilter, TrainConfig
from ia2.errors import UserError
from ia2.flows.data import name_of
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
        """What to add where no run is left and some could not be read."""
        return "".join(f"; one cannot be read: {error}" for error in self.unreadable.values())


def select_runs(root: Path, config: RunFilter) -> list[TrainedRun]:
    """The runs that pass every filter that was given."""
    return list(select(root, config).runs)


def select(root: Path, config: RunFilter) -> Selection:
    """What the store holds of the runs that `config` asks for."""
    runs, unreadable = _runs_in(root)
    for name, accepted in filters(config).items():
        left = [run for run in runs if _passes(run.config, FILTERS[name], accepted)]
        if not left:
            asked = f"--{name}" if accepted == (True,) else f"--{name} {' '.join(map(str, accepted))}"
            told = f"no trained run below {root / 'outputs'} matches {asked}; {_there(runs, FILTERS[name])}"
            return Selection((), unreadable, name, told)
        runs = left
    return Selection(tuple(runs), unreadable)


def select_some(root: Path, config: RunFilter) -> Selection:
    """The same; UserError where no run is left."""
    selection = select(root, config)
    if not selection.runs:
        told = selection.told or f"no trained run below {root / 'outputs'}; `ia2 train` makes one"
        raise UserError(f"{told}{selection.told_unreadable}")
    return selection


def _runs_in(root: Path) -> tuple[list[TrainedRun], dict[Path, UserError]]:
    runs, unreadable = [], {}
    for folder in store.run_folders(root):
        try:
            runs.append(read_trained_run(folder))
        except UserError as error:
            unreadable[folder] = error
    return runs, unreadable


def filters(config: RunFilter) -> dict[str, tuple[Any, ...]]:
    """The filters that were given, each with the values it accepts."""
    given: dict[str, tuple[Any, ...]] = {
        **{name: getattr(config, name) for name in FILTERS},
        "model_types": tuple(name for name in config.model_types if name != "base"),
        "trained_datasets": tuple(map(name_of, config.trained_datasets)),
        "model_id": (config.model_id,) if config.model_id else (),
        "ldr_mode": (True,) if config.ldr_mode else (),
    }
    return {name: accepted for name, accepted in given.items() if accepted}


def fields_of(run: TrainConfig) -> dict[str, Any]:
    """The fields that mean something to a run's method, and N under one name for both regimes."""
    return {**run.relevant_fields(), "num_labels": run.num_labels, "ldr_mode": run.ldr_mode}


def _passes(run: TrainConfig, name: str, accepted: tuple[Any, ...]) -> bool:
    fields = fields_of(run)
    return name not in fields or fields[name] in accepted


def _there(runs: list[TrainedRun], name: str) -> str:
    """The values of a field that the runs have; of them all, since they have none that passes without one."""
    if not runs:
        return "it holds none"
    values = {fields_of(run.config)[name] for run in runs}
    return f"{name} of the {len(runs)} before this filter: {', '.join(map(str, in_order(values)))}"


def in_order(values: Iterable[Any]) -> list[Any]:
    """Numbers by size, then words."""
    return sorted(set(values), key=lambda value: (isinstance(value, str), value))
