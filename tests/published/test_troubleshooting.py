"""The situations of the published troubleshooting section: each is told in one line that says what to do."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from specification import FILE
from tiny_runs import evaluation, training

from ia2 import cli
from ia2.commands.evaluate import evaluate
from ia2.commands.train import train
from ia2.models.loading import ModelCache

SITUATIONS: list[str] = json.loads(FILE.read_text(encoding="utf-8"))["troubleshooting"]
NAME = "tiny-llama_qkv_8_8_3_4_0.01_0"

Told = Callable[[str], str]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """One run of act on capitals, with a record of it at 4 demonstrations."""
    root, models = tmp_path_factory.mktemp("project"), ModelCache()
    train(training(root, tiny_model_folder), models)
    evaluate(evaluation(root, tiny_model_folder), models)
    return root


@pytest.fixture
def told(
    root: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Told:
    """What the one line says with which a command ends, by the exit code 2."""
    monkeypatch.setenv("IA2_MODEL_ID", str(tiny_model_folder))
    monkeypatch.chdir(root)
    monkeypatch.delenv("IA2_ROOT", raising=False)

    def tell(command: str) -> str:
        capsys.readouterr()
        assert cli.main(command.split()) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ia2: ")]
        return line

    return tell


def test_there_are_no_others() -> None:
    assert SITUATIONS == [
        'Training fails with "PEFT model not found"',
        "Evaluation finds no models",
        "Plotting shows no data",
    ]


ASKED = "train --training_method tok --dataset capitals --num_train_examples 4 --lr 0.5 --num_generated_tokens 3"


def test_there_is_no_adapter_to_go_on_from(told: Told, root: Path) -> None:
    """Its name stands in the message, so that it can be compared with those that are there."""
    named = root / "outputs/tok/capitals/tiny-llama_qkv_8_8_3_4_0.5_0_icl_outputs"
    expected = f"ia2: PEFT model not found: {named}; train it first, or give its folder to --continue_training"
    assert told(f"{ASKED} --continue_training") == expected
    assert told(f"{ASKED} --continue_training elsewhere").startswith("ia2: PEFT model not found: elsewhere; train it")


def test_there_is_no_base_model_to_go_on_with(told: Told, root: Path) -> None:
    there = next((root / "outputs/act/capitals").iterdir())
    asked = ASKED.replace("tok", "act", 1)
    line = told(f"{asked} --continue_training {there} --model_id {root}/nowhere")
    assert line.startswith(f"ia2: model_id='{root}/nowhere' could not be loaded (no such folder")
    assert "give a hub id, a folder, a .gguf file or one of" in line


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (
            "--model_types act --trained_datasets sst2",
            "--trained_datasets sst2; dataset of the 1 before this filter: capitals",
        ),
        ("--model_types act --lrs 0.5", "--lrs 0.5; lr of the 1 before this filter: 0.01"),
        ("--model_types tok", "--model_types tok; training_method of the 1 before this filter: act"),
    ],
)
def test_evaluation_finds_no_models(told: Told, root: Path, flags: str, found: str) -> None:
    assert told(f"evaluate {flags}") == f"ia2: no trained run below {root}/outputs matches {found}"


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("--eval_dataset sst2", "--eval_datasets sst2; there are capitals"),
        ("--icl_max_demos 3", "--icl_max_demos 3; there are 4"),
        ("--icl_source_dataset past_tense", "--icl_source_datasets past_tense; there are capitals"),
    ],
)
def test_plotting_finds_other_records(told: Told, flags: str, found: str) -> None:
    """Demonstrations fewer than the N = 4 that the record shows; any greater number shows the same 4."""
    assert told(f"plot {flags}") == f"ia2: no record passes {found}"


@pytest.mark.parametrize("command", ["plot", "plot-all --include_standard"])
def test_plotting_finds_no_records(told: Told, tmp_path: Path, command: str) -> None:
    where = f"{tmp_path}/outputs/evaluations"
    expected = f"ia2: no evaluation record below {where}; `ia2 evaluate` makes them"
    assert told(f"{command} --root {tmp_path}") == expected
