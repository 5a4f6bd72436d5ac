"""`ia2 tables`: methods against datasets, as LaTeX, Markdown and CSV."""

import re
from collections.abc import Sequence
from pathlib import Path

from ia2 import store
from ia2.commands.records import fail_for, fields_of, passes, readable_records
from ia2.config import TablesConfig
from ia2.errors import UserError
from ia2.report.grids import Grid
from ia2.report.latex import latex_table
from ia2.report.layout import grids
from ia2.report.plain_tables import COLUMNS, csv_table, markdown_table
from ia2.report.published import beside_published
from ia2.report.results import Record
from ia2.report.runs import examine_runs, read_runs
from ia2.report.selection import select

FOR_ALL = {"model_id", "num_examples", "label_types"}
"""Filters that choose among tables and change none."""
MARKS = {".tex": "% ia2 tables", ".md": "| Trained on | Evaluated on |", ".csv": ",".join(COLUMNS)}
"""In every table of ours: no file without is replaced."""
IN_NAMES = (
    *("metrics", "trained_datasets", "eval_datasets", "model_types", "hp_selection", "compare"),
    *("icl_source_datasets", "icl_max_demos", "num_generated_tokens", "num_generated_tokens_eval"),
)
"""Fields that a file's name shows, in the order in which it does."""


def tables(config: TablesConfig) -> list[Path]:
    """Write every table that the filters leave, print it, and return the paths of its files.

    UserError where no record passes the filters; MachineError, once all is written, where a record is damaged.
    """
    root, made = store.resolve_root(config), dict[str, Grid]()
    there, problems = readable_records(root)
    for grid in _grids(root, there, config):
        stem = _stem(grid, config)
        if stem in made:
            raise UserError(f"{made[stem].about.title} and {grid.about.title} have one name: choose with --model_id")
        made[stem] = grid
    paths = [path for stem, grid in made.items() for path in _write(root, stem, grid, config.command("tables"))]
    print("\n".join([*map(markdown_table, made.values()), *(f"wrote {path}" for path in paths)]))
    fail_for((*problems, *examine_runs(root).problems))
    return paths


def _grids(root: Path, there: Sequence[Record], config: TablesConfig) -> list[Grid]:
    """The tables; UserError where no record passes the filters, or none has a metric."""
    records = [record for record in there if passes(fields_of(record), config)]
    if not records:
        raise UserError(f"no evaluation record below {root} passes these filters, of {len(there)} there")
    measured = {re.sub("^with(out)?_icl_", "", name) for record in records for name in record.metrics}
    unknown = [metric for metric in config.metrics if metric not in measured]
    if unknown:
        raise UserError(f"metrics={unknown[0]!r} is in none of the records; measured are {', '.join(sorted(measured))}")
    selection = select(records, read_runs(root, records), config.hp_selection)
    if config.compare == "none":
        return grids(selection, config.metrics, config.hp_selection)
    metrics = tuple(dict.fromkeys((*config.metrics, "ece_published")))  # which the paper's ECE stands under
    return [beside_published(grid) for grid in grids(selection, metrics, config.hp_selection)]


def _stem(grid: Grid, config: TablesConfig) -> str:
    """{model}_{N}_{adapter}[_{label type}], and a tail for what was asked for otherwise than by default."""
    about = grid.about
    parts = (store.short_model_name(about.model_id), about.num_examples, about.adapter or "base", about.label_type)
    changed = config.changed()
    asked = {name: changed[name] for name in IN_NAMES if name in changed}
    tail = {name: ",".join(map(str, value)) if isinstance(value, list) else value for name, value in asked.items()}
    return store.safe_filename("_".join(str(part) for part in parts if part is not None) + store.name_tail(tail))


def _write(root: Path, stem: str, grid: Grid, command: str) -> list[Path]:
    label = re.sub(r"[^A-Za-z0-9.:+-]", "-", stem)
    texts = {".tex": latex_table(grid, label, command), ".md": markdown_table(grid), ".csv": csv_table(grid)}
    paths = [root / "reports" / "tables" / f"{stem}{ending}" for ending in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        with store.replacing(path, MARKS[path.suffix]) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return paths
