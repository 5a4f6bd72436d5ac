"""The specification says what the published text says, where that is at hand; and every part of it was found."""

import json
from pathlib import Path

import pytest
from specification import FILE, WORKFLOWS, read_specification

from ia2.tasks.registry import TASKS

SPECIFICATION = json.loads(FILE.read_text(encoding="utf-8"))
TEXTS = [
    text for folder in Path(__file__).parents if (text := folder / "shared/reference/original-readme.txt").is_file()
]
SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.skipif(not TEXTS, reason="the published text is not part of the repository")
def test_nothing_of_the_text_is_forgotten() -> None:
    text = TEXTS[0].read_text(encoding="utf-8")
    assert read_specification(text) == SPECIFICATION
    assert text.count("\npython ") + text.count("\nconda ") == len(SPECIFICATION["commands"])


def test_it_is_whole() -> None:
    assert [len(SPECIFICATION[part]) for part in ("scripts", "commands", "datasets", "tree")] == [21, 49, 12, 26]
    assert {one["workflow"] for one in SPECIFICATION["commands"]} == set(WORKFLOWS)
    assert not any("\\" in one["command"] for one in SPECIFICATION["commands"])
    assert all(SPECIFICATION.values())


def test_every_file_of_its_tree_is_there() -> None:
    assert {file.name for file in SCRIPTS.glob("*.py")} == set(SPECIFICATION["scripts"])


def test_every_dataset_that_it_names_is_known() -> None:
    assert set(SPECIFICATION["datasets"]) <= TASKS.keys()
