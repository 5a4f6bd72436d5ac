"""Rows of the datasets that the published commands name, in the hub's schema. All are generated, none is quoted.

Many enough for the largest training set of those commands and its dev set (N = 200 and 50), and short, so that a
hundred demonstrations make a prompt of some thousand characters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hub_layout import write_file

Row = dict[str, object]

NUM_TRAIN, NUM_VALIDATION = 250, 12


@dataclass(frozen=True)
class GeneratedDataset:
    """Where a dataset stands on the hub, what its second split is called, and its row of a number."""

    source: str
    validation: str
    row: Callable[[int], Row]
    config: str = ""


def _gsm8k(number: int) -> Row:
    left = number % 5
    return {
        "question": f"{number} less {number - left}?",
        "answer": f"{number}-{number - left}=<<{number}-{number - left}={left}>>{left}\n#### {left}",
    }


def _sst2(number: int) -> Row:
    return {"idx": number, "sentence": f"{('dull', 'good')[number % 2]} film {number} ", "label": number % 2}


def _sciq(number: int) -> Row:
    wrong = {f"distractor{i}": f"{number + i}" for i in (1, 2, 3)}
    return {"question": f"Half of {2 * number}?", **wrong, "correct_answer": f"{number}", "support": "Halves."}


def _hmath(number: int) -> Row:
    return {
        "problem": f"Solve $x - 1 = {number}$.",
        "solution": f"$x = \\boxed{{{number + 1}}}$.",
        "level": "Level 1",
        "type": "Algebra",
    }


def _qasc(number: int) -> Row:
    choices = {"text": [f"{number + i}" for i in range(8)], "label": list("ABCDEFGH")}
    return {"id": f"{number}", "question": f"Which is {number}?", "choices": choices, "answerKey": "A"}


def _agnews(number: int) -> Row:
    return {"text": f"{('talks', 'match', 'sales', 'robot')[number % 4]} {number}", "label": number % 4}


DATASETS = {
    "gsm8k": GeneratedDataset("openai/gsm8k", "test", _gsm8k, config="main"),
    "sst2": GeneratedDataset("stanfordnlp/sst2", "validation", _sst2),
    "sciqa": GeneratedDataset("allenai/sciq", "validation", _sciq),
    "hmath_algebra": GeneratedDataset("EleutherAI/hendrycks_math", "test", _hmath, config="algebra"),
    "qasc": GeneratedDataset("allenai/qasc", "validation", _qasc),
    "agnews": GeneratedDataset("fancyzhx/ag_news", "test", _agnews),
}
"""By the name of the task."""


def write_generated_datasets(folder: Path) -> Path:
    """Write them all where IA2_OFFLINE_DATASETS is to point."""
    folder.mkdir(parents=True)
    for dataset in DATASETS.values():
        numbers = {"train": range(NUM_TRAIN), dataset.validation: range(NUM_TRAIN, NUM_TRAIN + NUM_VALIDATION)}
        for split, these in numbers.items():
            write_file(folder, dataset.source, split, [dataset.row(number) for number in these], dataset.config)
    return folder
