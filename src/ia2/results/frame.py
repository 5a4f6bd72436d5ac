"""The frame of results: measurements, their aggregate over runs, and its views by model and by point.

`tidy` has a row for each measurement and a column for each setting. `aggregate` has a row for each model (one
configuration in one condition) and metric; every table, figure and card is a view of it. A mean over different
configurations is no mean over runs, so models that differ in any setting are apart. What was not measured is NaN in a
view and a dash where it is shown, never 0.

A run recorded with and without its uncertainty is one measurement: numbers of both records are taken from the one with
uncertainty, which holds more, and the same numbers.
"""

import json
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd

from ia2.errors import UserError
from ia2.evaluation.statistics import standard_deviation
from ia2.methods import VARIANTS, LabelType, parse_method
from ia2.results.compare import SCORES, accuracy_interval, difference, interval_of, read_answers
from ia2.results.label import details, full_name, in_order, style_of, text_of
from ia2.results.quantities import OF_LABELS, WITH_FLOOR, WITH_MAJORITY
from ia2.results.records import Record, Training
from ia2.results.select import HYPERPARAMETERS, Selection

Row = Any
"""A row of a view as `rows_of` gives it: each column an attribute."""

LABELS = ("labels_train", "labels_dev")
DEV_LOSSES = ("dev_loss_act", "dev_loss_tok", "dev_loss_tokl")
TRAINED = ["train_seconds" if name == "seconds" else name for name in Training.model_fields]
OUTCOMES = frozenset((*LABELS, *DEV_LOSSES, *TRAINED))
MEASURED = OUTCOMES | {"record", "metric", "value", "num_examples", "command", "uncertainty_analysis"}
"""Columns of the tidy frame of what came out and where it is written; every other column is a setting, in which two
different measurements differ."""
RUN_FIELDS = ("run_idx", "train_run_idx")
MEANS = (*LABELS, "train_seconds", "adapter_bytes")
"""Outcomes of the runs that an aggregate carries, averaged; NaN where a run lacks one."""

SHOWN_METRICS = {
    "anywhere": "anywhere_accuracy",
    "ece": "ece_equal_count",
    "ece_floor": "ece_floor",
    "ece_published": "ece_published",
    "nll": "nll",
    "parse_rate": "parse_rate",
    "macro_f1": "macro_f1",
    "majority": "majority_class_accuracy",
}
"""Column of the view by model -> the metric that it is the mean of."""
OF_A_VARIANT = frozenset[str]().union(*(row.fields for row in VARIANTS.values()))
IN_A_COLUMN = {"kind", "method", "dataset", "training_method", "eval_dataset", *HYPERPARAMETERS}
SAID_TWICE = {"train_num_train_examples", "train_model_id"}
OF_N = {"num_train_examples", "num_labelled_samples"}
"""Settings along a line of points, which do not tell lines apart."""


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
    """The numbers of each record without those that another of the same run and settings has with its uncertainty."""
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


def aggregate(selection: Selection) -> pd.DataFrame:
    """One row per model and metric: mean, sd (ddof 1, NaN for one run), n, and what tells the model from others.

    `metric` is named without its condition, `with_icl` is that. `model` numbers the configurations in one condition;
    `trained_dataset` is what demonstrations come from where nothing was trained; `control` names a control. `values`,
    `runs` (run_idx) and `records` (paths) are in order of run_idx.

    Of a control only the condition with demonstrations is one: the other is the ordinary measurement, and counts once.
    UserError where one run was measured twice with the same settings (`tidy`).
    """
    frame = _by_condition(tidy(selection.records, selection.train_seconds))
    if frame.empty:
        return frame
    one = frame.drop_duplicates(["record", "with_icl"]).drop(columns=["metric", "value"])
    one = one.reindex(columns=[*dict.fromkeys([*one.columns, *MEANS, "control", "dataset"])])
    control = one["control"].map(text_of)
    one["control"], one["of_control"] = control.where(one["with_icl"], ""), control != ""
    one["trained_dataset"] = one["dataset"].where(one["dataset"].notna(), one["icl_source_dataset"])
    one["rule"] = one["record"].map({str(r.path): selection.rule_of(r) or "" for r in selection.records})
    one["hp_selection"] = selection.hp_selection
    keys = [name for name in one.columns if name not in {*MEASURED, *RUN_FIELDS, "of_control"}]
    one["model"] = one.groupby(keys, dropna=False, sort=False).ngroup()
    one = one.astype(dict.fromkeys(MEANS, float))
    one.loc[(one["method"] == "base") & ~one["with_icl"], list(LABELS)] = 0.0
    runs = [name for name in ("model", *RUN_FIELDS) if name in one]
    more = [*runs, "of_control", "num_examples", *MEANS]
    frame = frame[["record", "with_icl", "metric", "value"]].merge(one[["record", "with_icl", *more]])
    frame = frame.sort_values("of_control", kind="stable").drop_duplicates([*runs, "metric"])
    models = one.drop_duplicates("model").set_index("model")[[name for name in keys if name != "with_icl"]]
    return _over_runs(frame.sort_values("run_idx", kind="stable")).join(models, on="model")


