"""What every section of the page is made from, and what it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from markupsafe import Markup

from ia2.config import ReportConfig
from ia2.report.costs import StageCost
from ia2.report.examples import QuerySet
from ia2.report.query_sets import query_sets
from ia2.report.results import Record, Results
from ia2.report.runs import TrainedRun
from ia2.report.selection import Selection, select
from ia2.report.summary import Group, groups, summarise


@dataclass(frozen=True)
class PageData:
    """What every section is made from; `command` makes the page again."""

    results: Results
    runs: tuple[TrainedRun, ...]
    selection: Selection
    summary: pd.DataFrame
    stages: tuple[StageCost, ...]
    command: str

    @classmethod
    def of(
        cls, results: Results, runs: Sequence[TrainedRun], stages: Sequence[StageCost], config: ReportConfig
    ) -> "PageData":
        """UserError where hyper-parameters cannot be chosen fairly; `runs` must cover those of the records."""
        selection = select(results.records, runs, config.hp_selection)
        return cls(results, tuple(runs), selection, summarise(selection), tuple(stages), config.command("report"))

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
