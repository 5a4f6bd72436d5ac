"""Sweeps on the tiny model: all runs, once, the same whoever does them; failures; resuming."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from commands import Commands, Ended
from tiny_runs import leftovers
from tiny_sweeps import ends, grid, jobs_of, summaries, weights, words

from ia2 import store
from ia2.commands.data_files import create_all
from ia2.commands.processes import GROUP, start_local, visible
from ia2.commands.sweep import work
from ia2.commands.sweep.grid import expand
from ia2.commands.sweep.schedule import Job, Outcome, Schedule
from ia2.commands.sweep.sweep import sweep
from ia2.commands.train import train
from ia2.config import CreateConfig, SweepConfig, TrainConfig
from ia2.errors import MachineError, UserError
from ia2.models.loading import ModelCache

ALL: dict[str, Any] = {"training_methods": ("tok", "act", "tna", "tokl")}
SMALL: dict[str, Any] = {**ALL, "lrs": (1e-2, 1e-3)}
"""With the sequential methods 24 runs and two sets of targets."""
LARGE: dict[str, Any] = {**ALL, "lrs": (1e-2, 3e-3, 1e-3, 3e-4), "lora_rs": (4, 8), "run_indices": tuple(range(5))}
"""240 runs, and five sets of targets."""


def swept(commands: Commands, config: SweepConfig, num_workers: int) -> Ended:
    """A whole sweep by a command, whose runs and targets were each made once, with each base model loaded once."""
    ended = commands.run(*words(config, "--max_parallel", num_workers))
    assert ended.code == 0, ended.stderr
    assert config.root is not None
    num_runs, num_targets = len(expand(config)), len(config.run_indices)
    folders = {str(folder): 1 for folder in store.run_folders(config.root)}
    assert len(folders) == num_runs
    assert {name: number for name, number in ended.done.items() if name in folders} == folders
    collected = {name: number for name, number in ended.done.items() if name.endswith("/manifest.json")}
    assert list(collected.values()) == [1] * num_targets
    (summary,) = summaries(config.root)
    assert len(ends(summary, "done")) == len(summary["jobs"]) == num_runs + num_targets
    loaded = [number for deed, number in ended.done.items() if deed.startswith("model loaded by ")]
    assert set(loaded) == {1}
    assert len(loaded) <= num_workers, "a worker that comes up late, on a busy machine, may find no work left"
    assert {job["num_loaded"] for job in summary["jobs"]} == {1}
    assert f"\n{num_runs} done\n" in ended.stdout
    assert leftovers(config.root) == []
    return ended


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory, commands: Commands, tiny_model_folder: Path) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("serial")
    swept(commands, grid(root, tiny_model_folder, **SMALL), num_workers=1)
    return weights(root)


def test_a_sweep_gives_what_its_runs_give_alone(
    serial: dict[str, bytes], tmp_path: Path, tiny_model_folder: Path
) -> None:
    """In another order; `tna` comes first and collects all that the others need, as a sweep does."""
    models = ModelCache()
    runs = expand(grid(tmp_path, tiny_model_folder, training_methods=("act", "tok", "tna")))
    for run in sorted(runs, key=lambda run: run.training_method != "tna"):
        train(run, models)
    found = weights(tmp_path)
    assert len(found) == 10
    assert found.items() <= serial.items()


def test_two_workers_give_the_same_bits_and_share_the_work(
    serial: dict[str, bytes], commands: Commands, tmp_path: Path, tiny_model_folder: Path
) -> None:
    swept(commands, grid(tmp_path, tiny_model_folder, **SMALL), num_workers=2)
    assert len(serial) == 24
    assert weights(tmp_path) == serial


def test_retraining_trains_each_run_once(commands: Commands, tmp_path: Path, tiny_model_folder: Path) -> None:
    """A first phase for itself, and not again for each second one or by the other worker."""
    config = grid(tmp_path, tiny_model_folder, run_indices=(0,), label_types=("ground_truth", "icl_outputs"))
    sweep(config)
    ended = commands.run(*words(config), "--retrain", "--max_parallel", 2)
    assert ended.code == 0, ended.stderr
    folders = {str(folder): 1 for folder in store.run_folders(tmp_path)}
    assert len(folders) == 1 + 2 + 2 + 2
    assert {name: number for name, number in ended.done.items() if name in folders} == folders


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_grid_of_hundreds_of_runs(commands: Commands, tmp_path: Path, tiny_model_folder: Path) -> None:
    swept(commands, grid(tmp_path / "two", tiny_model_folder, **LARGE), num_workers=2)
    swept(commands, grid(tmp_path / "one", tiny_model_folder, **LARGE), num_workers=1)
    assert len(weights(tmp_path / "two")) == 240
    assert weights(tmp_path / "two") == weights(tmp_path / "one")


def test_a_dry_run_writes_no_outputs(tmp_path: Path, tiny_model_folder: Path, capsys: Any) -> None:  # noqa: ANN401
    assert sweep(grid(tmp_path, tiny_model_folder, **ALL, dry_run=True)) == []
    out = capsys.readouterr().out
    assert "12 runs: 0 are there, 12 are left" in out
    assert "nothing is known of 14 of these 14 jobs" in out
    assert not (tmp_path / "outputs").exists()


def test_one_failing_run_takes_only_what_needs_it_along(
    tmp_path: Path,
    tiny_model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, broken = work.train, list[TrainConfig]()

    def breaking(config: TrainConfig, models: ModelCache, keep_first: bool = False) -> Path:
        if config.training_method == "act" and config.run_idx == 1:
            broken.append(config)
            raise RuntimeError("made to fail")
        return whole(config, models, keep_first)

    monkeypatch.setattr(work, "train", breaking)
    config = grid(tmp_path, tiny_model_folder, **ALL)
    with pytest.raises(MachineError, match="1 of 14 jobs failed"):
        sweep(config)
    assert len(broken) == 1, "only a lack of memory is tried again"
    (summary,) = summaries(tmp_path)
    failed, skipped = (job for job in summary["jobs"] if job["status"] != "done")
    assert (failed["status"], failed["reason"]) == ("failed", "RuntimeError: made to fail")
    assert (skipped["status"], skipped["reason"]) == ("skipped", f"it needs {failed['key']}, which failed")
    out = capsys.readouterr().out
    assert "10 done, 1 failed, 1 skipped" in out
    assert f"] skipped: {skipped['key']}" in out, "what it took along is told as well"
    (log,) = (tmp_path / "outputs" / failed["key"]).rglob("failure.log")
    assert "Traceback" in log.read_text()
    assert log.read_text().endswith("RuntimeError: made to fail\n")
    assert len(weights(tmp_path)) == 10
    monkeypatch.undo()
    sweep(config)
    assert len(weights(tmp_path)) == 12
    assert not list(tmp_path.rglob("failure.log"))


def test_targets_are_planned_once_with_all_that_is_needed(tmp_path: Path, tiny_model_folder: Path) -> None:
    targets, *runs = jobs_of(grid(tmp_path, tiny_model_folder, **ALL, lrs=(1e-2, 1e-3), run_indices=(0,)))
    assert targets.kinds == {"tokens", "activations", "distributions"}
    assert all(job.needs[0] == targets.key and not job.kinds for job in runs)
    gold = {"training_methods": ("tok",), "label_types": ("ground_truth",), "include_sequential": False}
    assert not any(job.kinds for job in jobs_of(grid(tmp_path, tiny_model_folder, **gold)))


# Who does it


def test_gpus_are_counted_among_those_that_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible((0, 1)) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-8f3a")
    assert visible((0, 1)) == ["5", "GPU-8f3a"]
    with pytest.raises(UserError, match="--gpus 2: this process sees 2 GPUs, counted from 0"):
        visible((1, 2))
    config = SweepConfig(training_methods=("tok",), gpus=(0, 1))
    jobs = [Job(key, TrainConfig(training_method="tok")) for key in "abc"]
    assert Schedule(Path(), jobs, config).num_workers == 2, "at least a worker for each"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpus": (0,), "ray_address": "auto"}, "on a cluster Ray chooses"),
        ({"gpus": (0,), "device": "cpu"}, "--gpus and --device cpu"),
        ({"gpus": (0,), "device": "cuda:1"}, "--gpus and --device cuda:1"),
    ],
)
def test_gpus_that_cannot_be_meant(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SweepConfig(training_methods=("tok",), **changes)


def test_the_runs_of_a_sweep_are_a_group_for_wandb(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sweep after another in the same process, as `ia2 run` has them; and a person's own group."""
    groups: list[str | None] = []

    def noted(schedule: Schedule, jobs: Sequence[Job], _models: ModelCache) -> None:
        groups.append(os.environ.get(GROUP))
        schedule.report(Outcome(jobs[0].key, "done"))

    monkeypatch.setattr(work, "do", noted)
    monkeypatch.delenv(GROUP, raising=False)
    config = grid(tmp_path, tiny_model_folder, training_methods=("act",), include_sequential=False, run_indices=(0,))
    sweep(config)
    sweep(config.model_copy(update={"lrs": (1e-3,)}))
    assert GROUP not in os.environ
    monkeypatch.setenv(GROUP, "mine")
    sweep(config)
    assert groups[0] == groups[1] != groups[2] == groups[3]
    assert groups[4:] == ["mine", "mine"]