def _by_condition(frame: pd.DataFrame) -> pd.DataFrame:
    """The measurements by condition; those of none, as the majority class, count for each of their record."""
    named = frame["metric"].str.extract(r"^(with|without)_icl_(.+)$")
    own = frame.assign(with_icl=named[0] == "with", metric=named[1])[named[0].notna()]
    conditions = own[["record", "with_icl"]].drop_duplicates()
    return pd.concat([own, frame[named[0].isna()].merge(conditions, on="record")], ignore_index=True)


def _over_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """The numbers of each model in each metric, its runs in the order of the frame."""
    number = frame.groupby(["model", "metric"], sort=False).ngroup().to_numpy()
    groups = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    first = frame[["model", "metric", "with_icl", "num_examples"]].iloc[[group[0] for group in groups]]
    means, value, record, run = (frame[name].to_numpy() for name in (list(MEANS), "value", "record", "run_idx"))
    of_runs: dict[str, Any] = {
        "values": [tuple(value[group].tolist()) for group in groups],
        "records": [tuple(record[group]) for group in groups],
        "runs": [tuple(map(int, run[group])) for group in groups],
        **dict(zip(MEANS, np.array([means[group].mean(axis=0) for group in groups]).T, strict=True)),
    }
    return first.reset_index(drop=True).assign(
        mean=[float(value[group].mean()) for group in groups],
        sd=[standard_deviation(value[group]) for group in groups],
        n=[len(group) for group in groups],
        **of_runs,
    )


AGGREGATED = frozenset(
    {"model", "metric", "with_icl", "mean", "sd", "n", "values", "records", "runs", "num_examples", *MEANS}
    | {"trained_dataset", "control", "rule", "hp_selection"}
)


def settings_of(rows: pd.DataFrame, without: frozenset[str] | set[str] = frozenset()) -> list[dict[str, Any]]:
    """The settings of each row of an aggregate in which models of one method can differ, but for those `without`."""
    hidden = AGGREGATED | IN_A_COLUMN | SAID_TWICE | without
    return records_of(rows[[name for name in rows.columns if name not in hidden]])


