"""Trained runs as the report sees them: configuration, dev loss and loss history, read from the run folders.

Selection needs every candidate that was trained, also those that were never evaluated, so runs are read from their
folders; a run whose folder has gone is still known from its evaluation record.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from ia2.config import TrainConfig, as_stored
from ia2.errors import UserError
from ia2.methods import VARIANTS
from ia2.results.records import Record
from ia2.store import read_description, read_object, run_folders
from ia2.store.measurements import Examined, Problem, tell


@dataclass(frozen=True)
class TrainedRun:
    """A finished run. `dev_loss` is that of the weights that were saved: the best, or the last with keep=last.

    `dev_losses` are the unweighted losses that it is made of; None for a run that is older than they are. `seconds` is
    the time of the phases that it was trained in itself; `costs.seconds_to_train` adds that of the run it starts from.
    """

    config: TrainConfig
    dev_loss: float | None
    folder: Path | None = None
    dev_losses: Mapping[str, float] | None = None
    seconds: float | None = None

    @property
    def key(self) -> str:
        """The configuration as one text, equal exactly for equal configurations."""
        return config_key(self.config)

    @property
    def selection_loss(self) -> float | None:
        """The dev loss that its hyper-parameters are judged by, None where it was not measured.

        Where a weight joins two losses, as in `tna`, the sum is another loss for every weight; one of them is taken.
        """
        one = VARIANTS[self.config.method.variant].selection_loss
        return self.dev_loss if one is None else (self.dev_losses or {}).get(one)


def config_key(config: TrainConfig, without: Iterable[str] = ()) -> str:
    """Every field that decides this method's result, as canonical JSON, except those named in `without`."""
    dropped = set(without)
    fields = {name: value for name, value in config.relevant_fields().items() if name not in dropped}
    return json.dumps(fields, sort_keys=True)


def read_runs(root: Path, records: Iterable[Record] = ()) -> tuple[TrainedRun, ...]:
    """Every finished run below `root`, and the runs that only `records` know; what is damaged is named and left out."""
    examined = examine_runs(root, records)
    tell(examined.problems)
    return examined.found


def examine_runs(root: Path, records: Iterable[Record] = ()) -> Examined[TrainedRun]:
    """Every finished run below `root`, the runs that only `records` know, and the folders that are damaged."""
    outcomes = list(map(_read_run, run_folders(root)))
    runs = {run.key: run for run in outcomes if isinstance(run, TrainedRun)}
    for record in records:
        if record.run is not None and record.train is not None:
            run = _run(record.run, record.train.model_dump())
            runs.setdefault(run.key, run)
    return Examined(tuple(runs.values()), tuple(one for one in outcomes if isinstance(one, Problem)))


def read_history(run: TrainedRun) -> pd.DataFrame:
    """The run's history.jsonl: step, epoch, phase, train_loss, dev_loss, seconds; what a line lacks is NaN."""
    columns = ["step", "epoch", "phase", "train_loss", "dev_loss", "seconds"]
    path = run.folder / "history.jsonl" if run.folder else None
    if path is None or not path.exists():
        return pd.DataFrame(columns=columns)
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except ValueError as error:
        raise UserError(f"{path} is not JSON lines ({error}); delete the run's folder to train it again") from None
    told = {name: [line.get(name) for line in lines] for name in columns}
    return pd.DataFrame(told | {name: np.array(told[name], dtype=np.float64) for name in columns[3:]})


def _read_run(folder: Path) -> TrainedRun | Problem:
    try:
        config = as_stored(TrainConfig.model_validate(read_description(folder, tensors=False)["config"]))
        return _run(config, read_object(folder / "final_loss_statistics.json"), folder)
    except (KeyError, TypeError, ValidationError, UserError) as error:
        return Problem(folder, " ".join(str(error).split()))


def _run(config: TrainConfig, outcome: dict[str, Any], folder: Path | None = None) -> TrainedRun:
    saved = outcome.get("final_dev_loss" if config.keep == "last" else "best_dev_loss")
    phases = outcome.get("phases") or {"last": outcome}  # records, and runs older than the phases, have one number
    seconds = [phase.get("seconds") for phase in phases.values()]
    return TrainedRun(
        config, saved, folder, outcome.get("dev_losses"), None if None in seconds else float(sum(filter(None, seconds)))
    )
