"""What the plots of one folder are made from, and what making one comes to.

A place is what was trained on, what was evaluated, and where how many demonstrations came from, on one base model.
"""

from dataclasses import dataclass, replace
from functools import cached_property

from matplotlib.figure import Figure

from ia2.analysis.similarity import Similarity
from ia2.config import HpSelection
from ia2.results.analyses import Compared, compared
from ia2.results.points import Measurements


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
    """What was measured at a place."""

    place: Place
    measurements: Measurements
    similarities: tuple[Similarity, ...] = ()

    @property
    def rule(self) -> HpSelection:
        return self.measurements.selection.hp_selection

    @cached_property
    def sizes(self) -> list[int]:
        """Every N that was evaluated."""
        return sorted({record.settings.num_train_examples for record in self.measurements.selection.records})

    @cached_property
    def compared(self) -> list[Compared]:
        """The models that were compared with the teacher."""
        return compared(self.similarities, self.measurements.runs)

    def of_size(self, num_examples: int) -> Measurements:
        """The measurements at one N."""
        selection = self.measurements.selection
        records = tuple(one for one in selection.records if one.settings.num_train_examples == num_examples)
        return replace(self.measurements, selection=replace(selection, records=records))


@dataclass(frozen=True)
class Drawing:
    """A figure under its name, which is without model and ending; or why there is none."""

    name: str
    figure: Figure | None = None
    reason: str = ""
