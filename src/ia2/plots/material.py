"""What the plots of one folder are made from, and what making one comes to.

A place is what was trained on, what was evaluated, and where how many demonstrations came from, on one base model.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd
from matplotlib.figure import Figure

from ia2.analysis.similarity import Similarity
from ia2.config import HpSelection
from ia2.results.analyses import Compared, compared
from ia2.results.frame import aggregate
from ia2.results.runs import TrainedRun
from ia2.results.select import Selection


@dataclass(frozen=True)
class Place:
    """What the plots of one folder and base model are of."""

    trained: str
    evaluated: str
    icl_source: str
    icl_max_demos: int
    model_id: str

    @property
    def short(self) -> str:
        """The datasets alone, for above the axes."""
        return self.evaluated if self.trained == self.evaluated else f"{self.trained} → {self.evaluated}"

    @property
    def title(self) -> str:
        """What was trained and evaluated, in words."""
        star = "" if self.trained == self.evaluated else f", evaluated on {self.evaluated}"
        return f"{self.model_id} trained on {self.trained}{star}"


@dataclass(frozen=True)
class Material:
    """The measurements at a place: records that are shown, all runs, and similarities."""

    place: Place
    selection: Selection
    runs: tuple[TrainedRun, ...]
    similarities: tuple[Similarity, ...] = ()

    @property
    def rule(self) -> HpSelection:
        return self.selection.hp_selection

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The aggregate of the records."""
        return aggregate(self.selection)

    @cached_property
    def sizes(self) -> list[int]:
        """Every N that was evaluated."""
        return sorted({record.settings.num_train_examples for record in self.selection.records})

    @cached_property
    def compared(self) -> list[Compared]:
        """The models that were compared with the teacher."""
        return compared(self.similarities, self.runs)

    def of_size(self, num_examples: int) -> Selection:
        """The records at one N."""
        records = tuple(one for one in self.selection.records if one.settings.num_train_examples == num_examples)
        return replace(self.selection, records=records)


@dataclass(frozen=True)
class Drawing:
    """A figure under its name, which is without model and ending; or why there is none."""

    name: str
    figure: Figure | None = None
    reason: str = ""
