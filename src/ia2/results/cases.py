"""What belongs together when models are compared: one base model, as teacher and as start, and its students.

Records are matched by their settings, never by their names. The demonstrations at evaluation tell teachers apart, but
not students, who see none. What a record measured twice over (with and without its uncertainty) counts once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.compute

from ia2.results.compare import Answers, read_answers
from ia2.results.records import Record
from ia2.results.select import cell_of
from ia2.results.summary import DETAIL_NAMES, Group, SummaryRow, rows_of
from ia2.store.measurements import read_rows

NOT_OF_A_CASE = {"eval_dataset", "icl_source_dataset", "run_idx", "uncertainty_analysis", "control"}
DEMONSTRATION_FIELDS = {"icl_max_demos", "icl_pool"}
WRONG_LABELS = "wrong_labels"
"""The value of a record's `control` where the demonstrations of its teacher had wrong labels."""


@dataclass(frozen=True)
class Measured:
    """A row of the summary and the records of its runs."""

    row: SummaryRow
    records: tuple[Record, ...]

    @property
    def settings(self) -> dict[str, Any]:
        """What the records were evaluated with; none, False and absent are one, as fields were added."""
        found = self.records[0].settings.model_dump(mode="json")
        return {name: value for name, value in found.items() if value not in (None, False, "none")}

    @property
    def num_examples(self) -> int:
        return self.records[0].num_examples

    @property
    def has_labels(self) -> bool:
        """Whether the task has a fixed set of labels; of free text no label accuracy is recorded."""
        return any(name.endswith("icl_label_accuracy") for name in self.records[0].metrics)

    def metric(self, name: str) -> float | None:
        """The mean over runs of a metric of this pass; None where a run lacks it."""
        name = f"{'with' if self.row.with_icl else 'without'}_icl_{name}"
        values = [record.metrics[name] for record in self.records if name in record.metrics]
        return sum(values) / len(values) if len(values) == len(self.records) else None

    @cached_property
    def examples(self) -> pd.DataFrame:
        """The rows of this pass in all runs: idx, gold, parsed and correct."""
        columns = ["idx", "with_icl", "gold", "parsed", "correct"]
        runs = [read_rows(record.rows, columns) for record in self.records]
        rows = pyarrow.concat_tables(runs, promote_options="permissive")  # a run may have read no answer at all
        frame: pd.DataFrame = rows.filter(pyarrow.compute.field("with_icl") == self.row.with_icl).to_pandas()
        return frame

    @cached_property
    def answers(self) -> Answers:
        """Its answers by run, as differences are tested on."""
        return read_answers(dict(zip(self.row.runs, self.row.records, strict=True)), self.row.with_icl)

    @cached_property
    def hits(self) -> "pd.Series[float]":
        """The share of runs (0 to 1) in which each query was answered right, by idx."""
        return self.examples.groupby("idx")["correct"].mean()


@dataclass(frozen=True)
class Case:
    """One base model on one evaluation set. What was not measured is None, or no student."""

    title: str
    num_labels: int
    teacher: Measured | None
    start: Measured | None
    wrong_labels: Measured | None
    students: tuple[Measured, ...]


def cases(group: Group, records: Iterable[Record]) -> list[Case]:
    """The cases of an evaluation set; `records` hold at least those of the group."""
    from_path = {str(record.path): record for record in records}
    models = [Measured(row, tuple(from_path[path] for path in row.records)) for row in rows_of(group.rows)]
    keys: list[dict[str, Any]] = []
    for model in sorted(models, key=lambda model: model.row.method != "base"):
        if "control" not in model.settings and not any(_of(model, key) for key in keys):
            keys.append(_key(model))
    return [_case(_title(group, key, keys), key, models) for key in keys]


def _key(model: Measured) -> dict[str, Any]:
    dropped = NOT_OF_A_CASE | (set() if model.row.method == "base" else DEMONSTRATION_FIELDS)
    return {name: value for name, value in model.settings.items() if name not in dropped}


def _of(model: Measured, key: dict[str, Any]) -> bool:
    return _key(model).items() <= key.items() if model.row.method != "base" else _key(model) == key


def _case(title: str, key: dict[str, Any], models: Sequence[Measured]) -> Case:
    mine = [model for model in models if _of(model, key)]
    bases = {
        (model.settings.get("control"), model.row.with_icl): model for model in mine[::-1] if model.row.method == "base"
    }
    students: dict[str, Measured] = {}
    for model in mine:
        if model.records[0].run is not None and not model.row.with_icl and "control" not in model.settings:
            students.setdefault(cell_of(model.records[0].run), model)
    return Case(
        title=title,
        num_labels=key["num_train_examples"],
        teacher=bases.get((None, True)),
        start=bases.get((None, False)),
        wrong_labels=bases.get((WRONG_LABELS, True)),
        students=tuple(students.values()),
    )


def _title(group: Group, key: dict[str, Any], keys: Sequence[dict[str, Any]]) -> str:
    """The evaluation set, and in what this case differs from the others on it."""
    differing = [name for name in key if len({str(other.get(name)) for other in keys}) > 1]
    details = ", ".join(f"{DETAIL_NAMES.get(name, name)} {key[name]}" for name in differing)
    return f"{group.title}, {details}" if details else group.title