def test_workers_are_set_up_for_their_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three workers on two GPUs: the third shares the first."""
    started: list[dict[str, str]] = []
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.setattr(subprocess, "Popen", lambda _command, env, **_: started.append(env))
    for gpus in ((0, 1), ()):
        config = SweepConfig(training_methods=("tok",), gpus=gpus, max_parallel=3)
        for slot in range(3):
            start_local(config, 3, tmp_path / f"{slot}.0.jsonl")
    assert [env["CUDA_VISIBLE_DEVICES"] for env in started] == ["5", "7", "5", "5,7", "5,7", "5,7"]
    assert {env["OMP_NUM_THREADS"] for env in started} == {"2"}


def test_splits_of_create_serve_a_sweep_that_asks_for_all_demonstrations(
    tmp_path: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = grid(tmp_path, tiny_model_folder, max_icl_demos=4, lrs=(1e-2, 3e-3), dry_run=True)
    create_all(CreateConfig(root=tmp_path, datasets=("made_up",), num_train_examples=(4,), num_runs=2))
    sweep(config)
    assert "failed" not in capsys.readouterr().out
    with pytest.raises(MachineError):
        sweep(config.model_copy(update={"max_icl_demos": 2, "dry_run": False}))
    told = capsys.readouterr().out.splitlines()
    reasons = [line for line in told if "max_icl_demos=4, not 2" in line]
    assert len(reasons) == 2 * 2, "once before the work and once after it, for each of the two splits"
    assert all(" and 7 more" in line for line in reasons)
