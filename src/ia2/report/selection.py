"""Which hyper-parameters are shown, and what their runs come to.

Per cell (every field of the configuration but the hyper-parameters and the run) the candidate of lowest mean dev loss
over runs is chosen, once, and kept for every evaluation set; no evaluation score enters. Fields are compared, never
names. A mean over different configurations is no mean over runs, so what differs in any field is aggregated apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ia2.config import HpSelection, TrainConfig
from ia2.errors import UserError
from ia2.report.results import MEASURED, Record, tidy
from ia2.report.runs import TrainedRun, config_key

HYPERPARAMETERS = ("lr",)
RUN_FIELDS = ("run_idx", "train_run_idx")
MEANS = ("labels_train", "labels_dev", "train_seconds", "adapter_bytes")
"""Outcomes of the runs that an aggregate carries, averaged."""


@dataclass(frozen=True)
class Candidate:
    """One value of the hyper-parameters within a cell; `dev_loss` is the mean over `run_indices`, if measured.

    `accuracy`, the mean on an evaluation set, is there where that was chosen by.
    """

    lr: float
    dev_loss: float | None
    run_indices: tuple[int, ...]
    accuracy: float | None = None


@dataclass(frozen=True)
class Choice:
    """The candidate that a cell is shown with, out of `candidates`; for one evaluation set, or (None) for all."""

    cell: str
    chosen: Candidate
    candidates: tuple[Candidate, ...]
    eval_dataset: str | None = None

    @property
    def rule(self) -> str:
        """How it was chosen, for captions."""
        if len(self.candidates) == 1:
            return f"{self.chosen.lr:g}, the only one trained"
        tried = ", ".join(f"{candidate.lr:g}" for candidate in self.candidates)
        runs = len(self.chosen.run_indices)
        if self.chosen.accuracy is not None:
            return f"{self.chosen.lr:g}, of highest accuracy on this very evaluation set (as published) among {tried}"
        return f"{self.chosen.lr:g}, of lowest mean dev loss over {runs} run{'s' if runs > 1 else ''} among {tried}"

    def accepts(self, config: TrainConfig) -> bool:
        """Whether `config` is of this cell and has the chosen hyper-parameters."""
        return cell_of(config) == self.cell and config.lr == self.chosen.lr

    def concerns(self, record: Record) -> bool:
        """Whether `record` is of this cell and of the evaluation set that was chosen for."""
        same_set = self.eval_dataset in (None, record.settings.eval_dataset)
        return same_set and record.run is not None and cell_of(record.run) == self.cell


@dataclass(frozen=True)
class Selection:
    """The records that are shown, base records among them, and the choices that they rest on."""

    records: tuple[Record, ...]
    choices: tuple[Choice, ...]

    def rule_of(self, record: Record) -> str | None:
        """How this record's hyper-parameters were chosen; None for the base model, which has none."""
        return next((choice.rule for choice in self.choices if choice.concerns(record)), None)


def cell_of(config: TrainConfig) -> str:
    """The fields that runs share when they differ in nothing but hyper-parameters and run, as one text."""
    return config_key(config, without=(*HYPERPARAMETERS, "run_idx"))


def choose(runs: Sequence[TrainedRun]) -> tuple[Choice, ...]:
    """One choice per cell. UserError where the candidates of a cell have different runs, or lack a dev loss."""
    cells: dict[str, list[TrainedRun]] = {}
    for run in runs:
        cells.setdefault(cell_of(run.config), []).append(run)
    return tuple(_choose_in(cell, members) for cell, members in cells.items())


def choose_by_performance(records: Sequence[Record]) -> tuple[Choice, ...]:
    """One choice per cell and evaluation set, by accuracy on that set: the published protocol, which flatters.

    It is here so that published numbers can be compared with; wherever it is used, its rule says so.
    """
    cells: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.run is not None and "without_icl_accuracy" in record.metrics:
            cells.setdefault((cell_of(record.run), record.settings.eval_dataset), []).append(record)
    return tuple(_best_on(cell, evaluated, members) for (cell, evaluated), members in cells.items())


def _best_on(cell: str, eval_dataset: str, members: Sequence[Record]) -> Choice:
    by_lr: dict[float, list[Record]] = {}
    for record in members:
        assert record.run is not None
        by_lr.setdefault(record.run.lr, []).append(record)
    candidates = tuple(
        Candidate(
            lr,
            None,
            tuple(sorted(record.run.run_idx for record in found if record.run)),
            float(np.mean([record.metrics["without_icl_accuracy"] for record in found])),
        )
        for lr, found in sorted(by_lr.items())
    )
    return Choice(cell, max(candidates, key=lambda one: one.accuracy or 0.0), candidates, eval_dataset)


