"""What every section of the page is made from, and what it is."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from ia2.analysis.similarity import Similarity
from ia2.analysis.subspace import Overlap
from ia2.page.examples import QuerySet
from ia2.page.query_sets import query_sets
from ia2.results.costs import StageCost
from ia2.results.records import Record, Results
from ia2.results.runs import TrainedRun
from ia2.results.select import Selection
from ia2.results.summary import Group, groups


@dataclass(frozen=True)
class Analyses:
    """Comparisons of activations, and of updates."""

    similarities: tuple[Similarity, ...] = ()
    overlaps: tuple[Overlap, ...] = ()


@dataclass(frozen=True)
class PageData:
    """What every section is made from; `command` makes the page again, `kept` is the method whose adapter was kept."""

    results: Results
    runs: tuple[TrainedRun, ...]
    analyses: Analyses
    selection: Selection
    summary: pd.DataFrame
    stages: tuple[StageCost, ...]
    command: str
    kept: str = ""

    @property
    def root(self) -> Path:
        return self.results.root

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The summary by evaluation set."""
        return tuple(groups(self.summary))

    def records_of(self, group: Group) -> list[Record]:
        """The records behind the rows of a group."""
        paths = set(group.rows["records"].explode())
        return [record for record in self.selection.records if str(record.path) in paths]

    @cached_property
    def query_sets(self) -> tuple[QuerySet, ...]:
        """The queries of each group, and what the models answered."""
        return tuple(query_sets(self.groups, self.selection.records))


@dataclass(frozen=True)
class Section:
    """A titled part of the page; `html` is safe to include, `anchor` its id."""

    anchor: str
    title: str
    html: Markup
