"""The results table as a frame: one row per model and pass, with everything that stands beside an accuracy.

Rows fall into groups by what was trained on and what was evaluated on. A number that was not measured is NaN here and a
dash where it is shown, never 0.
"""

import math
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import pandas as pd

from ia2.evaluation.statistics import standard_deviation
from ia2.results.aggregate import MEANS, aggregate
from ia2.results.compare import Answered, Chance, chances
from ia2.results.label import control_of, style_of
from ia2.results.quantities import shown_as
from ia2.results.records import PASSES
from ia2.results.select import HYPERPARAMETERS, Selection

SHOWN_METRICS = {
    "anywhere": "anywhere_accuracy",
    "ece": "ece_equal_count",
    "ece_floor": "ece_floor",
    "ece_published": "ece_published",
    "nll": "nll",
    "parse_rate": "parse_rate",
}

PER_METRIC = frozenset({"metric", "mean", "sd", "n", "values", "records", "runs", *MEANS})
# A field is shown beside a method's name where models of that name differ in it, unless the table says it elsewhere.
SHOWN_ELSEWHERE = {
    "kind",
    "method",
    "dataset",
    "training_method",
    "eval_dataset",
    *HYPERPARAMETERS,
    "rule",
    "hp_selection",
}
NEVER_DETAILS = PER_METRIC | SHOWN_ELSEWHERE | {"train_num_train_examples", "train_model_id"}
DETAIL_NAMES = {"num_train_examples": "N", "num_generated_tokens_eval": "T", "icl_source_dataset": "demonstrations of"}


@dataclass(frozen=True)
class SummaryRow:
    """The columns of the summary. What was not measured is NaN.

    accuracy and anywhere are mean percents over n runs (accuracy_sd: ddof 1, NaN for one run); ece, ece_floor, nll and
    parse_rate are means in their natural units; rule says how the hyper-parameters were chosen (empty for the base
    model); accuracy_values, runs (run_idx) and records (paths) are in order of run_idx. accuracy_low to accuracy_high
    is the 95% interval, difference the points ahead of `tok`, which used tok_labels, and p_value that of the difference
    (results/compare.py). control names a control, which is compared with nothing.
    """

    trained_dataset: str
    eval_dataset: str
    out_of_distribution: bool
    method: str
    with_icl: bool
    order: int
    label: str
    tick: str
    colour: str
    marker: str
    details: str
    accuracy: float
    accuracy_sd: float
    n: int
    accuracy_values: tuple[float, ...]
    anywhere: float
    ece: float
    ece_floor: float
    nll: float
    parse_rate: float
    majority: float
    labels_train: float
    labels_dev: float
    lr: float
    train_seconds: float
    rule: str
    records: tuple[str, ...]
    runs: tuple[int, ...] = ()
    accuracy_low: float = math.nan
    accuracy_high: float = math.nan
    difference: float = math.nan
    p_value: float = math.nan
    tok_labels: str = ""
    control: str = ""
    ece_published: float = math.nan
    hp_selection: str = "dev_loss"

    @property
    def accuracy_sd_published(self) -> float:
        """sd of accuracy over runs with ddof 0, as the paper has it: 0 for one run."""
        return standard_deviation(self.accuracy_values, ddof=0)

    @property
    def name(self) -> str:
        """What tells this row from the others of its group."""
        return f"{self.label} [{self.details}]" if self.details else self.label

    @property
    def labels(self) -> str:
        """Gold labels used: training (or demonstrations) + dev."""
        return f"{self.labels_train:.0f} + {self.labels_dev:.0f}"

    @property
    def is_teacher(self) -> bool:
        return self.method == "base" and self.with_icl and not self.control


COLUMNS = [field.name for field in fields(SummaryRow)]


@dataclass(frozen=True)
class Group:
    """The rows of one (trained, evaluated) pair of datasets."""

    trained_dataset: str
    eval_dataset: str
    rows: pd.DataFrame

    @property
    def out_of_distribution(self) -> bool:
        return self.trained_dataset != self.eval_dataset

    @property
    def title(self) -> str:
        """The evaluation set, with * where it is not what was trained on."""
        if not self.out_of_distribution:
            return self.eval_dataset
        return f"{self.eval_dataset}* (trained on {self.trained_dataset})"


def summarise(selection: Selection) -> pd.DataFrame:
    """One `SummaryRow` per configuration, evaluation set and pass, in the order of the methods' table."""
    table = aggregate(selection)
    if table.empty:
        return pd.DataFrame(columns=COLUMNS)
    keys = [name for name in table.columns if name not in PER_METRIC]
    found = []
    for _, group in table.groupby(keys, dropna=False, sort=False):
        metrics = {row["metric"]: row for row in group.to_dict("records")}
        fields = next(iter(metrics.values()))
        told = {name: fields[name] for name in keys if name not in NEVER_DETAILS}
        measured = [with_icl for with_icl, when in PASSES.items() if f"{when}_accuracy" in metrics]
        found += [(_row(metrics, with_icl), told) for with_icl in measured]
    frame = pd.DataFrame(_detailed(_with_chances(found)), columns=COLUMNS)
    order = ["trained_dataset", "out_of_distribution", "eval_dataset", "order", "place"]
    return frame.assign(place=frame["details"].map(in_order)).sort_values(order, ignore_index=True)[COLUMNS]