def records_of(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Each row as a mapping."""
    return [dict(zip(rows.columns, row, strict=True)) for row in rows.itertuples(index=False, name=None)]


def rows_of(rows: pd.DataFrame) -> list[Row]:
    """Each row with its columns as attributes."""
    return list(rows.itertuples(index=False))


# The view by model


def summarise(selection: Selection) -> pd.DataFrame:
    """One row per model with an accuracy: names and looks, means of the metrics, intervals and differences from `tok`.

    accuracy and anywhere are mean percents over n runs (accuracy_sd: ddof 1, NaN for one run; accuracy_sd_published:
    ddof 0); ece, ece_floor, nll and parse_rate are means in their natural units, of whole labels for a closed set of
    them. `title` names the pair of datasets, `name` tells a model from the others of its title. low to high is the 95%
    interval of accuracy; difference is the points ahead of `tok`, which used tok_labels, with difference_low,
    difference_high and p_value (results/compare.py). A control is compared with nothing. Rows are in the order of the
    methods' table, in-distribution before out-of-distribution.
    """
    scores = aggregate(selection)
    return by_model(scores) if len(scores) else pd.DataFrame(columns=[*COLUMNS])


def by_model(scores: pd.DataFrame) -> pd.DataFrame:
    """The view of `summarise` of an aggregate."""
    rows = scores[scores["metric"] == "accuracy"].rename(
        columns={"mean": "accuracy", "sd": "accuracy_sd", "values": "accuracy_values"}
    )
    settings = settings_of(rows.drop(columns=["accuracy", "accuracy_sd", "accuracy_values"]))
    means = scores.pivot(index="model", columns="metric", values="mean").reindex(rows["model"]).set_index(rows.index)
    metrics = {name: _shown(means, metric) for name, metric in SHOWN_METRICS.items()}
    has_labels = means.get("label_accuracy", pd.Series(np.nan, rows.index)).notna()
    styles = [style_of(*key) for key in zip(rows["method"], rows["with_icl"], rows["control"], strict=True)]
    look = {name: [getattr(style, name) for style in styles] for name in ("order", "label", "tick", "colour", "marker")}
    rows = rows.assign(
        **metrics,
        **look,
        has_labels=has_labels,
        out_of_distribution=rows["trained_dataset"] != rows["eval_dataset"],
        title=[title_of(*pair) for pair in zip(rows["trained_dataset"], rows["eval_dataset"], strict=True)],
        accuracy_sd_published=[standard_deviation(values, ddof=0) for values in rows["accuracy_values"]],
        labels=[f"{a:.0f} + {b:.0f}" for a, b in zip(rows["labels_train"], rows["labels_dev"], strict=True)],
        num_labels=rows["labels_train"] + rows["labels_dev"],
        lr=rows["lr"].astype(float) if "lr" in rows else math.nan,
        is_teacher=(rows["method"] == "base") & rows["with_icl"] & (rows["control"] == ""),
    )
    rows["details"] = details(settings, list(zip(rows["title"], rows["label"], strict=True)))
    rows["name"] = [full_name(*pair) for pair in zip(rows["label"], rows["details"], strict=True)]
    rows = rows.assign(**_chances(rows, settings), place=rows["details"].map(in_order))
    order = ["trained_dataset", "out_of_distribution", "eval_dataset", "order", "place"]
    return rows.sort_values(order, ignore_index=True).drop(columns=["place", "metric"])


COLUMNS = (
    *("title", "trained_dataset", "eval_dataset", "out_of_distribution", "method", "with_icl", "control", "order"),
    *("label", "tick", "colour", "marker", "details", "name", "accuracy", "accuracy_sd", "accuracy_sd_published", "n"),
    *(
        "accuracy_values",
        *SHOWN_METRICS,
        "has_labels",
        "labels_train",
        "labels_dev",
        "labels",
        "num_labels",
        "lr",
        "train_seconds",
    ),
    *("rule", "hp_selection", "records", "runs", "num_examples", "is_teacher"),
    *("low", "high", "difference", "difference_low", "difference_high", "p_value", "tok_labels"),
)
"""Columns that a view by model has at least."""


def title_of(trained: str, evaluated: str) -> str:
    """The evaluation set, with * where it is not what was trained on."""
    return evaluated if trained == evaluated else f"{evaluated}* (trained on {trained})"


def _shown(means: pd.DataFrame, metric: str) -> "pd.Series[float]":
    """The mean of a metric, of whole labels where the task has a closed set of them; NaN where not measured."""
    nothing = pd.Series(np.nan, means.index)
    if metric not in OF_LABELS or "label_accuracy" not in means:
        return means.get(metric, nothing)
    return means.get(OF_LABELS[metric], nothing).where(means["label_accuracy"].notna(), means.get(metric, nothing))


def _chances(rows: pd.DataFrame, settings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Intervals of the accuracies, and the difference of each trained model from the `tok` of its cell.

    That is the `tok` of the same datasets, settings, adapter and condition, of its own label type if there are two.
    """
    models = rows_of(rows)
    answers = [read_answers(dict(zip(one.runs, one.records, strict=True)), one.with_icl) for one in models]
    cells = [_cell(one, of_it) for one, of_it in zip(models, settings, strict=True)]
    is_tok = [bool(cell) and parse_method(one.method).variant == "tok" for one, cell in zip(models, cells, strict=True)]
    toks = {cell: place for place, cell in enumerate(cells) if is_tok[place]}
    found: dict[str, list[Any]] = {}
    for place, cell in enumerate(cells):
        interval = accuracy_interval(answers[place])
        wanted = [cell, *((cell[0], label_type) for label_type in get_args(LabelType))] if cell else []
        tok = next((toks[key] for key in wanted if key in toks), None)
        lead = None if tok is None or is_tok[place] else difference(answers[place], answers[tok])
        chance = {
            "low": interval.low,
            "high": interval.high,
            "tok_labels": models[tok].labels if tok is not None and lead else "",
        }
        for name, field in DIFFERENCE.items():
            chance[name] = getattr(lead, field) if lead else math.nan
        for name, value in chance.items():
            found.setdefault(name, []).append(value)
    return found


DIFFERENCE = {"difference": "points", "difference_low": "low", "difference_high": "high", "p_value": "p_value"}
"""Column of the view by model -> field of a `Difference`."""


def _cell(model: Row, settings: Mapping[str, Any]) -> tuple[str, str] | None:
    """The fields that models share that are compared, all but those of a variant, and the label type.

    None for what is compared with nothing: the base model, and controls.
    """
    if model.method == "base" or model.control:
        return None
    shared = {name: str(value) for name, value in settings.items() if name not in OF_A_VARIANT}
    shared |= {"trained": model.trained_dataset, "evaluated": model.eval_dataset, "with_icl": str(model.with_icl)}
    label_type = text_of(settings.get("label_type")) or "icl_outputs"  # that of a method without one
    return str((parse_method(model.method).adapter, sorted(shared.items()))), label_type


# The view by point


def points(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row per line (a method in one condition) and N of a metric, in the order of the methods' table.

    mean, n and values are over runs; low to high is the 95% interval, over runs and examples or over runs as `over`
    says. Models of one method that differ in another setting than N and the hyper-parameters are lines of their own:
    `details` tell them apart and `variation` counts them from 0. majority is the majority-class accuracy, floor the ECE
    of a calibrated model, each where the metric has one.
    """
    rows = scores[scores["metric"] == metric] if len(scores) else pd.DataFrame(columns=[*AGGREGATED, "method"])
    means = {
        of: scores[scores["metric"] == of].set_index("model")["mean"] if len(scores) else pd.Series(dtype=float)
        for of in ("majority_class_accuracy", "ece_floor")
    }
    kinds = list(zip(rows["method"], rows["with_icl"], rows["control"], strict=True))
    named = lines_of(kinds, settings_of(rows, OF_N))
    intervals = [interval_of(metric, one.records, one.with_icl, one.values) for one in rows_of(rows)]
    rows = rows.assign(
        details=[details for details, _ in named],
        variation=[variation for _, variation in named],
        name=[full_name(style_of(*kind).label, details) for kind, (details, _) in zip(kinds, named, strict=True)],
        low=[interval.low for interval in intervals],
        high=[interval.high for interval in intervals],
        over="examples" if metric in SCORES else "runs",
        majority=rows["model"].map(means["majority_class_accuracy"]) if metric in WITH_MAJORITY else math.nan,
        floor=rows["model"].map(means["ece_floor"]) if metric in WITH_FLOOR else math.nan,
        order=[style_of(*kind).order for kind in kinds],
    )
    return rows.sort_values(["order", "variation", "num_train_examples"] if len(rows) else ["order"])


def lines_of(kinds: Sequence[Hashable], settings: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """In what each line differs from others of its kind, and its place among them; equal lines have one place."""
    told = details(settings, kinds)
    keys = [(kind, in_order(text), str(one)) for kind, text, one in zip(kinds, told, settings, strict=True)]
    ordered: dict[Hashable, dict[Any, None]] = {}
    for kind, *key in sorted(set(keys), key=lambda key: key[1:]):
        ordered.setdefault(kind, {})[tuple(key)] = None
    places = {kind: {key: place for place, key in enumerate(of_it)} for kind, of_it in ordered.items()}
    return [(text, places[kind][tuple(key)]) for text, (kind, *key) in zip(told, keys, strict=True)]


def in_condition(points: pd.DataFrame, with_icl: bool) -> pd.DataFrame:
    """The adapters in one condition, and the base model in both: its references."""
    return points[(points["method"] == "base") | (points["with_icl"] == with_icl)]
