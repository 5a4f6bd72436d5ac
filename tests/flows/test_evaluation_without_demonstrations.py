"""Where no pass shows demonstrations, none have to be there, and none can be wrong."""

from pathlib import Path

import pytest
from tiny_runs import evaluation, training

from ia2 import store
from ia2.commands.evaluate import evaluate
from ia2.commands.train import train
from ia2.errors import UserError
from ia2.models.loading import ModelCache


def test_one_labelled_example_makes_no_split_and_needs_none(tmp_path: Path, tiny_model_folder: Path) -> None:
    low_data = {"ldr_mode": True, "num_labelled_samples": 1, "num_unlabelled_samples": 3, "max_permutations": 1}
    train(training(tmp_path, tiny_model_folder, **low_data), ModelCache())
    (record,) = evaluate(evaluation(tmp_path, tiny_model_folder, model_types=("act",)), ModelCache())
    assert store.read_object(record)["labels_used"]["train"] == 1
    assert not store.split_path(tmp_path, "capitals", 1, 0).exists()


def test_a_control_of_runs_that_are_shown_nothing_is_refused(tmp_path: Path, tiny_model_folder: Path) -> None:
    train(training(tmp_path, tiny_model_folder), ModelCache())
    config = evaluation(tmp_path, tiny_model_folder, model_types=("act",), control="wrong_labels", dry_run=True)
    with pytest.raises(UserError, match="--control wrong_labels changes what is shown: add base, or --eval_with_icl"):
        evaluate(config, ModelCache())
    assert len(evaluate(config.model_copy(update={"eval_with_icl": True}), ModelCache())) == 1
    assert len(evaluate(config.model_copy(update={"model_types": ("act", "base")}), ModelCache())) == 1
