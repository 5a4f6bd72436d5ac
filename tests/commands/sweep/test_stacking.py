"""Runs trained in the same passes: what they come to, and what happens where they cannot."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_sweeps
import torch
from tiny_runs import assert_whole, leftovers

from ia2 import store
from ia2.cli import main
from ia2.commands.sweep import work
from ia2.commands.sweep.sweep import sweep
from ia2.config import SweepConfig
from ia2.errors import MachineError

# What they come to


def grid(root: Path, model: Path, **changes: Any) -> SweepConfig:
    """act and a2t of two runs and two learning rates."""
    fields = {"training_methods": ("act",), "lrs": (1e-2, 3e-3), "num_train_epochs": 2, **changes}
    return tiny_sweeps.grid(root, model, **fields)


def losses(root: Path) -> dict[str, float]:
    return {
        str(folder.relative_to(root)): store.read_object(folder / "final_loss_statistics.json")["best_dev_loss"]
        for folder in store.run_folders(root)
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> dict[str, float]:
    root = tmp_path_factory.mktemp("alone")
    sweep(grid(root, tiny_model_folder))
    return losses(root)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stacked_sweep_comes_to_what_its_runs_come_to_alone(
    alone: dict[str, float], tmp_path: Path, tiny_model_folder: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes = sweep(grid(tmp_path, tiny_model_folder, stack=4, max_parallel=workers))
    assert {outcome.status for outcome in outcomes} == {"done"}
    assert len(outcomes) == 2 + 8
    assert losses(tmp_path) == pytest.approx(alone, rel=1e-4)
    assert leftovers(tmp_path) == []
    assert_whole(tmp_path)
    assert "each alone" not in caplog.text


def test_a_loss_without_weight_is_trained_with_others(
    tmp_path: Path, tiny_model_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = []
    for stack in (1, 3):
        changes = {"training_methods": ("tna",), "ce_loss_weights": (0.0, 0.5, 1.0), "include_sequential": False}
        config = grid(tmp_path / str(stack), tiny_model_folder, stack=stack, **changes, lrs=(1e-2,), run_indices=(0,))
        with caplog.at_level("INFO"):
            outcomes = sweep(config)
        assert [outcome.status for outcome in outcomes] == ["done"] * 4
        found.append(losses(tmp_path / str(stack)))
    assert len(found[0]) == 3
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert "each alone" not in caplog.text


@pytest.mark.parametrize("stack", [1, 4])
def test_a_mistake_of_ours_ends_the_sweep_and_leaves_its_traceback(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, stack: int
) -> None:
    def planted(*_: object, **__: object) -> None:
        raise AssertionError("planted")

    monkeypatch.setattr(work, "train" if stack == 1 else "train_runs", planted)
    config = grid(tmp_path, tiny_model_folder, stack=stack, include_sequential=False)
    with pytest.raises(AssertionError, match="planted"):
        main(config.command("sweep", in_full=True).split()[1:])
    failures = sorted((tmp_path / "outputs" / "act" / "made_up").glob("*/failure.log"))
    assert len(failures) == stack
    assert all("in planted" in failure.read_text() for failure in failures)


def test_a_worthless_run_fails_alone_and_leaves_its_log(
    alone: dict[str, float], tmp_path: Path, tiny_model_folder: Path
) -> None:
    with pytest.raises(MachineError, match="2 of"):
        sweep(grid(tmp_path, tiny_model_folder, stack=6, lrs=(1e-2, 3e-3, 1e30)))
    assert losses(tmp_path) == pytest.approx(alone, rel=1e-4)
    failures = sorted((tmp_path / "outputs" / "act" / "made_up").glob("*/failure.log"))
    assert len(failures) == 2
    assert all("take a lower --lr" in failure.read_text() for failure in failures)


def test_what_stands_is_not_trained_again_and_its_mates_are(
    alone: dict[str, float], tmp_path: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = grid(tmp_path, tiny_model_folder, stack=4)
    sweep(config.model_copy(update={"lrs": (1e-2,), "include_sequential": False}))
    before = {folder: folder.stat().st_ino for folder in store.run_folders(tmp_path)}
    sweep(config)
    assert "8 runs: 2 are there, 6 are left" in capsys.readouterr().out
    assert {folder: folder.stat().st_ino for folder in before} == before
    assert losses(tmp_path) == pytest.approx(alone, rel=1e-4)


def test_runs_of_long_names_keep_their_histories(tmp_path: Path, tiny_model_folder: Path) -> None:
    """Names, cut for the temporary folders beside them, begin the same and differ in their last fields only."""
    model = shutil.copytree(tiny_model_folder, tmp_path / ("m" * 160))
    config = grid(tmp_path, model, stack=4, num_train_epochs=3, layers="0", include_sequential=False)
    assert {outcome.status for outcome in sweep(config)} == {"done"}
    folders = store.run_folders(tmp_path)
    assert len(folders) == 4
    assert all(len(folder.name) > 160 for folder in folders)
    written = [(folder / "history.jsonl").read_text().splitlines() for folder in folders]
    steps = [[json.loads(line)["step"] for line in lines if "train_loss" in line] for lines in written]
    assert steps == [[1, 2, 3]] * 4
    assert len({tuple(lines) for lines in written}) == 4
    assert_whole(tmp_path)
    assert leftovers(tmp_path) == []


# Where memory runs out


def exhausting(limit: int, seen: list[int]) -> Any:  # noqa: ANN401
    """A stand-in for `collate` of passes: more than so many rows do not fit."""
    from ia2.training import dataset  # noqa: PLC0415

    plain = dataset.collate

    def collate(examples: Any, *others: Any) -> Any:  # noqa: ANN401
        seen.append(len(examples))
        if len(examples) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB (made up)")
        return plain(examples, *others)

    return collate


@pytest.mark.parametrize("stack", [1, 4])
def test_out_of_memory_is_tried_once_more_with_half_as_many_examples(
    alone: dict[str, float],
    tmp_path: Path,
    tiny_model_folder: Path,
    stack: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    monkeypatch.setattr("ia2.training.dataset.collate", exhausting(2, seen))
    outcomes = sweep(grid(tmp_path, tiny_model_folder, stack=stack))
    assert {outcome.status for outcome in outcomes} == {"done"}
    assert losses(tmp_path) == pytest.approx(alone, rel=1e-4)
    assert (max(seen) > 4) == (stack > 1), "they were together first"


def test_memory_that_does_not_hold_half_of_them_fails_the_run_alone(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr("ia2.training.dataset.collate", exhausting(1, seen))
    with pytest.raises(MachineError, match="4 of"):
        sweep(grid(tmp_path, tiny_model_folder))
    assert losses(tmp_path) == {}
    (log,) = {file.read_text().splitlines()[-1] for file in (tmp_path / "outputs").glob("*/*/*/failure.log")}
    assert "out of memory" in log
