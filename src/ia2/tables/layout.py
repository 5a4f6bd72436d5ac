"""How measured results are laid out as grids.

A method without a label type (`act`) stands in the grids of all label types, and the base model in those of all
adapters. Models of one method that differ in another field get a column each: a cell is never a mean over
configurations.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from ia2.config import HpSelection
from ia2.errors import UserError
from ia2.methods import parse_method
from ia2.results.aggregate import aggregate
from ia2.results.label import control_of, style_of
from ia2.results.quantities import shown_as
from ia2.results.records import PASSES
from ia2.results.select import RULES, Selection
from ia2.results.summary import DETAIL_NAMES, NEVER_DETAILS, in_order
from ia2.tables.grids import Cell, Grid, GridColumn, Line, Selected, with_best

TOLD_BY_THE_GRID = {"model_id", "num_train_examples", "adapter", "label_type", "trained", "with_icl", "control"}
Entry = Mapping[str, Any]
"""A metric of one configuration on one evaluation set, in one pass, with every field of the configuration."""


def grids(selection: Selection, metrics: Sequence[str], hp_selection: HpSelection) -> list[Grid]:
    """Every grid of the selected records. UserError where a metric was never measured, or two models share a cell."""
    table = aggregate(selection)
    if table.empty:
        return []
    frame = _measured(table, metrics)
    return [_grid(about, part, tuple(metrics), RULES[hp_selection]) for about, part in _parts(frame)]


def _measured(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """The rows of the metrics that are wanted, named without their pass, with the fields that tell grids apart."""
    frame = pd.concat(
        [
            part[part["metric"] == f"{when}_{shown_as(metric, set(part['metric']))}"].assign(
                metric=metric, with_icl=with_icl
            )
            for metric in metrics
            for with_icl, when in PASSES.items()
            for _, part in table.groupby("eval_dataset", sort=False)
        ],
        ignore_index=True,
    )
    frame = frame.reindex(columns=[*frame.columns, *({"dataset", "label_type"} - {*frame.columns})])
    frame["trained"] = frame["dataset"].where(frame["dataset"].notna(), frame["icl_source_dataset"])
    frame["adapter"] = ["" if method == "base" else parse_method(method).adapter for method in frame["method"]]
    return frame[frame["mean"].notna()]


def _parts(frame: pd.DataFrame) -> Iterator[tuple[Selected, pd.DataFrame]]:
    """What each grid is of, and its rows."""
    for _, models in frame.groupby(["model_id", "num_train_examples"]):
        model_id, num = str(models["model_id"].iloc[0]), int(models["num_train_examples"].iloc[0])
        adapters = sorted(set(models["adapter"]) - {""})
        for adapter in adapters:
            ours = models[models["adapter"].isin(["", adapter])]
            for label_type in sorted(ours["label_type"].dropna().unique()):
                of_labels = ours["label_type"].isna() | (ours["label_type"] == label_type)
                yield Selected(model_id, num, adapter, str(label_type)), ours[of_labels]
            if ours["label_type"].isna().all():
                yield Selected(model_id, num, adapter, None), ours
        if not adapters:
            yield Selected(model_id, num, None, None), models


def _grid(about: Selected, part: pd.DataFrame, metrics: tuple[str, ...], rule: str) -> Grid:
    entries: list[Entry] = [dict(zip(part.columns, row, strict=True)) for row in part.itertuples(index=False)]
    differing = _differing_fields(entries)
    cells: dict[tuple[str, str], dict[tuple[GridColumn, str], Cell]] = {}
    for entry in entries:
        line = cells.setdefault((entry["trained"], entry["eval_dataset"]), {})
        place = _column(entry, differing[entry["method"]]), str(entry["metric"])
        if place in line:
            raise UserError(f"{entry['records'][0]} is another record of {place[0].heading}: delete one of the two")
        line[place] = Cell(entry["mean"], entry["sd"], entry["n"], "" if pd.isna(entry["rule"]) else entry["rule"])
    columns = sorted({column for line in cells.values() for column, _ in line}, key=_place)
    pairs = sorted(cells, key=lambda pair: (pair[0], pair[0] != pair[1], pair[1]))
    lines = tuple(Line(*pair, with_best(cells[pair], metrics)) for pair in pairs)
    return Grid(about, metrics, tuple(columns), lines, rule)


def _differing_fields(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """For each method the fields in which models of it differ that were evaluated on the same line."""
    alike: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        key = tuple(entry[name] for name in ("method", "trained", "eval_dataset", "with_icl", "metric"))
        alike.setdefault(key, []).append(entry)
    differing: dict[str, list[str]] = {entry["method"]: [] for entry in entries}
    for (method, *_), same in alike.items():
        for name in same[0]:
            told = {_told(entry[name]) for entry in same}
            if len(told) > 1 and name not in {*NEVER_DETAILS, *TOLD_BY_THE_GRID, *differing[method]}:
                differing[method].append(name)
    return differing


def _told(value: object) -> str:
    """A field's value as text; at none, False or absent it is not told, since the field may have been added late."""
    return "" if str(value) in ("none", "None", "nan", "<NA>", "False") else str(value)


def _column(entry: Entry, differing: Sequence[str]) -> GridColumn:
    details = [f"{DETAIL_NAMES.get(name, name)} {_told(entry[name])}" for name in differing if _told(entry[name])]
    return GridColumn(
        str(entry["method"]), bool(entry["with_icl"]), ", ".join(details), control_of(entry.get("control"))
    )


def _place(column: GridColumn) -> tuple[int, tuple[tuple[str, float], ...]]:
    return style_of(column.method, column.with_icl, column.control).order, in_order(column.details)
