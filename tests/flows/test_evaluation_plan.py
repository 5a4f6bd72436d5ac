"""Which base models and records an evaluation is about, said before anything is done."""

import dataclasses
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from made_up_runs import configs
from tiny_runs import files_of

from ia2 import cli, store
from ia2.commands.evaluate import Plan, describe, evaluate, plan
from ia2.commands.selection import select
from ia2.config import DEFAULT_MODEL_ID, EvaluateConfig
from ia2.errors import UserError


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IA2_MODEL_ID", raising=False)


@pytest.fixture
def root(made_up: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made_up, tmp_path / "root")


# Base models


def models_of(planned: Plan) -> list[tuple[str, bool]]:
    return [(job.spec.model_id, job.trained is None) for job in planned.jobs]


def test_each_run_has_its_own_base_model(made_up: Path) -> None:
    """And the records of one base model stand together."""
    planned = plan(made_up, EvaluateConfig(root=made_up, model_types=("base", "act"), trained_datasets=("capitals",)))
    llama, instruct = "org/Llama-3.2-1B", "org/Llama-3.2-1B-Instruct"
    assert sorted(set(models_of(planned))) == [(one, base) for one in (llama, instruct) for base in (False, True)]
    order = [model for model, _ in models_of(planned)]
    assert order == sorted(order, key=order.index)
    only = plan(made_up, EvaluateConfig(root=made_up, model_types=("act",), model_id=instruct))
    assert models_of(only) == [(instruct, False)]


