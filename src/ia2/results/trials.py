"""What was trained, and what was chosen of it: every hyper-parameter that was tried, evaluated or not."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ia2.config import TrainConfig
from ia2.results.label import details, in_order, style_of
from ia2.results.records import Record
from ia2.results.runs import TrainedRun
from ia2.results.select import HYPERPARAMETERS, HyperParameters, Selection, cell_of, hyperparameters_of

NOT_TOLD = {"training_method", "dataset", "run_idx", *HYPERPARAMETERS}
"""Fields that have columns of their own."""

Key = tuple[str, HyperParameters]
"""A cell and one value of its hyper-parameters."""


@dataclass(frozen=True)
class Trial:
    """The runs of one value of the hyper-parameters; `details` tell it from others of its method and dataset.

    `dev_loss` is the mean over the runs of what hyper-parameters are judged by, NaN where a run lacks it; `chosen` is
    whether its results are shown.
    """

    method: str
    dataset: str
    details: str
    hyperparameters: HyperParameters
    run_indices: tuple[int, ...]
    dev_loss: float
    evaluated_on: tuple[str, ...]
    chosen: bool

    @property
    def label(self) -> str:
        return style_of(self.method).label


def trials(runs: Iterable[TrainedRun], selection: Selection, records: Sequence[Record]) -> list[Trial]:
    """Every trial, in the order of the methods' table; `records` are all there are, not only those of the selection."""
    tried: dict[Key, list[TrainedRun]] = {}
    for run in runs:
        tried.setdefault(_key(run.config), []).append(run)
    evaluated: dict[Key, set[str]] = {}
    for record in records:
        if record.run:
            evaluated.setdefault(_key(record.run), set()).add(record.settings.eval_dataset)
    shown = {_key(record.run) for record in selection.records if record.run}
    told = _details({cell: members[0].config for (cell, _), members in tried.items()})
    found = [
        _trial(members, told[key[0]], tuple(sorted(evaluated.get(key, ()))), key in shown)
        for key, members in tried.items()
    ]
    return sorted(
        found, key=lambda one: (one.dataset, style_of(one.method).order, in_order(one.details), one.hyperparameters)
    )


def _key(config: TrainConfig) -> Key:
    return cell_of(config), hyperparameters_of(config)


def _trial(members: Sequence[TrainedRun], details: str, evaluated_on: tuple[str, ...], chosen: bool) -> Trial:
    config = members[0].config
    losses = [math.nan if run.selection_loss is None else run.selection_loss for run in members]
    return Trial(
        method=config.training_method,
        dataset=config.dataset,
        details=details,
        hyperparameters=hyperparameters_of(config),
        run_indices=tuple(sorted(run.config.run_idx for run in members)),
        dev_loss=float(np.mean(losses)),
        evaluated_on=evaluated_on,
        chosen=chosen,
    )


def _details(configs: Mapping[str, TrainConfig]) -> dict[str, str]:
    """For each cell the fields in which it differs from others of its method and dataset."""
    fields = [
        {name: value for name, value in config.relevant_fields().items() if name not in NOT_TOLD}
        for config in configs.values()
    ]
    told = details(fields, [(config.training_method, config.dataset) for config in configs.values()])
    return dict(zip(configs, told, strict=True))
