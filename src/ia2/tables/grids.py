"""A table of methods against datasets, as data: what LaTeX, Markdown and CSV files are written from.

A grid is of one model, number of examples N, adapter and label type. Its lines are (trained, evaluated) pairs of
datasets, its columns methods. What was not measured has no cell.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ia2.results.label import ADAPTER_LABELS, style_of

MISSING = "--"
NAMES = {"accuracy": "Acc. %", "ece_equal_count": "ECE", "ece_published": "ECE (published)"}
MEANINGS = {
    "accuracy": "exact match of the parsed answer over all examples",
    "ece_equal_count": "calibration error of the label, or of the first token of free text, 15 equal-count bins",
    "ece_published": "that of the first token, with the confidence renormalised over the ten most probable tokens",
}


@dataclass(frozen=True)
class Selected:
    """What one grid is of; no adapter where only the base model was measured, no label type where no method has one."""

    model_id: str
    num_examples: int
    adapter: str | None
    label_type: str | None

    @property
    def title(self) -> str:
        """All of it, in words."""
        parts = [self.model_id, f"N = {self.num_examples}"]
        if self.adapter is not None:
            parts.append(ADAPTER_LABELS[self.adapter].strip() or "LoRA")
        return ", ".join(parts + ([f"labels: {self.label_type}"] if self.label_type else []))


@dataclass(frozen=True)
class GridColumn:
    """A method, evaluated with demonstrations or without; `details` tell it from others of its name.

    `control` names a control, which is never the best of a line.
    """

    method: str
    with_icl: bool
    details: str = ""
    control: str = ""

    @property
    def heading(self) -> str:
        """`tok`, or `base + demos`, and in brackets what differs."""
        name = style_of(self.method, self.with_icl, self.control).tick.replace("\n", " ")
        return f"{name} [{self.details}]" if self.details else name


@dataclass(frozen=True)
class Cell:
    """One metric over n runs: mean and sd (ddof 1, NaN for one run), and how the hyper-parameters were chosen.

    `best` is whether, as numbers are shown, no other cell of its line is better; several can be.
    """

    mean: float
    sd: float = math.nan
    n: int = 0
    rule: str = ""
    best: bool = False


Cells = Mapping[tuple[GridColumn, str], Cell]
"""The cells of a line, by column and metric."""


@dataclass(frozen=True)
class Line:
    """One (trained, evaluated) pair of datasets; for the base model trained on is where demonstrations come from."""

    trained: str
    evaluated: str
    cells: Cells
    published: bool = False

    @property
    def names(self) -> list[str]:
        """What was trained on, and the evaluation set, with * where that is another."""
        evaluated = self.evaluated + "*" * (self.trained != self.evaluated)
        return [self.trained, f"{evaluated} (published)" if self.published else evaluated]


@dataclass(frozen=True)
class Grid:
    """One table; `rule` says how hyper-parameters were chosen, `remark` what else its reader has to know."""

    about: Selected
    metrics: tuple[str, ...]
    columns: tuple[GridColumn, ...]
    lines: tuple[Line, ...]
    rule: str
    remark: str = ""

    @property
    def places(self) -> list[tuple[GridColumn, str]]:
        """The places of a line's cells, from left to right."""
        return [(column, metric) for column in self.columns for metric in self.metrics]

    @property
    def caption(self) -> str:
        """What the table shows: of which model, which numbers, over how many runs, chosen how."""
        counts = sorted({cell.n for line in self.lines for cell in line.cells.values() if cell.n})
        num_runs = f"n = {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "")
        sentences = [
            self.about.title,
            *(f"{name_of(metric)}: {MEANINGS[metric]}" for metric in self.metrics if metric in MEANINGS),
            f"Mean ± sd over runs (ddof 1; none for one run), {num_runs} run{'s' if counts[-1] > 1 else ''}",
            "Without demonstrations, unless a column says + demos; base + demos is in-context learning (ICL)",
            *([f"Hyper-parameters, where several were trained: {self.rule}"] if self.about.adapter else []),
            "Bold: the best of its line, and what rounds to the same. A dash: not measured",
        ]
        if any(line.trained != line.evaluated for line in self.lines):
            sentences.append("*: out of distribution, not the dataset trained on")
        return ". ".join([*sentences, *([self.remark] if self.remark else [])]) + "."


def name_of(metric: str) -> str:
    """What a metric is called above its column."""
    return NAMES.get(metric, metric)


def shown(metric: str, value: float) -> str:
    """A number as tables show it: accuracies, which are percents, to one decimal, all else to three."""
    return format(value, ".1f" if metric.endswith("accuracy") else ".3f")


def with_best(cells: Cells, metrics: Sequence[str]) -> Cells:
    """The cells of a line, the best of each metric marked: all that show the best number, of two cells or more."""
    marked = dict(cells)
    for metric in metrics:
        numbers = {
            place: float(shown(metric, cell.mean))
            for place, cell in cells.items()
            if place[1] == metric and not place[0].control
        }
        sign = _sign(metric)
        if sign == 0 or len(numbers) < 2:
            continue
        best = max(sign * number for number in numbers.values())
        marked |= {
            place: replace(cells[place], best=True) for place, number in numbers.items() if sign * number == best
        }
    return marked


def _sign(metric: str) -> int:
    """1 where more of a metric is better, -1 where less is, 0 where neither is, as with the entropy."""
    if metric in ("nll", "brier") or "ece" in metric.split("_"):
        return -1
    return int(metric.endswith(("accuracy", "macro_f1", "auroc", "parse_rate")))
