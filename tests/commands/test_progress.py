"""How far a run is, read from its history while it is written; how many steps there can be."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import training, write_dataset

from ia2.commands.progress import TAIL, most_steps, progress_of
from ia2.commands.train import resolve, train
from ia2.models.loading import ModelCache

RUN = "act/made_up/run[1]"


def write(root: Path, *lines: str, process: int = 1, age: float = 0.0) -> Path:
    run = root / RUN
    history = run.with_name(f".{run.name}.{process}.tmp") / "history.jsonl"
    history.parent.mkdir(parents=True, exist_ok=True)
    history.write_text("".join(lines))
    then = time.time() - age
    os.utime(history, (then, then))
    return run


def entry(step: int, **losses: float) -> str:
    return json.dumps({"phase": "act", "step": step, **losses}) + "\n"


def test_the_last_step_and_the_last_dev_loss(tmp_path: Path) -> None:
    run = write(tmp_path, entry(0, dev_loss=9.0), entry(1, train_loss=2.0, dev_loss=8.0), entry(2, train_loss=1.5), "{")
    progress = progress_of(run)
    assert progress is not None
    assert (progress.phase, progress.step, progress.train_loss, progress.dev_loss) == ("act", 2, 1.5, 8.0)
    assert progress.age < 60


def test_nothing_is_known_before_the_first_whole_line(tmp_path: Path) -> None:
    assert progress_of(tmp_path / RUN) is None
    assert progress_of(write(tmp_path, '{"phase": "a')) is None


def test_a_loss_of_another_phase_is_none_of_this(tmp_path: Path) -> None:
    other = json.dumps({"phase": "tok", "step": 7, "dev_loss": 1.0}) + "\n"
    progress = progress_of(write(tmp_path, other, entry(0)))
    assert progress is not None
    assert (progress.step, progress.train_loss, progress.dev_loss) == (0, None, None)


def test_the_end_of_a_long_history_is_enough(tmp_path: Path) -> None:
    run = write(tmp_path, *(entry(step, train_loss=float(step), dev_loss=0.5) for step in range(3000)))
    progress = progress_of(run)
    assert progress is not None
    assert progress.step == 2999
    assert (run.with_name(f".{run.name}.1.tmp") / "history.jsonl").stat().st_size > 5 * TAIL


def test_what_a_killed_process_left_is_older(tmp_path: Path) -> None:
    write(tmp_path, entry(50), process=1, age=100.0)
    progress = progress_of(write(tmp_path, entry(3), process=2))
    assert progress is not None
    assert progress.step == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"num_train_examples": 5, "batch_size": 2},
        {"shuffle_demos": True, "num_shuffles": 3},
        {"training_method": "a2t", "label_type": "ground_truth"},
        {"ldr_mode": True, "num_labelled_samples": 3, "num_unlabelled_samples": 4, "max_permutations": 2},
        {
            "ldr_mode": True,
            "num_labelled_samples": 3,
            "num_unlabelled_samples": 5,
            "max_permutations": 2,
            "training_method": "tok",
            "label_type": "ground_truth",
        },
    ],
)
def test_a_run_whose_patience_lasts_takes_so_many_steps(
    tmp_path: Path, tiny_model_folder: Path, changes: dict[str, Any]
) -> None:
    write_dataset(tmp_path, "made_up", [f"q{i}" for i in range(40)])
    config = resolve(training(tmp_path, tiny_model_folder, dataset="made_up", patience=1000, **changes))
    folder = train(config, ModelCache())
    phases = json.loads((folder / "final_loss_statistics.json").read_text())["phases"]
    assert {phase: most_steps(tmp_path, config, phase) for phase in phases} == {
        phase: one["num_steps"] for phase, one in phases.items()
    }
