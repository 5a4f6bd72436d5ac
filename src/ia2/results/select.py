"""Which hyper-parameters are shown, and what their runs come to.

Per cell (every field of the configuration but the hyper-parameters and the run) the candidate of lowest mean dev loss
over runs is chosen, once, and kept for every evaluation set; no evaluation score enters. Fields are compared, never
names. The dev loss is the method's own, but where a weight joins two losses: `Variant.selection_loss`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from ia2.config import HpSelection, TrainConfig
from ia2.errors import UserError
from ia2.methods import VARIANTS, Loss
from ia2.results.costs import training_seconds
from ia2.results.records import Record
from ia2.results.runs import TrainedRun, config_key

Trial = TypeVar("Trial", TrainedRun, Record)

CRITERIA: dict[Loss | None, str] = {
    None: "dev loss",
    "tok": "dev cross-entropy on the teacher's tokens",
    "tokl": "dev divergence from the teacher's distributions",
}
"""A variant's selection_loss in words."""
JUDGED = (f"for {name}, {CRITERIA[row.selection_loss]}" for name, row in VARIANTS.items() if row.selection_loss)
RULES: dict[HpSelection, str] = {
    "dev_loss": f"those of lowest mean dev loss over runs ({'; '.join(JUDGED)}), chosen once for all evaluation sets",
    "performance": "those of highest accuracy on each evaluation set itself, as published, which flatters",
}


@dataclass(frozen=True, order=True)
class HyperParameters:
    """The fields that are chosen and do not tell cells apart; the weight where the method has one."""

    lr: float
    ce_loss_weight: float | None = None

    def __str__(self) -> str:
        return f"{self.lr:g}" + ("" if self.ce_loss_weight is None else f" with ce_loss_weight {self.ce_loss_weight:g}")


HYPERPARAMETERS = tuple(one.name for one in fields(HyperParameters))


@dataclass(frozen=True)
class Candidate:
    """One value of the hyper-parameters within a cell; `dev_loss` is the mean over `run_indices`, if measured.

    `accuracy`, the mean on an evaluation set, is there where that was chosen by.
    """

    hyperparameters: HyperParameters
    dev_loss: float | None
    run_indices: tuple[int, ...]
    accuracy: float | None = None

    @property
    def lr(self) -> float:
        return self.hyperparameters.lr


@dataclass(frozen=True)
class Choice:
    """The candidate that a cell is shown with, out of `candidates`; for one evaluation set, or (None) for all.

    `criterion` names the loss that the cell is judged by.
    """

    cell: str
    chosen: Candidate
    candidates: tuple[Candidate, ...]
    criterion: str
    eval_dataset: str | None = None

    @property
    def rule(self) -> str:
        """How it was chosen, for captions."""
        chosen = self.chosen.hyperparameters
        if len(self.candidates) == 1:
            return f"{chosen}, the only one trained"
        tried = ", ".join(str(candidate.hyperparameters) for candidate in self.candidates)
        runs = len(self.chosen.run_indices)
        if self.chosen.accuracy is not None:
            return f"{chosen}, of highest accuracy on this very evaluation set (as published) among {tried}"
        return f"{chosen}, of lowest mean {self.criterion} over {runs} run{'s' if runs > 1 else ''} among {tried}"

    def accepts(self, config: TrainConfig) -> bool:
        """Whether `config` is of this cell and has the chosen hyper-parameters."""
        return cell_of(config) == self.cell and hyperparameters_of(config) == self.chosen.hyperparameters


@dataclass(frozen=True)
class Selection:
    """The records that are shown, base records among them, and the choices that they rest on.

    `train_seconds` are of each trained model's run, by its record's path.
    """

    records: tuple[Record, ...]
    choices: tuple[Choice, ...]
    hp_selection: HpSelection = "dev_loss"
    train_seconds: Mapping[str, float] = field(default_factory=dict)

    def rule_of(self, record: Record) -> str | None:
        """How this record's hyper-parameters were chosen; None for the base model, which has none."""
        choice = self.choice_of(record)
        return None if choice is None else choice.rule

    def choice_of(self, record: Record) -> Choice | None:
        """The choice for this record's cell, on its evaluation set or on all."""
        if record.run is None:
            return None
        cell = cell_of(record.run)
        return self._from_place.get((cell, record.settings.eval_dataset)) or self._from_place.get((cell, None))

    @cached_property
    def _from_place(self) -> dict[tuple[str, str | None], Choice]:
        return {(choice.cell, choice.eval_dataset): choice for choice in self.choices}


