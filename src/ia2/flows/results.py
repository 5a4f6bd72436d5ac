"""`ia2 results`: every measurement in one table, and the summary of what it comes to.

The table holds all that was measured, every learning rate included, and is written first: it needs no choice. The
summary shows the chosen hyper-parameters only, and fails where they cannot be chosen fairly. Records that cannot be
read are named, stand in neither, and make the command end with exit code 1.
"""

from pathlib import Path

import pandas as pd

from ia2 import store
from ia2.config import ResultsConfig
from ia2.results.costs import training_seconds
from ia2.results.frame import summarise, tidy
from ia2.results.read import fail_for, read
from ia2.results.select import select
from ia2.results.where import where
from ia2.tables import text_table

MARKS = ("record,kind,method,", '"field_name": "record"')
"""Columns of the table as CSV and as Parquet name them: no file without is replaced."""


def gather(config: ResultsConfig) -> Path:
    """Write the table, print the summary, and return the table's path.

    UserError where no record passes the filters or one measurement stands in two; MachineError, once all else is done,
    where a record is damaged.
    """
    root = store.resolve_root(config)
    stored = read(root)
    records = where(stored.records, config)
    table = tidy(records, training_seconds(records, stored.runs))
    table["record"] = [Path(path).relative_to(root).as_posix() for path in table["record"]]
    path = config.out or root / "reports" / "results.csv"
    _write(table, path)
    print(text_table(summarise(select(records, stored.runs, config.hp_selection))))
    print(f"\n{len(table)} measurements of {len(records)} records: {path}")
    fail_for(stored.problems)
    return path


def _write(table: pd.DataFrame, path: Path) -> None:
    with store.replacing(path, MARKS[path.suffix == ".parquet"]) as temporary:
        if path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False)
