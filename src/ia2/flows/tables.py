"""`ia2 tables`: methods against datasets, as LaTeX, Markdown and CSV."""

import re
from pathlib import Path

from ia2 import store
from ia2.config import TablesConfig
from ia2.errors import UserError
from ia2.results.frame import aggregate
from ia2.results.read import Stored, fail_for, read
from ia2.results.select import select
from ia2.results.where import where
from ia2.tables import CSV_COLUMNS, Grid, beside_published, csv_table, grids, latex_table, markdown_table

FOR_ALL = {"model_id", "num_examples", "label_types"}
"""Filters that choose among tables and change none."""
MARKS = {".tex": "% ia2 tables", ".md": "| Trained on | Evaluated on |", ".csv": ",".join(CSV_COLUMNS)}
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
    stored = read(root)
    for grid in _grids(stored, config):
        stem = _stem(grid, config)
        if stem in made:
            raise UserError(f"{made[stem].title} and {grid.title} have one name: choose with --model_id")
        made[stem] = grid
    paths = [path for stem, grid in made.items() for path in _write(root, stem, grid, config.command("tables"))]
    print("\n".join([*map(markdown_table, made.values()), *(f"wrote {path}" for path in paths)]))
    fail_for(stored.problems)
    return paths


def _grids(stored: Stored, config: TablesConfig) -> list[Grid]:
    """The tables; UserError where no record passes the filters, or none has a metric."""
    records = where(stored.records, config)
    measured = {re.sub("^with(out)?_icl_", "", name) for record in records for name in record.metrics}
    unknown = [metric for metric in config.metrics if metric not in measured]
    if unknown:
        raise UserError(f"metrics={unknown[0]!r} is in none of the records; measured are {', '.join(sorted(measured))}")
    selection = select(records, stored.runs, config.hp_selection)
    scores = aggregate(selection)
    if config.compare == "none":
        return grids(scores, config.metrics, config.hp_selection)
    metrics = tuple(dict.fromkeys((*config.metrics, "ece_published")))  # which the paper's ECE stands under
    return [beside_published(grid) for grid in grids(scores, metrics, config.hp_selection)]


def _stem(grid: Grid, config: TablesConfig) -> str:
    """{model}_{N}_{adapter}[_{label type}], and a tail for what was asked for otherwise than by default."""
    parts = (store.short_model_name(grid.model_id), grid.num_examples, grid.adapter or "base", grid.label_type)
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
