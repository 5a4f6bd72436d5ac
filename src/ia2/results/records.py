"""Evaluation records: one file of an evaluation each, read strictly.

A record that cannot be read whole is a problem that is shown, never a row: half a record is no measurement. A record of
a newer schema stops the reading, because guessing at its meaning could show wrong numbers as right ones.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pyarrow.parquet
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ia2.config import ModelId, PathPart, StoredRun
from ia2.evaluation.calibration import CONDITIONS, ReliabilityBin
from ia2.results.label import text_of
from ia2.results.quantities import shown_as
from ia2.store.measurements import Examined, Measurement, Problem, examine, read_whole

SCHEMA = 2
"""Of the records that are written; those of 1, which have no digests, are read too."""
COLUMNS = ("idx", "with_icl", "question", "gold", "response", "parsed", "correct", "confidence")
"""Columns of a record's examples without which it cannot be shown."""


class Settings(BaseModel):
    """The settings of an evaluation. Fields added later are kept, and become columns."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    eval_dataset: PathPart
    icl_source_dataset: PathPart
    icl_max_demos: int
    num_generated_tokens_eval: int
    icl_pool: str
    stop: str
    num_eval_examples: int | None
    model_id: ModelId
    torch_dtype: str
    uncertainty_analysis: bool
    num_train_examples: int
    run_idx: int

    @property
    def num_shown(self) -> int:
        """Demonstrations before a query: of a run's own N never more than all."""
        return min(self.icl_max_demos, self.num_train_examples) if self.icl_pool == "train" else self.icl_max_demos


class Training(BaseModel):
    """The outcome of training a record's adapter."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    best_dev_loss: float | None
    final_dev_loss: float | None
    best_step: int
    num_steps: int
    seconds: float
    trainable_parameters: int
    adapter_bytes: int
    dev_losses: dict[str, float] | None = None


class Rereading(BaseModel):
    """The second reading of a record's stored responses."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    reader: str
    command: str


class LabelsUsed(BaseModel):
    """Gold labels that went into a record's model, demonstrations included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int
    dev: int


RANGES = {
    "accuracy_delta": (-100.0, 100.0),
    "accuracy": (0.0, 100.0),
    "log_prob": (-math.inf, 0.0),
    "brier": (0.0, 2.0),
    **dict.fromkeys(("nll", "entropy", "seconds"), (0.0, math.inf)),
    **dict.fromkeys(("parse_rate", "macro_f1", "auroc", "uncertainty", "ece_floor"), (0.0, 1.0)),
    **dict.fromkeys(("ece_equal_count", "ece_equal_width", "ece_published"), (0.0, 1.0)),
}
"""End of a number's name -> its least and greatest value."""


