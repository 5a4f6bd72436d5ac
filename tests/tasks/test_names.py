"""From flags to the name of a task."""

from typing import Literal

import pytest

from ia2.errors import UserError
from ia2.tasks import task
from ia2.tasks.names import dataset_name
from ia2.tasks.registry import PARTS, TASKS

Prompt = Literal["normal", "hard"]
Labels = Literal["normal", "remap"]


@pytest.mark.parametrize(
    ("dataset", "subset", "prompt", "labels", "name"),
    [
        ("sciq", None, "normal", "normal", "sciq"),
        ("sciq", None, "normal", "remap", "sciq_remap"),
        ("sciq_remap", None, "normal", "remap", "sciq_remap"),
        ("sciq_remap", None, "normal", "normal", "sciq_remap"),
        ("sciqa", None, "hard", "normal", "sciqa_hard"),
        ("sciqa_hard", None, "hard", "normal", "sciqa_hard"),
        ("sciqa_hard", None, "normal", "normal", "sciqa_hard"),
        ("cmath", "algebra", "normal", "normal", "hmath_algebra"),
        ("hmath", "algebra", "hard", "normal", "hmath_algebra_hard"),
        ("hmath", "counting-and-probability", "normal", "normal", "hmath_counting_and_probability"),
        ("hmath", " Counting and  probability ", "normal", "normal", "hmath_counting_and_probability"),
        ("hmath_number_theory", None, "normal", "normal", "hmath_number_theory"),
        ("mmlupro", None, "normal", "normal", "mmlupro"),
        ("mmlupro", "computer science", "normal", "normal", "mmlupro_computer_science"),
        ("my tasks/own.toml", None, "normal", "normal", "my tasks/own.toml"),
    ],
)
def test_the_name(dataset: str, subset: str | None, prompt: Prompt, labels: Labels, name: str) -> None:
    assert dataset_name(dataset, subset, prompt, labels) == name
    assert name in TASKS or name.endswith(".toml")


@pytest.mark.parametrize(
    ("dataset", "subset", "prompt", "labels", "message"),
    [
        ("hmath", None, "normal", "normal", "dataset hmath needs --subset: algebra, prealgebra, .*probability$"),
        ("cmath", None, "hard", "normal", "dataset cmath needs --subset: algebra, "),
        ("cmath", "calculus", "normal", "normal", "cmath has no subset 'calculus'; it has: algebra, .*"),
        ("mmlupro", "algebra", "normal", "normal", "mmlupro has no subset 'algebra'; it has: biology, .*"),
        ("sciq", "algebra", "normal", "normal", r"sciq has no subsets \(asked for: 'algebra'\); .*: hmath, mmlupro"),
        ("hmath_algebra", "algebra", "normal", "normal", "hmath_algebra has no subsets"),
        ("sciq", None, "hard", "remap", "sciq with prompt_template=hard and label_template=remap"),
        ("sciq_hard", None, "normal", "remap", "a hard form and a remap form, and none that is both"),
        ("sciq_remap", None, "hard", "normal", "a hard form and a remap form, and none that is both"),
        ("own.toml", None, "hard", "normal", "own.toml is a task file, which has its own prompt and labels"),
    ],
)
def test_what_has_no_name(dataset: str, subset: str | None, prompt: Prompt, labels: Labels, message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataset_name(dataset, subset, prompt, labels)


def test_every_part_is_a_task() -> None:
    for whole, parts in PARTS.items():
        assert all(f"{whole}_{part}" in TASKS for part in parts)


def test_the_readmes_other_name_is_no_task() -> None:
    with pytest.raises(UserError, match=r"unknown dataset 'cmath_algebra' \(did you mean hmath_algebra"):
        task("cmath_algebra")
