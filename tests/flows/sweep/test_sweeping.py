"""Sweeps on the tiny model: all runs, once, the same whoever does them; failures; resuming."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import write_dataset

from ia2 import store
from ia2.config import SweepConfig
from ia2.errors import MachineError
from ia2.flows.sweep import work
from ia2.flows.sweep.executors import InProcess, Pool
from ia2.flows.sweep.grid import expand
from ia2.flows.sweep.plan import Job, plan_of
from ia2.flows.sweep.schedule import Outcome, Schedule
from ia2.flows.sweep.sweeping import sweep
from ia2.flows.training import resolve, train
from ia2.lm.shelf import Models

METHODS = ("tok", "act", "tna", "tokl")


def grid(root: Path, model: Path, **changes: Any) -> SweepConfig:
    """tok, act, tna, tokl and the sequential methods of two runs: 12 runs, two sets of targets."""
    fields: dict[str, Any] = {
        "root": root,
        "model_id": str(model),
        "training_methods": METHODS,
        "datasets": ("made_up",),
        "num_train_examples": (4,),
        "num_generated_tokens": (2,),
        "lrs": (1e-2,),
        "run_indices": (0, 1),
        "num_train_epochs": 1,
        "include_sequential": True,
        **changes,
    }
    if not store.pool_path(root, "made_up").exists():
        write_dataset(root, "made_up", [f"q{i}" for i in range(30)])
    return SweepConfig(**fields)


def adapters(root: Path) -> dict[str, bytes]:
    """The weights of every finished run, by its place."""
    outputs = root / "outputs"
    return {
        str(folder.relative_to(outputs)): (folder / "adapter_model.safetensors").read_bytes()
        for folder in store.run_folders(root)
    }


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("serial")
    outcomes = sweep(grid(root, tiny_model_folder))
    assert {outcome.status for outcome in outcomes} == {"done"}
    assert len(outcomes) == 2 + 12
    assert outcomes[-1].num_loaded == 1, "the base model is loaded once"
    assert len(list((root / "outputs" / "targets").glob("*/manifest.json"))) == 2
    return adapters(root)


def test_a_sweep_gives_what_its_runs_give_alone(
    serial: dict[str, bytes], tmp_path: Path, tiny_model_folder: Path
) -> None:
    """In another order; `tna` comes first and collects all that the others need, as a sweep does."""
    models = Models()
    runs = expand(grid(tmp_path, tiny_model_folder, training_methods=("act", "tok", "tna")))
    for run in sorted(runs, key=lambda run: run.training_method != "tna"):
        train(run, models)
    found = adapters(tmp_path)
    assert len(found) == 10
    assert found.items() <= serial.items()


def test_two_workers_give_the_same_bits_and_share_the_work(
    serial: dict[str, bytes], tmp_path: Path, tiny_model_folder: Path
) -> None:
    config = grid(tmp_path, tiny_model_folder, max_parallel=2)
    outcomes = sweep(config)
    assert adapters(tmp_path) == serial
    assert Counter(outcome.key for outcome in outcomes).most_common(1)[0][1] == 1
    assert {outcome.num_loaded for outcome in outcomes} == {1}
    assert not list(tmp_path.rglob("*.tmp"))


def test_what_stands_is_not_done_again(tmp_path: Path, tiny_model_folder: Path, capsys: Any) -> None:  # noqa: ANN401
    small = {"training_methods": ("act",), "include_sequential": False}
    sweep(grid(tmp_path, tiny_model_folder, **small, run_indices=(0,)))
    before = adapters(tmp_path)
    capsys.readouterr()
    outcomes = sweep(grid(tmp_path, tiny_model_folder, **small))
    assert "2 runs: 1 are there, 1 are left" in capsys.readouterr().out
    assert sum("targets" not in outcome.key for outcome in outcomes) == 1
    assert before.items() < adapters(tmp_path).items()


def test_a_dry_run_writes_no_outputs(tmp_path: Path, tiny_model_folder: Path, capsys: Any) -> None:  # noqa: ANN401
    assert sweep(grid(tmp_path, tiny_model_folder, dry_run=True)) == []
    out = capsys.readouterr().out
    assert "12 runs: 0 are there, 12 are left" in out
    assert "nothing is known of 14 of these 14 jobs" in out
    assert not (tmp_path / "outputs").exists()


def test_one_failing_run_takes_only_what_needs_it_along(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = work.train

    def breaking(config: Any, models: Models) -> Path:  # noqa: ANN401
        if config.training_method == "act" and config.run_idx == 1:
            raise RuntimeError("made to fail")
        return whole(config, models)

    monkeypatch.setattr(work, "train", breaking)
    config = grid(tmp_path, tiny_model_folder)
    with pytest.raises(MachineError, match="2 of 14 jobs failed"):
        sweep(config)
    (summary,) = (tmp_path / "outputs" / "sweeps").glob("*.json")
    failed = {one["key"]: one["reason"] for one in json.loads(summary.read_text())["jobs"] if one["status"] == "failed"}
    assert sorted(key.split("/")[0] for key in failed) == ["a2t", "act"]
    assert any(reason == "RuntimeError: made to fail" for reason in failed.values())
    (log,) = (tmp_path / "outputs" / "act").rglob("failure.log")
    assert "made to fail" in log.read_text()
    assert "Traceback" in log.read_text()
    assert len(adapters(tmp_path)) == 10
    monkeypatch.undo()
    sweep(config)
    assert len(adapters(tmp_path)) == 12
    assert not list(tmp_path.rglob("failure.log"))


def test_a_missing_data_file_fails_its_runs_only(tmp_path: Path, tiny_model_folder: Path) -> None:
    config = grid(tmp_path, tiny_model_folder, training_methods=("act",), include_sequential=False, run_indices=(0,))
    sweep(config)
    write_dataset(tmp_path, "other", [f"p{i}" for i in range(30)])
    both = config.model_copy(update={"datasets": ("nothing", "made_up", "other"), "no_prepare": False})
    with pytest.raises(MachineError, match="1 of 3 jobs failed"):
        sweep(both)
    assert len(adapters(tmp_path)) == 2


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced(tmp_path: Path, tiny_model_folder: Path) -> None:
    config = grid(tmp_path, tiny_model_folder, training_methods=("act",), include_sequential=False, run_indices=(0,))
    jobs = plan_of(tmp_path, [resolve(run) for run in expand(config)]).jobs
    schedule, seen = Schedule(jobs), list[Outcome]()
    Pool(1, run_timeout=0.01).execute(tmp_path, schedule, seen.append)
    assert [outcome.status for outcome in schedule.outcomes.values()] == ["failed", "failed"]
    assert "run_timeout=0.01 s" in seen[0].reason


def test_a_run_that_another_process_is_at_is_waited_for(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = grid(tmp_path, tiny_model_folder, training_methods=("act",), include_sequential=False)
    jobs = plan_of(tmp_path, [resolve(run) for run in expand(config)]).jobs
    asked: list[Path] = []

    def locked_once(folder: Path) -> bool:
        asked.append(folder)
        return len(asked) == 1

    monkeypatch.setattr(store, "is_locked", locked_once)
    schedule, order = Schedule(jobs), list[str]()
    InProcess().execute(tmp_path, schedule, lambda outcome: order.append(outcome.key))
    runs = [key for key in order if key.startswith("act/")]
    assert len(runs) == 2
    assert runs[-1] == str(asked[0].relative_to(tmp_path / "outputs"))


def test_is_locked_is_seen_from_another_holder(tmp_path: Path) -> None:
    assert not store.is_locked(tmp_path / "run")
    with store.locked(tmp_path / "run"):
        assert store.is_locked(tmp_path / "run")
    assert not store.is_locked(tmp_path / "run")


def _kinds(jobs: tuple[Job, ...]) -> list[frozenset[str]]:
    return [frozenset(map(str, job.kinds)) for job in jobs if job.kinds]


def test_targets_are_planned_once_with_all_that_is_needed(tmp_path: Path, tiny_model_folder: Path) -> None:
    config = grid(tmp_path, tiny_model_folder, lrs=(1e-2, 1e-3), run_indices=(0,))
    plan = plan_of(tmp_path, [resolve(run) for run in expand(config)])
    assert _kinds(plan.jobs) == [frozenset({"tokens", "activations", "distributions"})]
    assert all(job.needs[0] == plan.jobs[0].key for job in plan.runs)
    gold = grid(tmp_path, tiny_model_folder, training_methods=("tok",), label_types=("ground_truth",))
    gold = gold.model_copy(update={"include_sequential": False})
    assert _kinds(plan_of(tmp_path, [resolve(run) for run in expand(gold)]).jobs) == []