class Record(Measurement):
    """One evaluation: outputs/evaluations/{base|method}[_uncertainty]/{dataset}/{name}.json."""

    kind: Literal["base", "adapter"]
    settings: Settings = Field(alias="eval")
    run: StoredRun | None
    train: Training | None
    labels_used: LabelsUsed
    num_examples: int
    metrics: dict[str, float]
    reliability: dict[str, list[ReliabilityBin]] = Field(default_factory=dict)
    majority_class_accuracy: float | None = None
    ece_floor: dict[str, float] = Field(default_factory=dict)
    label_reliability: dict[str, list[ReliabilityBin]] | None = None
    label_ece_floor: dict[str, float] | None = None
    timings: dict[str, float] = Field(default_factory=dict)
    peak_memory_bytes: int | None = None
    adapter_sha256: str | None = None
    command: str = ""
    reparsed: Rereading | None = None

    @model_validator(mode="after")
    def _adapter_has_a_run(self) -> "Record":
        if (self.kind == "adapter") != (self.run is not None):
            raise ValueError(
                f"kind={self.kind} and run={'null' if self.run is None else 'given'} contradict each other"
            )
        return self

    @model_validator(mode="after")
    def _numbers_are_in_range(self) -> "Record":
        for name, value in self.measured().items():
            low, high = next((ends for end, ends in RANGES.items() if name.endswith(end)), (-math.inf, math.inf))
            if not low - 1e-6 <= value <= high + 1e-6:
                raise ValueError(f"{name}={value}, which is not between {low:g} and {high:g}")
        return self

    def check_rows(self, rows: pyarrow.parquet.ParquetFile) -> None:
        """Raise ValueError where the accuracy of a pass is not that of its rows."""
        table = rows.read(columns=["with_icl", "correct"], use_threads=False)
        shown, correct = (table[name].to_numpy() for name in ("with_icl", "correct"))
        for with_icl, name in CONDITIONS.items():
            in_pass, accuracy = correct[shown == with_icl], self.metrics.get(f"{name}_accuracy")
            of_rows = 100 * in_pass.mean() if len(in_pass) else math.nan
            if accuracy is not None and not math.isclose(accuracy, of_rows, abs_tol=1e-6):
                raise ValueError(f"{name}_accuracy={accuracy}, but that of its rows is {of_rows:g}")

    @property
    def method(self) -> str:
        """`base` or the training method."""
        return "base" if self.run is None else self.run.training_method

    @property
    def control(self) -> str:
        """The control that it is of, or nothing."""
        return text_of(getattr(self.settings, "control", None))

    @property
    def shows_all(self) -> bool:
        """True where demonstrations are all N of the run's own, as with any greater number."""
        return self.settings.icl_pool == "train" and self.settings.icl_max_demos >= self.settings.num_train_examples

    @property
    def trained_dataset(self) -> str:
        """The training set of the model, or the source of the base model's demonstrations."""
        return self.settings.icl_source_dataset if self.run is None else self.run.dataset

    @property
    def rows(self) -> Path:
        """The parquet file of its examples."""
        return self.parquet

    @property
    def shown_reliability(self) -> dict[str, list[ReliabilityBin]]:
        """The bins, by pass, of the confidence that is shown: that of whole labels for a closed set."""
        return getattr(self, shown_as("reliability", self.metrics)) or {}

    def measured(self) -> dict[str, float]:
        """Every number of this record under one name each; what was not measured is absent."""
        numbers = dict(self.metrics) | self.timings | {f"{when}_ece_floor": v for when, v in self.ece_floor.items()}
        numbers |= {f"{when}_label_ece_floor": floor for when, floor in (self.label_ece_floor or {}).items()}
        if self.majority_class_accuracy is not None:
            numbers["majority_class_accuracy"] = self.majority_class_accuracy
        if self.peak_memory_bytes is not None:
            numbers["peak_memory_bytes"] = self.peak_memory_bytes
        return numbers


def examine_records(root: Path) -> Examined[Record]:
    """Every evaluation record below `root`, in order of path, and those that are not whole.

    UserError where one was written by a newer version.
    """
    return examine((root / "outputs" / "evaluations").rglob("*.json"), Record, SCHEMA, COLUMNS)


def with_one_number(records: Sequence[Record]) -> tuple[Record, ...]:
    """The records, those that show all N demonstrations under one number: the greatest that any was asked for with.

    Of records that then differ in nothing one stays; stores of the first edition have several.
    """
    most = max((record.settings.icl_max_demos for record in records), default=0)
    told = {id(record): record for record in records if record.settings.icl_max_demos == most or not record.shows_all}
    known = {_identity(record) for record in told.values()} if len(told) < len(records) else set()
    for record in records:
        if id(record) not in told:
            settings = record.settings.model_copy(update={"icl_max_demos": most})
            renamed = record.model_copy(update={"settings": settings})
            if (identity := _identity(renamed)) not in known:
                known.add(identity)
                told[id(record)] = renamed
    return tuple(told[id(record)] for record in records if id(record) in told)


def _identity(record: Record) -> str:
    """The settings and the run, as one text."""
    run = record.run.relevant_fields() if record.run else None
    return json.dumps([record.settings.model_dump(mode="json"), run], sort_keys=True)


def read_record(path: Path) -> Record | Problem:
    """One record, or the reason why it cannot be counted; UserError where its schema is newer than this version's."""
    return read_whole(path, Record, SCHEMA, COLUMNS)
