"""The points of every plot of a metric: a mean over runs with its interval, at a number of examples N, of a line.

A line is a method in one pass; models of one method that differ in another field than N and the hyper-parameters (the
type of labels, T) are lines of their own, and say in what they differ. What was not measured has no point.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ia2.results.aggregate import aggregate
from ia2.results.intervals import SCORES, interval_of
from ia2.results.label import control_of, style_of
from ia2.results.quantities import WITH_FLOOR, WITH_MAJORITY
from ia2.results.records import PASSES, Record
from ia2.results.runs import TrainedRun
from ia2.results.select import Selection
from ia2.results.summary import NEVER_DETAILS, details, in_order

ALONG_A_LINE = NEVER_DETAILS | {"num_train_examples", "num_labelled_samples"}
"""Fields that do not tell lines apart: N, the hyper-parameters, and what comes of them."""


@dataclass(frozen=True)
class Point:
    """The mean of a metric over `n` runs; what was not measured, or has no interval, is NaN.

    `low` to `high` is its 95% interval, over runs and examples or over runs as `over` says; `values` are those of the
    runs. `control` names a control. `details` say in what a line differs from others of its method, pass and control,
    and `variation` counts those from 0.
    `num_queries` examples were asked; `majority` is the majority-class accuracy, `floor` the ECE of a calibrated model.
    `train_seconds` (all phases) and `adapter_bytes` are means over runs.
    """

    name: str
    method: str
    with_icl: bool
    control: str
    details: str
    variation: int
    num_examples: int
    mean: float
    low: float
    high: float
    over: str
    n: int
    values: tuple[float, ...]
    num_queries: int
    majority: float
    floor: float
    train_seconds: float
    adapter_bytes: float


COLUMNS = [field.name for field in fields(Point)]


@dataclass(frozen=True)
class Measurements:
    """The records of one place, with the runs behind them; `points` are what they measured of a metric."""

    selection: Selection
    runs: tuple[TrainedRun, ...]

    @cached_property
    def table(self) -> pd.DataFrame:
        return aggregate(self.selection)

    @cached_property
    def records(self) -> dict[str, Record]:
        return {str(record.path): record for record in self.selection.records}

    def points(self, metric: str) -> pd.DataFrame:
        """One `Point` per line and N, in both passes, in the order of the methods' table."""
        entries = list(_entries(self.table, metric))
        names = names_of([line for line, _ in entries])
        found = [_point(*entry, name, (metric, self)) for entry, name in zip(entries, names, strict=True)]
        frame = pd.DataFrame([astuple(point) for point in found], columns=COLUMNS)
        places = [style_of(row.method, row.with_icl, row.control).order for row in found]
        return frame.assign(place=places).sort_values(["place", "variation", "num_examples"])[COLUMNS]


def in_pass(points: pd.DataFrame, with_icl: bool) -> pd.DataFrame:
    """The adapters in one pass, and the base model in both: its references."""
    return points[(points["method"] == "base") | (points["with_icl"] == with_icl)]


def is_measured(points: pd.DataFrame, with_icl: bool) -> bool:
    """Whether a pass was measured at all, be it of the base model alone."""
    return bool((points["with_icl"] == with_icl).any())


@dataclass(frozen=True)
class Line:
    """A model in one pass and the fields that can tell it from others of its method."""

    method: str
    with_icl: bool
    config: Mapping[str, Any]

    @property
    def control(self) -> str:
        return control_of(self.config.get("control")) if self.with_icl else ""


@dataclass(frozen=True)
class Name:
    """What a line is called, in what it differs from others of its method, and its place among them."""

    label: str
    details: str
    variation: int

    @property
    def whole(self) -> str:
        return f"{self.label} [{self.details}]" if self.details else self.label


def names_of(lines: Sequence[Line]) -> list[Name]:
    """The name of each line; lines that are equal have one name."""
    alike: dict[tuple[str, bool, str], dict[str, Mapping[str, Any]]] = {}
    for line in lines:
        alike.setdefault((line.method, line.with_icl, line.control), {})[str(line.config)] = line.config
    names = {
        (*kind, config): Name(style_of(*kind).label, told, variation)
        for kind, configs in alike.items()
        for variation, (told, config) in enumerate(_in_order(details([*configs.values()]), configs))
    }
    return [names[line.method, line.with_icl, line.control, str(line.config)] for line in lines]


def _in_order(told: Iterable[str], configs: Iterable[str]) -> list[tuple[str, str]]:
    """Details and configurations, in order of the details."""
    return sorted(zip(told, configs, strict=True), key=lambda pair: (in_order(pair[0]), pair[1]))


def _entries(table: pd.DataFrame, metric: str) -> Iterator[tuple[Line, dict[str, Any]]]:
    """The rows of the aggregated table that are of a metric, each with its line."""
    for with_icl, when in PASSES.items():
        part = table[table["metric"] == f"{when}_{metric}"]
        for values in part.itertuples(index=False, name=None):
            row = dict(zip(part.columns, values, strict=True))
            config = {name: value for name, value in row.items() if name not in ALONG_A_LINE}
            yield Line(str(row["method"]), with_icl, config), row


def _point(line: Line, row: Mapping[str, Any], name: Name, measured: tuple[str, "Measurements"]) -> Point:
    metric, of = measured
    records = [of.records[path] for path in row["records"]]
    interval = interval_of(metric, row["records"], line.with_icl, row["values"])
    when = PASSES[line.with_icl]
    return Point(
        name=name.whole,
        method=line.method,
        with_icl=line.with_icl,
        control=line.control,
        details=name.details,
        variation=name.variation,
        num_examples=int(row["num_train_examples"]),
        mean=float(row["mean"]),
        low=interval.low,
        high=interval.high,
        over="examples" if metric in SCORES else "runs",
        n=int(row["n"]),
        values=tuple(row["values"]),
        num_queries=records[0].num_examples,
        majority=_mean([record.majority_class_accuracy for record in records if metric in WITH_MAJORITY]),
        floor=_mean([record.ece_floor.get(when) for record in records if metric in WITH_FLOOR]),
        train_seconds=row["train_seconds"],
        adapter_bytes=_mean([record.train.adapter_bytes for record in records if record.train]),
    )


def _mean(values: Sequence[float | None]) -> float:
    """The mean; NaN where a run lacks its value, or there is no run."""
    known = [np.nan if value is None else value for value in values]
    return float(np.mean(known)) if known else np.nan