def select(
    records: Sequence[Record],
    runs: Sequence[TrainedRun],
    hp_selection: HpSelection = "dev_loss",
) -> Selection:
    """The records of chosen hyper-parameters. Only cells that were evaluated are judged; `runs` must cover them."""
    if hp_selection == "performance":
        choices = choose_by_performance(records)
    else:
        evaluated = {cell_of(record.run) for record in records if record.run}
        choices = choose([run for run in runs if cell_of(run.config) in evaluated])
    kept = [
        record
        for record in records
        if record.run is None or any(choice.concerns(record) and choice.accepts(record.run) for choice in choices)
    ]
    return Selection(tuple(kept), choices)


def aggregate(selection: Selection) -> pd.DataFrame:
    """One row per configuration, evaluation and metric: mean, sd (ddof 1, NaN for one run), n, values, records, rule.

    `values` and `records` (paths) are in order of run_idx; outcomes such as train_seconds are averaged over the runs.
    UserError where one run was measured twice with the same settings.
    """
    frame = tidy(selection.records)
    frame["rule"] = frame["record"].map({str(r.path): selection.rule_of(r) for r in selection.records})
    keys = ["metric", *(name for name in frame.columns if name not in MEASURED and name not in RUN_FIELDS)]
    if frame.empty:
        return frame
    means = [name for name in MEANS if name in frame]
    frame = frame.astype(dict.fromkeys(means, float)).sort_values("run_idx")
    cells = frame.groupby(keys, dropna=False, sort=False)
    return pd.DataFrame([dict(zip(keys, key, strict=True)) | _over_runs(cell) for key, cell in cells])


def _over_runs(cell: pd.DataFrame) -> dict[str, object]:
    """What the runs of one configuration come to in one metric; `cell` is in order of run_idx."""
    runs, records = cell["run_idx"].tolist(), cell["record"].tolist()
    twice = [record for run, record in zip(runs, records, strict=True) if runs.count(run) > 1]
    if twice:
        raise UserError(f"{twice[0]} and {twice[1]} record the same run and settings: delete one of them")
    values = cell["value"].to_numpy()
    return {
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)) if len(values) > 1 else np.nan,
        "n": len(values),
        "values": tuple(values.tolist()),
        "records": tuple(records),
        **{name: float(cell[name].mean()) if name in cell else np.nan for name in MEANS},
    }


def _choose_in(cell: str, members: Sequence[TrainedRun]) -> Choice:
    by_lr: dict[float, list[TrainedRun]] = {}
    for run in members:
        by_lr.setdefault(run.config.lr, []).append(run)
    _same_runs(by_lr)
    candidates = tuple(_candidate(lr, by_lr[lr]) for lr in sorted(by_lr))
    if len(candidates) == 1:
        return Choice(cell, candidates[0], candidates)
    unmeasured = [candidate.lr for candidate in candidates if candidate.dev_loss is None]
    if unmeasured:
        raise UserError(
            f"{_title(members[0].config)}: lr={unmeasured[0]:g} has no dev loss to choose by; "
            "train with dev examples (num_dev_examples), or keep one learning rate only"
        )
    return Choice(cell, min(candidates, key=_dev_loss), candidates)


def _same_runs(by_lr: dict[float, list[TrainedRun]]) -> None:
    indices = {lr: {run.config.run_idx for run in runs} for lr, runs in by_lr.items()}
    wanted = set().union(*indices.values())
    for lr, found in sorted(indices.items()):
        if found != wanted:
            config = by_lr[lr][0].config
            missing = ", ".join(map(str, sorted(wanted - found)))
            raise UserError(
                f"{_title(config)}: lr={lr:g} lacks run_idx {missing}, which another learning rate has; "
                "candidates are compared over the same runs, so train the missing ones"
            )


def _candidate(lr: float, runs: Sequence[TrainedRun]) -> Candidate:
    losses = [run.dev_loss for run in runs if run.dev_loss is not None]
    mean = float(np.mean(losses)) if len(losses) == len(runs) else None
    return Candidate(lr, mean, tuple(sorted(run.config.run_idx for run in runs)))


def _dev_loss(candidate: Candidate) -> float:
    """The loss to compare by; one that is not a number, of a run that diverged, is never the lowest."""
    loss = candidate.dev_loss
    return np.inf if loss is None or np.isnan(loss) else loss


def _title(config: TrainConfig) -> str:
    return f"{config.training_method} on {config.dataset} (N={config.num_labels})"
