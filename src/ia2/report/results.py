"""Evaluation records: read strictly, and laid out as one tidy frame.

A record that cannot be read whole is a problem that is shown, never a row: half a record is no measurement. A record of
a newer schema stops the reading, because guessing at its meaning could show wrong numbers as right ones.

A run recorded with and without its uncertainty is one measurement: what stands in both records is taken from the one
with uncertainty, which holds more, and the same numbers.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow.parquet
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ia2.config import ModelId, PathPart, StoredRun
from ia2.errors import UserError
from ia2.evaluation.calibration import ReliabilityBin
from ia2.report.quantities import shown_as
from ia2.report.styles import control_of
from ia2.store.measurements import Measurement, Problem, examine, read_whole

SCHEMA = 2
"""Of the records that are written; those of 1, which have no digests, are read too."""
COLUMNS = ("idx", "with_icl", "question", "gold", "response", "parsed", "correct", "confidence")
"""Columns of a record's examples without which it cannot be shown."""
PASSES = {False: "without_icl", True: "with_icl"}


class Settings(BaseModel):
    """What a record was evaluated with. Fields added later are kept, and become columns."""

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
    """What training a record's adapter came to."""

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
    """How the stored responses of a record were read again."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    reader: str
    command: str


class LabelsUsed(BaseModel):
    """Gold labels that went into a record's model, demonstrations included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int
    dev: int


LABELS = frozenset({"labels_train", "labels_dev"})
DEV_LOSSES = frozenset({"dev_loss_act", "dev_loss_tok", "dev_loss_tokl"})
OUTCOMES = LABELS | DEV_LOSSES | {"train_seconds" if name == "seconds" else name for name in Training.model_fields}
MEASURED = OUTCOMES | {"record", "metric", "value", "num_examples", "command", "uncertainty_analysis"}
"""Columns of the tidy frame that say what came out and where it is written; every other column is a field of the
configuration, in which two different measurements differ."""


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
        for with_icl, name in PASSES.items():
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
        return control_of(getattr(self.settings, "control", None))

    @property
    def shows_all(self) -> bool:
        """Whether demonstrations are all N of the run's own, as with any greater number."""
        return self.settings.icl_pool == "train" and self.settings.icl_max_demos >= self.settings.num_train_examples

    @property
    def trained_dataset(self) -> str:
        """What the model learned from: its training set, or for the base model where its demonstrations come from."""
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


@dataclass(frozen=True)
class Results:
    """All that could be read below a root, in order of path, and what could not."""

    root: Path
    records: tuple[Record, ...]
    problems: tuple[Problem, ...]


def read_results(root: Path) -> Results:
    """Every evaluation record below `root`; UserError where one was written by a newer version."""
    examined = examine((root / "outputs" / "evaluations").rglob("*.json"), Record, SCHEMA, COLUMNS)
    return Results(root, examined.found, examined.problems)


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


def tidy(records: Sequence[Record], train_seconds: Mapping[str, float]) -> pd.DataFrame:
    """One row per measurement: every configuration field, outcomes of the run, `metric` and `value`.

    `train_seconds` are those of `costs.training_seconds`: over all phases, which a record alone does not know.

    Evaluation fields have their own names. A training field that an evaluation field shares its name with is called
    `train_{field}` (`stop` is where an evaluated response ended, `train_stop` where a trained one did). UserError where
    two records measure the same metric of the same run with the same settings.
    """
    fields = [_fields(record, train_seconds) for record in records]
    rows = [
        {**fields[place], "metric": metric, "value": float(value)}
        for place, numbers in enumerate(_once(records, fields))
        for metric, value in numbers.items()
    ]
    frame = pd.DataFrame(rows, columns=None if rows else ["record", "kind", "method", "metric", "value"])
    last = [name for name in frame.columns if name in OUTCOMES] + ["metric", "value"]
    frame = frame[[*frame.columns.drop(last), *last]]
    others = frame.columns.drop("value")
    return frame.astype(dict.fromkeys(others, object)).convert_dtypes().astype({"value": float})


def _once(records: Sequence[Record], fields: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """What counts of each record: not what another of the same run and settings measured with its uncertainty too."""
    numbers = [record.measured() for record in records]
    first: dict[str, dict[str, int]] = {}
    for place in sorted(range(len(records)), key=lambda place: not records[place].settings.uncertainty_analysis):
        identity = json.dumps({name: value for name, value in fields[place].items() if name not in MEASURED})
        known = first.setdefault(identity, {})
        for metric in list(numbers[place]):
            other = records[known.setdefault(metric, place)]
            if other is records[place]:
                continue
            if other.settings.uncertainty_analysis == records[place].settings.uncertainty_analysis:
                raise UserError(f"{other.path} and {records[place].path} record the same run and settings: delete one")
            del numbers[place][metric]
    return numbers


def _fields(record: Record, train_seconds: Mapping[str, float]) -> dict[str, Any]:
    settings = record.settings.model_dump(mode="json")
    run = record.run.relevant_fields() if record.run else {}
    fields = {"record": str(record.path), "kind": record.kind, "method": record.method, **settings}
    fields |= {f"train_{name}" if name in settings else name: value for name, value in run.items()}
    outcome = record.train.model_dump() if record.train else {}
    if record.train:
        del outcome["seconds"]
        outcome["train_seconds"] = train_seconds.get(str(record.path))
        outcome |= {f"dev_loss_{name}": loss for name, loss in (outcome.pop("dev_losses") or {}).items()}
    labels = {"labels_train": record.labels_used.train, "labels_dev": record.labels_used.dev}
    fields |= {"num_examples": record.num_examples, **labels, **outcome, "command": record.command}
    return {name: json.dumps(value) if isinstance(value, list | dict) else value for name, value in fields.items()}
