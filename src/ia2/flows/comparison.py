"""IA2 beside fine-tuning on one dataset: train `act`, `tok` and `a2t`, evaluate them and their teacher, show the page.

What the demo does to its own task, and `fit` to a person's. Every step is one that exists in the store or is made, so a
comparison that was stopped goes on where it was.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ia2 import store
from ia2.commands.evaluate import evaluate
from ia2.commands.train import resolve, train
from ia2.config import DeviceConfig, EvaluateConfig, HpSelection, Protocol, ReportConfig, TrainConfig
from ia2.errors import MachineError
from ia2.flows.reporting import page_data, write_page
from ia2.methods import LabelType
from ia2.models.loading import ModelCache
from ia2.plots import accuracy_bars
from ia2.plots.captions import accuracy_caption
from ia2.plots.drawing import MARKS, METADATA
from ia2.results.advice import Advice, advice
from ia2.results.records import Record
from ia2.results.runs import TrainedRun, config_key, read_runs
from ia2.results.select import Choice, choose
from ia2.tables import text_table

log = logging.getLogger(__name__)

METHODS: tuple[tuple[str, LabelType], ...] = (
    ("act", "icl_outputs"),
    ("tok", "ground_truth"),
    ("a2t", "ground_truth"),
)


@dataclass(frozen=True)
class Comparison:
    """What is compared, and on what."""

    root: Path
    dataset: str
    model_id: str
    num_train_examples: int
    lrs: tuple[float, ...]
    num_demonstrations: int | None = None
    """What the teacher is shown at most (None: all N)."""
    num_runs: int = 1
    num_train_epochs: int = 50
    dev_eval_steps: int = 2
    eval_datasets: tuple[str, ...] = ()
    num_eval_examples: int | None = None
    protocol: Protocol = "default"
    where: DeviceConfig = field(default_factory=DeviceConfig)

    @property
    def hp_selection(self) -> HpSelection:
        return "dev_loss" if self.protocol == "default" else "performance"


def compare(comparison: Comparison, models: ModelCache) -> None:
    """Train every method, learning rate and run, and evaluate what they come to."""
    runs = list(training_runs(comparison))
    for number, run in enumerate(runs, 1):
        log.info("[%d/%d] %s, lr %g, run %d", number, len(runs), run.training_method, run.lr, run.run_idx)
        train(run, models)
    for evaluation in evaluations(comparison):
        evaluate(evaluation, models)


def training_runs(comparison: Comparison) -> Iterator[TrainConfig]:
    """Every method, learning rate and run; `act` comes first, since `a2t` starts from it."""
    for method, label_type in METHODS:
        for lr in comparison.lrs:
            for run_idx in range(comparison.num_runs):
                yield TrainConfig(
                    root=comparison.root,
                    training_method=method,
                    label_type=label_type,
                    dataset=comparison.dataset,
                    model_id=comparison.model_id,
                    **comparison.where.placement(),
                    num_train_examples=comparison.num_train_examples,
                    num_train_epochs=comparison.num_train_epochs,
                    dev_eval_steps=comparison.dev_eval_steps,
                    lr=lr,
                    run_idx=run_idx,
                    protocol=comparison.protocol,
                )


def runs_of(comparison: Comparison) -> dict[str, TrainConfig]:
    """Its runs by their keys (`TrainedRun.key`), their data being in place: no other run of the store is one of it."""
    return {config_key(run): run for run in map(resolve, training_runs(comparison))}


def planned_runs(comparison: Comparison) -> list[TrainedRun]:
    """The runs of a comparison, read, and no others; MachineError where one of them is not there."""
    ours = runs_of(comparison)
    runs = [run for run in read_runs(comparison.root) if run.key in ours]
    if missing := ours.keys() - {run.key for run in runs}:
        folder = store.run_folder(comparison.root, ours[min(missing)])
        raise MachineError(f"{folder} has been removed since it was trained; the same command trains it again")
    return runs


def choices(comparison: Comparison) -> list[tuple[str, Choice]]:
    """Each method, and the learning rate that dev loss chose for it, of those of this comparison."""
    runs = planned_runs(comparison)
    return [
        (next(run.config.training_method for run in runs if choice.accepts(run.config)), choice)
        for choice in choose(runs)
    ]


def evaluations(comparison: Comparison) -> Iterator[EvaluateConfig]:
    """The base model with and without demonstrations, then each method at the learning rate that dev loss chose.

    The published protocol chooses by these very evaluations, so there every learning rate is evaluated.
    """
    shared = EvaluateConfig(
        root=comparison.root,
        model_id=comparison.model_id,
        **comparison.where.placement(),
        trained_datasets=(comparison.dataset,),
        eval_datasets=comparison.eval_datasets or (comparison.dataset,),
        icl_source_datasets=(comparison.dataset,),
        icl_max_demos=comparison.num_demonstrations or comparison.num_train_examples,
        num_examples=(comparison.num_train_examples,),
        run_indices=tuple(range(comparison.num_runs)),
        num_eval_examples=comparison.num_eval_examples,
        protocol=comparison.protocol,
    )
    yield shared.model_copy(update={"model_types": ("base",)})
    for method, choice in choices(comparison):
        lrs = () if comparison.protocol == "published" else (choice.chosen.lr,)
        yield shared.model_copy(update={"model_types": (method,), "lrs": lrs})


@dataclass(frozen=True)
class Shown:
    """The page, the summary rows that it shows, and what it advises."""

    page: Path
    summary: pd.DataFrame
    advice: tuple[Advice, ...]


def only_of(comparison: Comparison) -> Callable[[Record | TrainedRun], bool]:
    """Whether a record or run is of this comparison, and not of another model, N or settings in the same store."""
    ours = runs_of(comparison)
    teachers = {(run.model_id, run.dataset, run.num_labels, run.run_idx) for run in ours.values()}

    def belongs(one: Record | TrainedRun) -> bool:
        run = one.config if isinstance(one, TrainedRun) else one.run
        if run is not None or isinstance(one, TrainedRun):
            return run is not None and config_key(run) in ours
        asked = one.settings
        return (asked.model_id, asked.icl_source_dataset, asked.num_train_examples, asked.run_idx) in teachers

    return belongs


def show(root: Path, hp_selection: HpSelection = "dev_loss", of: Comparison | None = None, kept: str = "") -> Shown:
    """Print the table, write the picture and the page, and say where they are; of one comparison, or of all.

    `kept` is the method whose adapter was kept.
    """
    config, folder = ReportConfig(hp_selection=hp_selection), root / "reports"
    data = page_data(root, config, None if of is None else only_of(of), kept)
    for rows in data.groups.values():
        figure = accuracy_bars(rows, accuracy_caption(rows))
        name = store.safe_filename(f"accuracy_{rows['eval_dataset'].iloc[0]}")
        path = folder / f"{name}.png"
        with store.replacing(path, MARKS[".png"]) as temporary:
            figure.savefig(temporary, format="png", dpi=150, metadata=METADATA[".png"])
    page = write_page(data, folder / "report.html")
    print(text_table(data.summary))
    print(f"\nThe page: {page.resolve()}")
    return Shown(page, data.summary, tuple(advice(data.summary, data.selection.records, kept)))