def rows_of(frame: pd.DataFrame) -> list[SummaryRow]:
    """The rows of a summary, or of a part of it."""
    return [SummaryRow(*values) for values in zip(*(frame[name].tolist() for name in COLUMNS), strict=True)]


def groups(summary: pd.DataFrame) -> Iterator[Group]:
    """The summary's rows by (trained, evaluated) pair; in-distribution comes before out-of-distribution."""
    for (trained, evaluated), rows in summary.groupby(["trained_dataset", "eval_dataset"], sort=False):
        yield Group(str(trained), str(evaluated), rows.reset_index(drop=True))


def _row(metrics: Mapping[str, Mapping[Hashable, Any]], with_icl: bool) -> SummaryRow:
    """One pass of one configuration, from the aggregated rows of its metrics."""
    when = PASSES[with_icl]
    score = metrics[f"{when}_accuracy"]
    method, dataset = str(score["method"]), score.get("dataset")
    trained = str(score["icl_source_dataset"] if pd.isna(dataset) else dataset)
    control = control_of(score.get("control")) if with_icl else ""
    style = style_of(method, with_icl, control)
    unlabelled = method == "base" and not with_icl
    return SummaryRow(
        trained_dataset=trained,
        eval_dataset=str(score["eval_dataset"]),
        out_of_distribution=trained != score["eval_dataset"],
        method=method,
        with_icl=with_icl,
        order=style.order,
        label=style.label,
        tick=style.tick,
        colour=style.colour,
        marker=style.marker,
        details="",
        accuracy=score["mean"],
        accuracy_sd=score["sd"],
        n=score["n"],
        accuracy_values=score["values"],
        **{name: _mean(metrics, f"{when}_{shown_as(metric, metrics)}") for name, metric in SHOWN_METRICS.items()},
        majority=_mean(metrics, "majority_class_accuracy"),
        labels_train=0.0 if unlabelled else score["labels_train"],
        labels_dev=0.0 if unlabelled else score["labels_dev"],
        lr=score.get("lr", math.nan),
        train_seconds=score["train_seconds"],
        rule="" if pd.isna(score["rule"]) else str(score["rule"]),
        records=score["records"],
        runs=score["runs"],
        tok_labels="",
        control=control,
        hp_selection=str(score["hp_selection"]),
    )


def _mean(metrics: Mapping[str, Mapping[Hashable, Any]], metric: str) -> float:
    return float(metrics[metric]["mean"]) if metric in metrics else math.nan


def _with_chances(found: list[tuple[SummaryRow, dict[str, Any]]]) -> list[tuple[SummaryRow, dict[str, Any]]]:
    """The rows with what chance could do to their accuracies."""
    own = ("trained_dataset", "eval_dataset")
    models = [
        Answered(
            row.method,
            row.with_icl,
            dict(zip(row.runs, row.records, strict=True)),
            {**config, **{name: getattr(row, name) for name in own}},
            row.labels,
        )
        for row, config in found
    ]
    return [(_with_chance(row, one), config) for (row, config), one in zip(found, chances(models), strict=True)]


def _with_chance(row: SummaryRow, chance: Chance) -> SummaryRow:
    lead = chance.from_tok
    return replace(
        row,
        accuracy_low=chance.low,
        accuracy_high=chance.high,
        difference=math.nan if lead is None else lead.points,
        p_value=math.nan if lead is None else lead.p_value,
        tok_labels=chance.tok_labels,
    )


def _detailed(found: list[tuple[SummaryRow, dict[str, Any]]]) -> list[SummaryRow]:
    """The rows, each saying in which fields it differs from others of its label and group."""
    alike: dict[tuple[str, str, str], list[int]] = {}
    for place, (row, _) in enumerate(found):
        alike.setdefault((row.trained_dataset, row.eval_dataset, row.label), []).append(place)
    told = {
        place: text
        for places in alike.values()
        for place, text in zip(places, details([found[place][1] for place in places]), strict=True)
    }
    return [replace(row, details=told[place]) for place, (row, _) in enumerate(found)]


def details(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each of several models of one name the fields in which they differ, as `N 4, label_type ground_truth`."""
    differing = [name for name in configs[0] if len({str(config[name]) for config in configs}) > 1]
    return [
        ", ".join(f"{DETAIL_NAMES.get(name, name)} {config[name]}" for name in differing if pd.notna(config[name]))
        for config in configs
    ]


def in_order(details: str) -> tuple[tuple[str, float], ...]:
    """What to sort details by, so that `N 2` comes before `N 16`: words as text, numbers as numbers."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]\d+)?)", details)
    return tuple(zip(parts[::2], map(float, [*parts[1::2], "-1"]), strict=True))
