"""One reader of what is below a root: records, runs, similarities and overlaps, each read strictly.

A file that cannot be read whole is named and counts for nothing; a command does all else, and then fails.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ia2.errors import MachineError, UserError
from ia2.results.costs import training_seconds
from ia2.results.frame import tidy
from ia2.results.records import Record, examine_records, with_one_number
from ia2.results.runs import TrainedRun, examine_runs
from ia2.store.measurements import Examined, Problem, tell

if TYPE_CHECKING:
    from ia2.analysis.similarity import Similarity
    from ia2.analysis.subspace import Overlap


@dataclass(frozen=True)
class Stored:
    """The measurements below a root, and the files that could not be read; analyses where they were requested."""

    root: Path
    records: tuple[Record, ...]
    runs: tuple[TrainedRun, ...]
    similarities: tuple[Similarity, ...]
    overlaps: tuple[Overlap, ...]
    problems: tuple[Problem, ...]


def read(root: Path, analyses: Collection[str] = (), may_be_none: bool = False) -> Stored:
    """Everything below `root`; of the `analyses` those of these names, similarity and overlap.

    UserError where no record is found, unless none is needed.
    """
    records = examine_records(root)
    if not records.found and not may_be_none:
        tell(records.problems)
        raise UserError(f"no evaluation record below {root / 'outputs' / 'evaluations'}; `ia2 evaluate` makes them")
    runs = examine_runs(root, records.found)
    similarities: Examined[Similarity] = Examined()
    overlaps: Examined[Overlap] = Examined()
    if "similarity" in analyses:
        from ia2.analysis.similarity import examine_similarities

        similarities = examine_similarities(root)
    if "overlap" in analyses:
        from ia2.analysis.subspace import examine_overlaps

        overlaps = examine_overlaps(root)
    problems = tuple(one for kind in (records, runs, similarities, overlaps) for one in kind.problems)
    tell(problems)
    return Stored(root, with_one_number(records.found), runs.found, similarities.found, overlaps.found, problems)


def read_results(root: Path) -> pd.DataFrame:
    """Every measurement below `root` as a tidy frame: a row for each, every setting a column."""
    stored = read(root)
    return tidy(stored.records, training_seconds(stored.records, stored.runs))


def fail_for(problems: Sequence[Problem]) -> None:
    """MachineError where something could not be read; to be called when all else is done."""
    if num := len(problems):
        what = "record" if all(problem.path.suffix == ".json" for problem in problems) else "file or folder"
        raise MachineError(f"{num} {what}{'s' if num > 1 else ''} cannot be read: delete them and make them again")
