"""The data that every section of the page is made from."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from ia2.analysis.similarity import Similarity
from ia2.analysis.subspace import Overlap
from ia2.page.answers import QuerySet, query_sets
from ia2.results.costs import StageCost
from ia2.results.records import Record, Results
from ia2.results.runs import TrainedRun
from ia2.results.select import Selection


@dataclass(frozen=True)
class PageData:
    """Records and runs, the view by model, and analyses.

    `command` makes the page again, `kept` is the method whose adapter was kept.
    """

    results: Results
    runs: tuple[TrainedRun, ...]
    similarities: tuple[Similarity, ...]
    overlaps: tuple[Overlap, ...]
    selection: Selection
    summary: pd.DataFrame
    stages: tuple[StageCost, ...]
    command: str
    kept: str = ""

    @property
    def root(self) -> Path:
        return self.results.root

    @cached_property
    def groups(self) -> dict[str, pd.DataFrame]:
        """The rows of the view by model by their title: each pair of datasets, in order."""
        return {str(title): rows for title, rows in self.summary.groupby("title", sort=False)}

    @cached_property
    def records(self) -> dict[str, Record]:
        """The records that are shown, by path."""
        return {str(record.path): record for record in self.selection.records}

    def records_of(self, rows: pd.DataFrame) -> list[Record]:
        """The records behind rows of the view by model, each once."""
        return [self.records[path] for path in dict.fromkeys(rows["records"].explode())]

    @cached_property
    def query_sets(self) -> tuple[QuerySet, ...]:
        """The queries of each group, and the answers of the models."""
        return tuple(query_sets(self.groups, self.records))
