"""What every section of the page is made from, and what it is."""

from dataclasses import dataclass

from markupsafe import Markup

from ia2.report.costs import StageCost
from ia2.report.results import Results
from ia2.report.runs import TrainedRun
from ia2.report.selection import Selection
from ia2.report.summary import Group


@dataclass(frozen=True)
class PageData:
    """What every section is made from."""

    results: Results
    runs: tuple[TrainedRun, ...]
    selection: Selection
    groups: tuple[Group, ...]
    stages: tuple[StageCost, ...]


@dataclass(frozen=True)
class Section:
    """A titled part of the page; `html` is safe to include, `anchor` its id."""

    anchor: str
    title: str
    html: Markup
