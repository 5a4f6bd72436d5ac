"""A sweep whose process, or one of whose workers, is killed at any moment ends as if undisturbed when it goes on."""

import multiprocessing
import os
import signal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from commands import Commands
from tiny_runs import assert_whole, leftovers
from tiny_sweeps import grid, jobs_of, weights, words

from ia2.flows.sweep.executors import Pool
from ia2.flows.sweep.schedule import Outcome, Schedule

NUM_RUNS = 8


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, commands: Commands, tiny_model_folder: Path
) -> tuple[dict[str, bytes], int, float]:
    """The weights, and how many moments and seconds it took."""
    root = tmp_path_factory.mktemp("undisturbed")
    ended = commands.run(*words(grid(root, tiny_model_folder)))
    assert ended.code == 0, ended.stderr
    found = weights(root)
    assert len(found) == NUM_RUNS
    return found, ended.moments, ended.seconds


@pytest.mark.parametrize("draw", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_killed_at_a_write(
    undisturbed: tuple[dict[str, bytes], int, float],
    commands: Commands,
    tiny_model_folder: Path,
    tmp_path: Path,
    draw: int,
) -> None:
    expected, moments, _ = undisturbed
    chosen = Random("moments of a sweep").sample(range(1, moments + 1), 3)
    kill_and_resume(commands, tmp_path, tiny_model_folder, expected, die_at=chosen[draw])


@pytest.mark.slow
def test_killed_at_twenty_times(
    undisturbed: tuple[dict[str, bytes], int, float], commands: Commands, tiny_model_folder: Path, tmp_path: Path
) -> None:
    expected, _, seconds = undisturbed
    generator = Random("times of a sweep")
    for index in range(20):
        kill_and_resume(
            commands, tmp_path / str(index), tiny_model_folder, expected, die_after=generator.random() * seconds
        )


def kill_and_resume(commands: Commands, root: Path, model: Path, expected: dict[str, bytes], **moment: Any) -> None:
    config = grid(root, model)
    commands.run(*words(config), **moment)
    assert_whole(root)
    assert weights(root).items() <= expected.items()
    again = commands.run(*words(config))
    assert again.code == 0, again.stderr
    assert weights(root) == expected
    assert leftovers(root) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 20])
def test_a_killed_worker_is_replaced_and_its_job_done(
    undisturbed: tuple[dict[str, bytes], int, float], tiny_model_folder: Path, tmp_path: Path, number: int
) -> None:
    """Each time a job ends, until so many were killed, a worker goes that is at another."""
    config = grid(tmp_path, tiny_model_folder)
    schedule, killed, generator = Schedule(jobs_of(config)), list[int](), Random(number)

    def kill_one(_outcome: Outcome) -> None:
        workers = multiprocessing.active_children()
        if len(killed) < number and workers:
            chosen = generator.choice(sorted(workers, key=lambda worker: worker.pid or 0))
            os.kill(chosen.pid or 0, signal.SIGKILL)
            killed.append(chosen.pid or 0)

    Pool(2).execute(tmp_path, schedule, kill_one)
    assert killed
    assert number > 1 or not schedule.failed
    again = Schedule(jobs_of(config))  # what lost its worker too often is done now
    Pool(2).execute(tmp_path, again, lambda _outcome: None)
    assert not again.failed
    assert weights(tmp_path) == undisturbed[0]
    assert leftovers(tmp_path) == []
