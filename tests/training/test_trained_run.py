"""A run read back from its folder: what it says of itself, and what is refused with the file's name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from described import describe

from ia2.config import TrainConfig
from ia2.errors import UserError
from ia2.training.trained_run import read_trained_run

TASK = {"name": "capitals", "template": "Input: {x}\nOutput:", "answer_template": " {y}", "parser": "line"}


def described(**fields: Any) -> dict[str, Any]:
    """A run.json, of a run with 5 dev examples."""
    config = TrainConfig.model_validate({"training_method": "tok", "num_generated_tokens": 3, **fields})
    return {
        "config": config.relevant_fields(),
        "base": {"model_id": "some/model", "revision": "abc", "dtype": "float32"},
        "task": dict(TASK),
        "num_dev_used": 0 if config.ldr_mode else 5,
    }


def written(folder: Path, description: object) -> Path:
    assert isinstance(description, dict)
    describe(folder, description)
    return folder


def test_a_run_is_what_its_config_says(tmp_path: Path) -> None:
    trained = read_trained_run(written(tmp_path, described(num_train_examples=12)))
    assert (trained.model_id, trained.dtype, trained.num_generated_tokens) == ("some/model", "float32", 3)
    assert (trained.config.num_train_examples, trained.spec.name) == (12, "capitals")


@pytest.mark.parametrize(("stop", "ends"), [("separator", "separator"), ("eos", "eos"), ("published", "separator")])
def test_responses_end_as_they_were_read_in_training(tmp_path: Path, stop: str, ends: str) -> None:
    assert read_trained_run(written(tmp_path, described(stop=stop))).stop == ends


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        # the N of the demonstrations, always; dev labels where a phase is judged by ground truth
        ({}, {"train": 12, "dev": 0}),
        ({"label_type": "ground_truth"}, {"train": 12, "dev": 5}),
        ({"training_method": "act", "label_type": "ground_truth"}, {"train": 12, "dev": 0}),
        ({"training_method": "a2t", "label_type": "ground_truth"}, {"train": 12, "dev": 5}),
        # in the low-data regime the dev queries are unlabelled
        ({"ldr_mode": True, "num_labelled_samples": 4}, {"train": 4, "dev": 0}),
        ({"ldr_mode": True, "num_labelled_samples": 4, "label_type": "ground_truth"}, {"train": 4, "dev": 0}),
    ],
)
def test_labels_used(tmp_path: Path, fields: dict[str, Any], labels: dict[str, int]) -> None:
    trained = read_trained_run(written(tmp_path, described(num_train_examples=12, **fields)))
    assert trained.config.labels_used(trained.description["num_dev_used"]) == labels


def without(*keys: str) -> Callable[[dict[str, Any]], object]:
    def change(description: dict[str, Any]) -> object:
        inner = description
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]
        return description

    return change


MALFORMED: dict[str, Callable[[dict[str, Any]], object]] = {
    "no config": without("config"),
    "no method": without("config", "training_method"),
    "no T": without("config", "num_generated_tokens"),
    "no base": without("base"),
    "no revision": without("base", "revision"),
    "no model": without("base", "model_id"),
    "no number format": without("base", "dtype"),
    "no task": without("task"),
    "no template": without("task", "template"),
    "no number of dev examples": without("num_dev_used"),
    "an unknown field": lambda description: {**description, "config": {**description["config"], "colour": "red"}},
    "a null": lambda description: {**description, "base": None},
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_config_that_lacks_something_is_named(tmp_path: Path, case: str) -> None:
    folder = written(tmp_path, MALFORMED[case](described()))
    with pytest.raises(UserError, match=rf"{folder}/run\.json does not describe a run \(.+\)") as told:
        read_trained_run(folder)
    assert "\n" not in str(told.value)
