"""Runs for the tests of evaluation."""

from pathlib import Path

import pytest
from made_up_runs import make_up
from ten_runs import Answers, Ten, rows_of

from ia2.commands.evaluate import evaluate
from ia2.models.loading import ModelCache


@pytest.fixture(scope="session")
def ten(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Ten:
    return Ten.trained(tmp_path_factory.mktemp("ten") / "root", tiny_model_folder)


@pytest.fixture(scope="session")
def together(ten: Ten, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """The answers of all runs and the base models, from one evaluation."""
    return rows_of(evaluate(ten.copied(tmp_path_factory.mktemp("together") / "root").config(), ModelCache()))


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A root whose runs differ in one field or another; nothing is to be written below it."""
    return make_up(tmp_path_factory.mktemp("made_up"), tiny_model_folder)
