"""Subspace overlaps of LoRA updates: read strictly, as one frame.

One file pair below outputs/subspace compares two runs. `relation` says which: `methods` are two methods of the same
split and hyper-parameters, `runs` are two runs of the same method, the control. A layer and projection where either
update is zero has no subspace, and no row.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow.parquet

from ia2.config import StoredRun
from ia2.report.reading import Examined, Measured, Problem, examine, read_rows, read_whole, tell

SCHEMA = 2
MEASURES = (
    "left_overlap",
    "right_overlap",
    "left_energy_overlap",
    "right_energy_overlap",
    "effective_rank_a",
    "effective_rank_b",
    "cosine",
    "chance_left",
    "chance_right",
    "chance_left_energy",
    "chance_right_energy",
)
ROW_COLUMNS = ("layer", "projection", "rank_a", "rank_b", *MEASURES)
"""Columns of a parquet file."""
PAIR_COLUMNS = (
    *("run_a", "run_b", "method_a", "method_b", "dataset", "relation"),
    *("model_id", "num_train_examples", "lr", "run_idx_a", "run_idx_b"),
)
"""What the frame says of the pair on each of its rows; runs are called {method}/{dataset}/{name}."""


class Overlap(Measured):
    """Two runs compared: outputs/subspace/{dataset}/{name}.json, their layers in the parquet beside it."""

    relation: Literal["methods", "runs"]
    run_a: str
    run_b: str
    config_a: StoredRun
    config_b: StoredRun
    num_rows: int
    num_absent: int
    adapter_sha256_a: str
    adapter_sha256_b: str
    command: str = ""

    def check_rows(self, rows: pyarrow.parquet.ParquetFile) -> None:
        """Raise ValueError where there is not a row for each layer and projection."""
        if rows.metadata.num_rows != self.num_rows:
            raise ValueError(f"num_rows={self.num_rows}, but there are {rows.metadata.num_rows}")

    def rows(self) -> pd.DataFrame:
        """Its ROW_COLUMNS."""
        rows: pd.DataFrame = read_rows(self.parquet, ROW_COLUMNS).to_pandas()
        return rows

    def described(self) -> dict[str, str | int | float]:
        """The PAIR_COLUMNS."""
        a, b = self.config_a, self.config_b
        return {
            **{"run_a": self.run_a, "run_b": self.run_b},
            **{"method_a": a.training_method, "method_b": b.training_method},
            **{"dataset": a.dataset, "relation": self.relation, "model_id": a.model_id},
            **{"num_train_examples": a.num_labels, "lr": a.lr, "run_idx_a": a.run_idx, "run_idx_b": b.run_idx},
        }


@dataclass(frozen=True)
class Overlaps(Examined[Overlap]):
    """All that could be read below a root, and what could not."""

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per (pair of runs, layer, projection): PAIR_COLUMNS and ROW_COLUMNS."""
        columns = [*PAIR_COLUMNS, *ROW_COLUMNS]
        frames = [one.rows().assign(**one.described()) for one in self.found if one.num_rows]
        return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def read_overlaps(root: Path) -> pd.DataFrame:
    """One row per (pair of runs, layer, projection): PAIR_COLUMNS and ROW_COLUMNS.

    What is not whole is told and left out; UserError where a file was written by a newer version.
    """
    examined = examine_overlaps(root)
    tell(examined.problems)
    return examined.frame


def examine_overlaps(root: Path) -> Overlaps:
    """Every pair below `root`, and the files that are not whole; UserError where one is newer than this."""
    examined = examine((root / "outputs" / "subspace").glob("*/*.json"), Overlap, SCHEMA)
    return Overlaps(examined.found, examined.problems)


def read_overlap(path: Path) -> Overlap | Problem:
    """One pair, or why it cannot be counted; UserError where its schema is newer than this version's."""
    return read_whole(path, Overlap, SCHEMA)
