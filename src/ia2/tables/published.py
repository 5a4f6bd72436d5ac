"""The numbers of the paper, and where they stand beside ours.

Source: Mishra, Khashabi, Liu, "IA2: Alignment with ICL Activations Improves Supervised Fine-Tuning", arXiv 2509.22621;
means over five runs, without their sd. The paper's SciQ without ECE is the free-text form, our sciqa. Its ECE is
our `ece_published`; learning rates were chosen by accuracy on the evaluation set.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ia2.store import short_model_name
from ia2.tables.grids import Cell, Cells, Grid, GridColumn, Line, Selected

SOURCE = "arXiv 2509.22621"
REMARK = (
    f"Published: {SOURCE}, means over 5 runs, learning rates picked by accuracy on the evaluation set itself; its ECE "
    "stands under ECE (published)"
)
COLUMNS = (GridColumn("base", True), *(GridColumn(method, False) for method in ("tok", "act", "a2t", "tokl")))
"""The paper's ICL, SFT, IA2, IA2 -> SFT and soft labels."""

_QWEN = """
sst2        sst2          85.4 .13  65.2 .22  82.7 .28  90.4 .06
sst2        finsen        41.9 .19  68.4 .30  71.3 .21  82.4 .11
sst2        poems         65.1 .11  56.5 .33  62.4 .19  68.4 .30
finsen      finsen        63.6 .12  67.4 .31  63.1 .24  78.7 .16
agnews      agnews        30.0 .13  27.9 .52  24.0 .11  31.8 .35
sciq_remap  sciq_remap    87.7 .07  88.3 .07  90.4 .09  91.7 .05
sciq_remap  qasc_remap    56.5 .08  76.5 .09  71.2 .12  79.4 .09
strategytf  strategytf    66.0 .07  52.4 .29  62.2 .16  62.4 .29
gsm8k       gsm8k         76.4 -    70.9 -    77.4 -    73.6 -
gsm8k       gsm8ks        68.4 -    64.5 -    66.2 -    68.8 -
hmath_algebra hmath_algebra 60.4 -  50.4 -    47.8 -    55.3 -
sciqa       sciqa         37.5 -    35.0 -    6.9  -    40.8 -
"""
_LLAMA = "sst2 sst2 77.0 .10 53.5 .34 64.9 .30 90.4 .09 55.9 .16"
"""Trained, evaluated, then accuracy in percent and ECE of each method."""


@dataclass(frozen=True)
class Setting:
    """What published numbers are of: LoRA adapters on ground truth, and a model of this short name."""

    model: str
    num_examples: int


def _read(text: str) -> dict[tuple[str, str], Cells]:
    """The cells of each line of a table above, by its datasets."""
    lines = [line.split() for line in text.strip().splitlines()]
    return {(trained, evaluated): _cells(numbers) for trained, evaluated, *numbers in lines}


def _cells(numbers: Sequence[str]) -> Cells:
    pairs = zip(COLUMNS, numbers[::2], numbers[1::2], strict=False)  # soft labels stand in one line only
    named = [{(column, "accuracy"): accuracy, (column, "ece_published"): ece} for column, accuracy, ece in pairs]
    return {place: Cell(float(number)) for one in named for place, number in one.items() if number != "-"}


PUBLISHED = {Setting("Qwen3-4B-Base", 4): _read(_QWEN), Setting("Llama-3.2-1B", 8): _read(_LLAMA)}


def beside_published(grid: Grid) -> Grid:
    """The grid with a published line below each line that the paper has, and a remark on what it has not."""
    numbers = _numbers_of(grid.about)
    if not numbers:
        return replace(grid, remark=f"{SOURCE} has no numbers of this model, N, adapter and label type")
    lines: list[Line] = []
    missing = []
    for line in grid.lines:
        theirs = numbers.get((line.trained, line.evaluated), {})
        cells = {place: cell for place, cell in theirs.items() if place in grid.places}
        lines += [line, replace(line, cells=cells, published=True)] if cells else [line]
        missing += [] if cells else [" / ".join(line.names)]
    remark = REMARK + (f". It has no numbers of {', '.join(missing)}" if missing else "")
    return replace(grid, lines=tuple(lines), remark=remark)


def _numbers_of(about: Selected) -> dict[tuple[str, str], Cells]:
    if about.adapter != "lora" or about.label_type != "ground_truth":
        return {}
    return PUBLISHED.get(Setting(short_model_name(about.model_id), about.num_examples), {})
