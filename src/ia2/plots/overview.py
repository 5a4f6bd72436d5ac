"""All evaluation sets in one figure: a line for each, a mark for each model."""

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ia2.plots.drawing import STYLE, WIDTH, look_of
from ia2.results.frame import Row, rows_of

LINE_HEIGHT = 0.27
"""Inches that an evaluation set takes."""
SHIFT = 0.2
"""How far up or down marks are moved at most, so that equal values do not hide each other."""
LONGEST_NAME = 30
"""Characters of a set's name; a longer one is cut."""


def overview(rows: pd.DataFrame, column: str, label: str, greatest: float | None = None) -> Figure:
    """A column of the view by model, for every model and evaluation set; what is missing is a gap.

    Models that have one label have one look. The axis begins at 0 and ends at `greatest` if that is given.
    """
    sets = rows.drop_duplicates("title")
    frame = rows.assign(place=pd.factorize(rows["title"])[0])
    with rc_context(STYLE):
        num_models = frame["label"].nunique()
        height = LINE_HEIGHT * len(sets) + 0.2 * -(-num_models // 2) + 0.7
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        models = [marks for _, marks in frame.sort_values("order").groupby("label", sort=False)]
        for marks, shift in zip(models, np.linspace(-SHIFT, SHIFT, num_models), strict=True):
            _marks(axes, marks.assign(place=marks["place"] + shift), column)
        axes.set_yticks(range(len(sets)), [_name(one) for one in rows_of(sets)])
        axes.set_ylim(len(sets) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="both")
        axes.set_xlim(0, greatest)
        axes.set_xlabel(label)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8, handletextpad=0.3)
    return figure


def _marks(axes: Axes, marks: pd.DataFrame, column: str) -> None:
    model = marks.iloc[0]
    axes.plot(
        marks[column].to_numpy(dtype=float),
        marks["place"].to_numpy(),
        linestyle="none",
        alpha=0.9,
        label=model["label"],
        clip_on=False,
        **look_of(model["method"], model["with_icl"], control=model["control"]).marks(5),
    )


def _name(row: Row) -> str:
    """In one line: the set, and in brackets what was trained on if that is another."""
    name = f"{row.eval_dataset}* ({row.trained_dataset})" if row.out_of_distribution else row.eval_dataset
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