def test_filters_of_the_base_model_leave_it_alone(made_up: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where no method is named, base is asked for too, and a dataset or N without a run is a question to it."""
    asked = EvaluateConfig(root=made_up, eval_datasets=("towns",), num_examples=(6,), run_indices=(0,))
    (job,) = plan(made_up, asked).jobs
    assert (job.trained, job.spec.num_train_examples, job.spec.model_id) == (None, 6, DEFAULT_MODEL_ID)
    assert "the base model alone is evaluated" in caplog.text


# Records


def records(planned: Plan, base: bool) -> list[tuple[Any, ...]]:
    return [
        (one.eval_dataset, one.icl_source_dataset, one.num_train_examples, one.run_idx)
        for one in (job.spec for job in planned.jobs if (job.trained is None) == base)
    ]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"model_types": ("base", "tok")}, [("capitals", "capitals", 4, 0)]),
        ({"model_types": ("base", "tok"), "eval_datasets": ("towns",)}, [("towns", "capitals", 4, 0)]),
        ({"model_types": ("base", "tok"), "icl_source_datasets": ("towns",)}, [("capitals", "towns", 4, 0)]),
        ({"model_types": ("base",), "eval_datasets": ("towns",), "num_examples": (4,), "run_indices": (0,)}, None),
        ({"model_types": ("base", "act"), "trained_datasets": ("towns",)}, [("towns", "towns", 4, 0)]),
    ],
    ids=lambda one: str(sorted(one) if isinstance(one, set) else one),
)
def test_base_is_shown_what_the_runs_are(
    made_up: Path, asked: dict[str, Any], expected: Sequence[tuple[Any, ...]] | None
) -> None:
    planned = plan(made_up, EvaluateConfig(root=made_up, model_id="org/Llama-3.2-1B", **asked))
    assert records(planned, base=True) == (expected or [("towns", "towns", 4, 0)])
    if expected:
        assert records(planned, base=False) == expected


def test_a_run_of_low_data_shows_its_labelled_examples(made_up: Path) -> None:
    planned = plan(made_up, EvaluateConfig(root=made_up, ldr_mode=True))
    assert records(planned, base=False) == records(planned, base=True) == [("capitals", "capitals", 5, 0)]


# The plan


def test_a_dry_run_prints_the_plan_and_writes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files_of(root)
    command = "evaluate --model_type base act --lr 0.01 0.02 --eval_dataset_name towns --dry_run --root"
    assert cli.main([*command.split(), str(root)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "14 records asked for, 0 done, 14 to make"
    act = "  act trained on capitals (Llama-3.2-1B), evaluated on towns, demonstrations from capitals: "
    assert f"{act}5 records; N 4 5, lr 0.01 0.02, run 0 1, lora_type qkv qkvo, T 1 3" in printed
    assert len(printed) < 12
    assert files_of(root) == before


def test_what_is_prepared_for_a_dataset_is_not_in_a_dry_run(tmp_path: Path) -> None:
    asked = EvaluateConfig(
        root=tmp_path, eval_datasets=("past_tense",), num_examples=(4,), run_indices=(0,), dry_run=True
    )
    (path,) = evaluate(asked)
    assert path.name == f"{store.short_model_name(DEFAULT_MODEL_ID)}_4_0__past_tense_on_past_tense_demos256_T8.json"
    assert files_of(tmp_path) == {}


def test_a_task_file_is_named_by_what_it_says(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\ntemplate = "Text:{text}\\nLabel:"\nanswer = "{label}"\n'
        'parser = "line"\nnum_generated_tokens = 2\n[source]\nfile = "rows.csv"\n',
        encoding="utf-8",
    )
    asked = EvaluateConfig(
        root=tmp_path, eval_datasets=(str(file),), num_examples=(4,), run_indices=(0,), model_types=("base",)
    )
    (job,) = plan(tmp_path, asked).jobs
    assert (job.spec.eval_dataset, job.spec.num_generated_tokens_eval) == ("mine", 2)


@pytest.mark.parametrize("dataset", ["capital", "gsm8"])
def test_an_unknown_dataset_is_told_first(made_up: Path, dataset: str) -> None:
    with pytest.raises(UserError, match=f"unknown dataset '{dataset}'"):
        plan(made_up, EvaluateConfig(root=made_up, eval_datasets=(dataset,), model_types=("base",)))


def test_a_run_that_does_not_say_what_it_is(root: Path) -> None:
    """It is not left out in silence, nor does it stop the others; where nothing else matches, it is told with that."""
    folder = store.run_folder(root, configs(root)["tok"])
    (folder / "run.json").write_text('{"config": {', encoding="utf-8")
    config = EvaluateConfig(root=root, model_types=("act", "tok"), trained_datasets=("capitals",))
    planned = plan(root, config)
    assert set(planned.unreadable) == {folder}
    assert f"cannot be read: {folder}" in describe(planned)
    assert {job.trained.config.training_method for job in planned.jobs if job.trained} == {"act"}
    with pytest.raises(UserError, match=f"training_method .*; one cannot be read: {re.escape(str(folder))}"):
        plan(root, config.model_copy(update={"model_types": ("tok",)}))
    assert not plan(root, config.model_copy(update={"model_types": ("base",)})).unreadable
    assert select(root, config).unreadable.keys() == {folder}


def test_what_is_done_is_said(made_up: Path) -> None:
    planned = plan(made_up, EvaluateConfig(root=made_up, model_types=("act",), trained_datasets=("towns",)))
    done = dataclasses.replace(planned, jobs=tuple(dataclasses.replace(job, done=True) for job in planned.jobs))
    assert describe(done).splitlines()[0] == "1 record asked for, 1 done, 0 to make"
    assert ": 1 record, 1 done; N 4, lr 0.01, run 0" in describe(done)


# The readme's commands


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        (
            "--model_types tok tokl --lora_types qkv --num_examples 100 --lrs 1e-4 --run_indices 0 --tokl_top_k 5 "
            "--uncertainty_analysis",
            {
                "model_types": ("tok", "tokl"),
                "lora_types": ("qkv",),
                "num_examples": (100,),
                "lrs": (1e-4,),
                "run_indices": (0,),
                "tokl_top_ks": (5,),
                "uncertainty_analysis": True,
            },
        ),
        (
            "--model_types base tok tokl act tna --uncertainty_analysis",
            {"model_types": ("base", "tok", "tokl", "act", "tna"), "uncertainty_analysis": True},
        ),
        (
            "--model_type ia3-tok --eval_dataset_name sst2 --icl_source_dataset poems --icl_max_demos 5 "
            "--num_generated_tokens_eval 1 --eval_with_icl --tokl_top_k all --ldr_mode --trained_dataset sst2",
            {
                "model_types": ("ia3-tok",),
                "eval_datasets": ("sst2",),
                "icl_source_datasets": ("poems",),
                "icl_max_demos": 5,
                "num_generated_tokens_eval": 1,
                "eval_with_icl": True,
                "tokl_top_ks": ("all",),
                "ldr_mode": True,
                "trained_datasets": ("sst2",),
            },
        ),
    ],
)
def test_the_commands_of_the_readme(command: str, fields: dict[str, Any]) -> None:
    assert cli.parse_arguments(["evaluate", *command.split()]) == EvaluateConfig(**fields)
