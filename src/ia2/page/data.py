"""The data that every section of the page is made from."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from ia2.analysis.similarity import Similarity
from ia2.analysis.subspace import Overlap
from ia2.page.answers import QuerySet, query_sets
from ia2.results.costs import StageCost
from ia2.results.records import Record
from ia2.results.runs import TrainedRun
from ia2.results.select import Selection
from ia2.store.measurements import Problem


@dataclass(frozen=True)
class PageData:
    """Records and runs that pass the filters, those of them that are shown (`selection`), and analyses.

    `command` makes the page again, `kept` is the method whose adapter was kept.
    """

    root: Path
    records: tuple[Record, ...]
    runs: tuple[TrainedRun, ...]
    similarities: tuple[Similarity, ...]
    overlaps: tuple[Overlap, ...]
    selection: Selection
    summary: pd.DataFrame
    stages: tuple[StageCost, ...]
    problems: tuple[Problem, ...]
    command: str
    kept: str = ""

    @cached_property
    def groups(self) -> dict[str, pd.DataFrame]:
        """The rows of the view by model by their title: each pair of datasets, in order."""
        return {str(title): rows for title, rows in self.summary.groupby("title", sort=False)}

    @cached_property
    def from_path(self) -> dict[str, Record]:
        """The records that are shown, by path."""
        return {str(record.path): record for record in self.selection.records}

    def records_of(self, rows: pd.DataFrame) -> list[Record]:
        """The records behind rows of the view by model, each once."""
        return [self.from_path[path] for path in dict.fromkeys(rows["records"].explode())]

    @cached_property
    def query_sets(self) -> tuple[QuerySet, ...]:
        """The queries of each group, and the answers of the models."""
        return tuple(query_sets(self.groups, self.from_path))
