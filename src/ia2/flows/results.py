"""`ia2 results`: every measurement in one table, and the summary of what it comes to.

The table holds all that was measured, every learning rate included, and is written first: it needs no choice. The
summary shows the chosen hyper-parameters only, and fails where they cannot be chosen fairly. Records that cannot be
read are named, stand in neither, and make the command end with exit code 1.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ia2 import store
from ia2.config import ResultsConfig
from ia2.errors import MachineError, UserError
from ia2.methods import parse_method
from ia2.report.results import Record, read_results, tidy
from ia2.report.runs import read_runs
from ia2.report.selection import select
from ia2.report.summary import summarise
from ia2.report.tables import text_table

log = logging.getLogger(__name__)


def gather(config: ResultsConfig) -> Path:
    """Write the table, print the summary, and return the table's path.

    UserError where no record passes the filters or one measurement stands in two; MachineError, once all else is done,
    where a record is damaged.
    """
    root = store.root_of(config)
    results = read_results(root)
    for problem in results.problems:
        log.warning("%s is not counted: %s", problem.path, problem.reason)
    records = _chosen(results.records, config, root)
    table = tidy(records)
    table["record"] = [Path(path).relative_to(root).as_posix() for path in table["record"]]
    path = config.out or root / "reports" / "results.csv"
    _write(table, path)
    print(text_table(summarise(select(records, read_runs(root, records), config.hp_selection))))
    print(f"\n{len(table)} measurements of {len(records)} records: {path}")
    if num := len(results.problems):
        raise MachineError(f"{num} record{'s' if num > 1 else ''} cannot be read: delete them and evaluate again")
    return path


def _chosen(records: Sequence[Record], config: ResultsConfig, root: Path) -> list[Record]:
    """The records that pass every filter; UserError where a filter leaves none, with the values there were."""
    if not records:
        raise UserError(f"no evaluation record below {root / 'outputs' / 'evaluations'}; `ia2 evaluate` makes them")
    for method in config.model_types:
        if method != "base":
            parse_method(method)
    left = list(records)
    for name in ("model_types", "trained_datasets", "eval_datasets"):
        accepted = getattr(config, name)
        there = {_value(record, name) for record in left}
        if accepted and not there & set(accepted):
            raise UserError(f"no record passes --{name} {' '.join(accepted)}; there are {', '.join(sorted(there))}")
        left = [record for record in left if not accepted or _value(record, name) in accepted]
    return left


def _value(record: Record, name: str) -> str:
    """What a filter compares: fields, never names of files."""
    match name:
        case "model_types":
            return record.method
        case "trained_datasets":
            return record.trained_dataset
        case _:
            return record.settings.eval_dataset


def _write(table: pd.DataFrame, path: Path) -> None:
    with store.writing(path) as temporary:
        if path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False)
