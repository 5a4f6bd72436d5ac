"""Overlaps as text for the terminal: pairs of methods, and below them pairs of runs of one method as the control."""

from collections.abc import Sequence

import pandas as pd

from ia2.analysis.subspace import Overlap
from ia2.methods import METHODS
from ia2.report.captions import number
from ia2.report.text import aligned, mean_and_sd, settings_of, told_apart
from ia2.store import short_model_name

NOTE = (
    "Mean over layers and projections of each pair; ± sd over pairs (ddof 1). left, right: overlap of the singular "
    "subspaces of what\nan update writes and reads, energy: weighted by what it puts there, chance: what random ones "
    "would have; cosine: of the\nwhole updates. Runs of one index begin with the same A, so their right subspaces are "
    "alike before anything is learned."
)
SHOWN = {
    "left_overlap": "left",
    "chance_left": "chance",
    "left_energy_overlap": "left energy",
    "chance_left_energy": "chance",
    "right_overlap": "right",
    "chance_right": "chance",
    "cosine": "cosine",
}
"""Column of the rows -> heading."""
TITLES = {"methods": "two methods", "runs": "control: two runs"}


def overlap_table(found: Sequence[Overlap]) -> str:
    """A table for each dataset, base model and N, over all pairs of runs."""
    titles = list(dict.fromkeys(map(_title, found)))
    sections = [_section(title, [one for one in found if _title(one) == title]) for title in titles]
    return "\n\n".join([*sections, NOTE])


def _title(one: Overlap) -> str:
    config = one.config_a
    return f"{config.dataset}, N = {config.num_labels}, {short_model_name(config.model_id)}"


def _section(title: str, found: Sequence[Overlap]) -> str:
    text = [title]
    for relation, heading in TITLES.items():
        related = sorted((one for one in found if one.relation == relation), key=_place)
        if related:
            text += aligned([heading, *SHOWN.values(), "pairs"], _lines(related))
    return "\n".join(text)


def _place(one: Overlap) -> tuple[int, int]:
    order = list(METHODS)
    return order.index(one.config_a.training_method), order.index(one.config_b.training_method)


def _lines(found: Sequence[Overlap]) -> list[list[str]]:
    names = [f"{one.config_a.training_method}, {one.config_b.training_method}" for one in found]
    names = told_apart(names, [settings_of(one.config_a, one.config_b) for one in found])
    means: dict[str, list[pd.DataFrame]] = {name: [] for name in names}
    for one, name in zip(found, names, strict=True):
        means[name].append(one.frame()[list(SHOWN)].mean().to_frame().T)
    return [[name, *_cells(pd.concat(rows)), str(len(rows))] for name, rows in means.items()]


def _cells(means: pd.DataFrame) -> list[str]:
    """The mean over pairs; a chance level is no measurement, and has no spread."""
    return [
        number(float(means[column].mean()), ".3f") if column.startswith("chance") else mean_and_sd(means[column])
        for column in SHOWN
    ]
