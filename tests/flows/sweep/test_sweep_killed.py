"""A sweep whose process, or one of whose workers, is killed at any moment ends as if undisturbed when it goes on."""

import multiprocessing
import os
import signal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from commands import Commands
from tiny_runs import assert_whole, leftovers, write_dataset

from ia2 import store
from ia2.config import SweepConfig
from ia2.flows.sweep.executors import Pool
from ia2.flows.sweep.grid import expand
from ia2.flows.sweep.plan import plan_of
from ia2.flows.sweep.schedule import Outcome, Schedule
from ia2.flows.training import resolve

GRID: dict[str, Any] = {
    "training_methods": ("act", "tok"),
    "datasets": ("made_up",),
    "num_train_examples": (4,),
    "num_generated_tokens": (2,),
    "lrs": (1e-2,),
    "run_indices": (0, 1),
    "num_train_epochs": 1,
    "include_sequential": True,
}
NUM_RUNS = 8


def words(root: Path, model: Path) -> list[str]:
    """The grid as a command."""
    given = [f"--{key}={value}" if not isinstance(value, tuple | bool) else f"--{key}" for key, value in GRID.items()]
    lists = [list(map(str, value)) if isinstance(value, tuple) else [] for value in GRID.values()]
    flags = [word for flag, values in zip(given, lists, strict=True) for word in (flag, *values)]
    return ["sweep", *flags, "--model_id", str(model), "--root", str(root)]


def weights(root: Path) -> dict[str, bytes]:
    return {
        str(folder.relative_to(root)): (folder / "adapter_model.safetensors").read_bytes()
        for folder in store.run_folders(root)
    }


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, commands: Commands, tiny_model_folder: Path
) -> tuple[dict[str, bytes], int, float]:
    """The weights, and how many moments and seconds it took."""
    root = fresh(tmp_path_factory.mktemp("undisturbed"))
    ended = commands.run(*words(root, tiny_model_folder))
    assert ended.code == 0, ended.stderr
    found = weights(root)
    assert len(found) == NUM_RUNS
    return found, ended.moments, ended.seconds


def fresh(root: Path) -> Path:
    write_dataset(root, "made_up", [f"q{i}" for i in range(30)])
    return root


@pytest.mark.parametrize("draw", range(3))
def test_killed_at_a_write(
    undisturbed: tuple[dict[str, bytes], int, float],
    commands: Commands,
    tiny_model_folder: Path,
    tmp_path: Path,
    draw: int,
) -> None:
    expected, moments, _ = undisturbed
    chosen = Random("moments of a sweep").sample(range(1, moments + 1), 3)
    kill_and_resume(commands, fresh(tmp_path), tiny_model_folder, expected, die_at=chosen[draw])


@pytest.mark.slow
def test_killed_at_twenty_times(
    undisturbed: tuple[dict[str, bytes], int, float], commands: Commands, tiny_model_folder: Path, tmp_path: Path
) -> None:
    expected, _, seconds = undisturbed
    generator = Random("times of a sweep")
    for index in range(20):
        root = fresh(tmp_path / str(index))
        kill_and_resume(commands, root, tiny_model_folder, expected, die_after=generator.random() * seconds)


def kill_and_resume(commands: Commands, root: Path, model: Path, expected: dict[str, bytes], **moment: Any) -> None:
    commands.run(*words(root, model), **moment)
    assert_whole(root)
    assert weights(root).items() <= expected.items()
    again = commands.run(*words(root, model))
    assert again.code == 0, again.stderr
    assert weights(root) == expected
    assert leftovers(root) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 20])
def test_a_killed_worker_is_replaced_and_its_job_done(
    undisturbed: tuple[dict[str, bytes], int, float], tiny_model_folder: Path, tmp_path: Path, number: int
) -> None:
    """Each time a job ends, until so many were killed, a worker goes that is at another."""
    root = fresh(tmp_path)
    configs = expand(SweepConfig(root=root, model_id=str(tiny_model_folder), **GRID))
    schedule, killed, generator = Schedule(plan_of(root, [resolve(one) for one in configs]).jobs), [], Random(number)

    def kill_one(_outcome: Outcome) -> None:
        workers = multiprocessing.active_children()
        if len(killed) < number and workers:
            chosen = generator.choice(sorted(workers, key=lambda worker: worker.pid or 0))
            os.kill(chosen.pid or 0, signal.SIGKILL)
            killed.append(chosen.pid)

    Pool(2).execute(root, schedule, kill_one)
    assert killed
    assert number > 1 or not schedule.failed
    left = plan_of(root, [resolve(one) for one in configs]).jobs  # what lost its worker too often is done now
    again = Schedule(left)
    Pool(2).execute(root, again, lambda _outcome: None)
    assert not again.failed
    assert weights(root) == undisturbed[0]
    assert leftovers(root) == []
