"""A sweep whose process, or one of whose workers, is killed at any moment ends as if undisturbed when it goes on."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from commands import Commands
from tiny_runs import assert_whole, leftovers
from tiny_sweeps import grid, weights, words

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
    undisturbed: tuple[dict[str, bytes], int, float],
    commands: Commands,
    tiny_model_folder: Path,
    tmp_path: Path,
    number: int,
) -> None:
    """Each time a job ends, until so many were killed, a worker goes that is at another."""
    sweep, generator, killed, seen = words(grid(tmp_path, tiny_model_folder)), Random(number), set[int](), 0
    begun = commands.begin(*sweep, "--max_parallel", 2)
    while "summary: " not in begun.said() and is_alive(begun.process):
        ended = begun.said().count("] done in ") + begun.said().count("] failed")
        living = sorted(set(workers_of(begun.process)) - killed)
        if len(killed) < number and ended > seen and living:
            os.kill(chosen := generator.choice(living), signal.SIGKILL)
            killed.add(chosen)
            seen = ended
        time.sleep(0.02)
    first = commands.end(begun)
    assert killed
    assert number > 1 or first.code == 0, first.stderr
    assert_whole(tmp_path)
    again = commands.run(*sweep, "--max_parallel", 2)  # what lost its worker too often is done now
    assert again.code == 0, again.stderr
    assert weights(tmp_path) == undisturbed[0]
    assert leftovers(tmp_path) == []


@pytest.mark.slow
def test_workers_end_with_a_sweep_that_is_killed(
    undisturbed: tuple[dict[str, bytes], int, float], commands: Commands, tiny_model_folder: Path, tmp_path: Path
) -> None:
    """As soon as they have ended what they are at; what they shared is for `ia2 clean`."""
    sweep = (*words(grid(tmp_path, tiny_model_folder)), "--max_parallel", 2)
    begun = commands.begin(*sweep)
    begun.wait_for("[3/10] done")
    left = workers_of(begun.process)
    assert len(left) == 2
    os.kill(begun.process, signal.SIGKILL)
    assert commands.end(begun).code == -9
    deadline = time.monotonic() + 60
    while any(map(is_alive, left)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(weights(tmp_path)) < NUM_RUNS
    assert commands.run("clean", "--root", tmp_path).code == 0
    assert leftovers(tmp_path) == []
    again = commands.run(*sweep)
    assert again.code == 0, again.stderr
    assert weights(tmp_path) == undisturbed[0]


def workers_of(process: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, file.read_text().split())
    return found


def is_alive(process: int) -> bool:
    """True for a process that has not ended, be it waited for or not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