def cell_of(config: TrainConfig) -> str:
    """The fields that runs share when they differ in nothing but hyper-parameters and run, as one text."""
    return config_key(config, without=(*HYPERPARAMETERS, "run_idx"))


def hyperparameters_of(config: TrainConfig) -> HyperParameters:
    """What is chosen of a configuration."""
    return HyperParameters(config.lr, config.relevant_fields().get("ce_loss_weight"))


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
        if record.run is not None and not record.control and "without_icl_accuracy" in record.metrics:
            cells.setdefault((cell_of(record.run), record.settings.eval_dataset), []).append(record)
    return tuple(_best_on(cell, evaluated, members) for (cell, evaluated), members in cells.items())


def _best_on(cell: str, eval_dataset: str, members: Sequence[Record]) -> Choice:
    candidates = tuple(
        Candidate(
            hyperparameters,
            None,
            tuple(sorted({record.run.run_idx for record in found if record.run})),
            float(np.mean([record.metrics["without_icl_accuracy"] for record in found])),
        )
        for hyperparameters, found in _by_hyperparameters(members).items()
    )
    best = max(candidates, key=lambda one: one.accuracy or 0.0)
    return Choice(cell, best, candidates, "accuracy", eval_dataset)


def _by_hyperparameters(members: Sequence[Trial]) -> dict[HyperParameters, list[Trial]]:
    """What was tried, in ascending order of the hyper-parameters."""
    tried: dict[HyperParameters, list[Trial]] = {}
    for member in members:
        config = member.config if isinstance(member, TrainedRun) else member.run
        assert config is not None, "a base record has nothing that could be chosen"
        tried.setdefault(hyperparameters_of(config), []).append(member)
    return dict(sorted(tried.items()))


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
    everything = Selection(tuple(records), choices, hp_selection, training_seconds(records, runs))
    return replace(everything, records=tuple(record for record in records if _is_chosen(record, everything)))


def _is_chosen(record: Record, selection: Selection) -> bool:
    choice = selection.choice_of(record)
    if record.run is None or choice is None:
        return record.run is None
    return hyperparameters_of(record.run) == choice.chosen.hyperparameters


def _choose_in(cell: str, members: Sequence[TrainedRun]) -> Choice:
    tried, config = _by_hyperparameters(members), members[0].config
    _same_runs(tried)
    candidates = tuple(_candidate(hyperparameters, runs) for hyperparameters, runs in tried.items())
    selection_loss = VARIANTS[config.method.variant].selection_loss
    criterion = CRITERIA[selection_loss]
    if len(candidates) == 1:
        return Choice(cell, candidates[0], candidates, criterion)
    for candidate in candidates:
        if candidate.dev_loss is None:
            remedy = ", or --retrain runs that are older than this measure" if selection_loss else ""
            raise UserError(
                f"{_title(config)}: lr={candidate.hyperparameters} has no {criterion} to choose by; "
                f"train with dev examples (num_dev_examples){remedy}, or keep one candidate only"
            )
    return Choice(cell, min(candidates, key=_dev_loss), candidates, criterion)


def _same_runs(tried: Mapping[HyperParameters, Sequence[TrainedRun]]) -> None:
    indices = {candidate: {run.config.run_idx for run in runs} for candidate, runs in tried.items()}
    wanted = set().union(*indices.values())
    for candidate, found in indices.items():
        if found != wanted:
            missing = ", ".join(map(str, sorted(wanted - found)))
            raise UserError(
                f"{_title(tried[candidate][0].config)}: lr={candidate} lacks run_idx {missing}, which another "
                "candidate has; candidates are compared over the same runs, so train the missing ones"
            )


def _candidate(hyperparameters: HyperParameters, runs: Sequence[TrainedRun]) -> Candidate:
    losses = [run.selection_loss for run in runs if run.selection_loss is not None]
    mean = float(np.mean(losses)) if len(losses) == len(runs) else None
    return Candidate(hyperparameters, mean, tuple(sorted(run.config.run_idx for run in runs)))


def _dev_loss(candidate: Candidate) -> float:
    """The loss to compare by; one that is not a number, of a run that diverged, is never the lowest."""
    loss = candidate.dev_loss
    return np.inf if loss is None or np.isnan(loss) else loss


def _title(config: TrainConfig) -> str:
    return f"{config.training_method} on {config.dataset} (N={config.num_labels})"
