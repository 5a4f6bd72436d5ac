"""Many adapters on one base are each as if alone, whatever the batches and their order."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import Commands
from ten_runs import KINDS, NUM_RECORDS, NUM_RUNS, Answers, Ten, assert_same_answers, rows_of
from tiny import save_tiny_model
from tiny_runs import assert_whole, evaluation, training

from ia2.commands.evaluate import Plan, evaluate, plan
from ia2.commands.train import train
from ia2.config import EvaluateConfig
from ia2.models.loading import ModelCache
from ia2.models.packing import DecodingState


@pytest.fixture
def here(ten: Ten, tmp_path: Path) -> Ten:
    return ten.copied(tmp_path / "root")


def apart(here: Ten, models: Callable[[], ModelCache]) -> list[Path]:
    """Each kind and run in an evaluation of its own."""
    return [
        path
        for kind in (*KINDS, "base")
        for run_idx in range(NUM_RUNS)
        for path in evaluate(here.config(kind, run_indices=(run_idx,), num_examples=(4,)), models())
    ]


def test_the_base_is_loaded_once_for_all(here: Ten, together: Answers) -> None:
    fresh = ModelCache()
    paths = evaluate(here.config(), fresh)
    assert (fresh.num_loaded, len(paths)) == (1, NUM_RECORDS)
    assert_whole(here.root)
    assert_same_answers(rows_of(paths), together)


def test_many_adapters_together_are_as_each_on_a_base_of_its_own(here: Ten, together: Answers) -> None:
    assert_same_answers(rows_of(apart(here, ModelCache)), together)


@pytest.mark.slow
def test_many_adapters_together_are_as_each_in_a_process_of_its_own(
    here: Ten, together: Answers, commands: Commands
) -> None:
    for kind in (*KINDS, "base"):
        for run_idx in range(NUM_RUNS):
            chosen = ["--model_type", kind, "--run_idx", run_idx, "--num_examples", 4, "--trained_dataset", "capitals"]
            ended = commands.run(*here.command, *chosen)
            assert ended.code == 0, ended.stderr
    assert_same_answers(rows_of(here.records), together)


@pytest.mark.parametrize("token_budget", [pytest.param(1, marks=pytest.mark.slow), 100_000])
def test_batches_and_order_change_nothing(
    here: Ten, together: Answers, token_budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turned(root: Path, config: EvaluateConfig) -> Plan:
        planned = plan(root, config)
        return replace(planned, jobs=planned.jobs[::-1])

    monkeypatch.setattr("ia2.commands.evaluate.plan", turned)
    assert_same_answers(rows_of(evaluate(here.config(token_budget=token_budget), ModelCache())), together)


@pytest.mark.slow
def test_memory_that_runs_out_changes_nothing(here: Ten, together: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    run, ran_out = DecodingState.forward, list[int]()

    def limited(state: DecodingState, *arguments: Any, **named: Any) -> object:
        if len(state.rows) > 2:
            ran_out.append(len(state.rows))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(state, *arguments, **named)

    monkeypatch.setattr(DecodingState, "forward", limited)
    assert_same_answers(rows_of(evaluate(here.config(), ModelCache())), together)
    assert ran_out


def test_answers_of_another_base_would_be_noticed(ten: Ten, together: Answers, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / "tiny-llama", seed=1)
    config = evaluation(tmp_path, other, eval_datasets=("capitals",), num_examples=(4,), run_indices=(0,))
    found = rows_of(evaluate(config, ModelCache()))
    assert found.keys() <= together.keys()
    with pytest.raises(AssertionError):
        assert_same_answers(found, {name: together[name] for name in found})


# On the embedded model


@pytest.mark.model
def test_adapters_of_the_embedded_model_together_are_as_each_alone(tmp_path: Path) -> None:
    models, base = ModelCache(), Path("smollm2-135m")
    for method, lr in (("act", 1e-3), ("ia3-tok", 1e-2), ("prefix-tok", 1e-2)):
        more = {"training_method": method, "lr": lr, "num_virtual_tokens": 4, "num_train_epochs": 2}
        train(training(tmp_path, base, num_dev_examples=0, **more), models)
    here = Ten(tmp_path, base)
    few = {"icl_max_demos": 3, "num_eval_examples": 4}
    together = rows_of(evaluate(here.config(**few), models))
    for record in here.records:
        record.unlink()
    for kind in ("prefix-tok", "ia3-tok", "base", "act"):
        evaluate(here.config(kind, token_budget=150, **few), ModelCache() if kind == "act" else models)
    assert_same_answers(rows_of(here.records), together)
