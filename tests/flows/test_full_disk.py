"""A full disk: one line, exit code 1, nothing half-written, and with room the same command goes on to the same end.

A small tmpfs is the disk, which takes the right to mount one; elsewhere these tests are skipped and
`tests/test_store.py` holds the same of a single write.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import Commands
from tiny_runs import assert_whole, leftovers, results


@contextmanager
def disk(folder: Path) -> Iterator[Path]:
    """A disk of one memory page; `resize` gives it more."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk to fill: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def resize(folder: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(folder)], check=True)


def train(commands: Commands, model: Path, root: Path) -> tuple[int, str]:
    small = ("--num_train_examples", 4, "--num_generated_tokens", 3, "--num_train_epochs", 2)
    model_id = ("--model_id", model, "--root", root)
    ended = commands.run("train", "--training_method", "a2t", "--dataset", "capitals", *small, *model_id)
    return ended.code, ended.stderr


def evaluate(commands: Commands, model: Path, root: Path) -> tuple[int, str]:
    few = ("--num_eval_examples", 6, "--icl_max_demos", 4)
    ended = commands.run("evaluate", "--model_types", "base", "act", "--model_id", model, "--root", root, *few)
    return ended.code, ended.stderr


@pytest.mark.parametrize("growth", [pytest.param(12, marks=pytest.mark.slow), 28])
def test_a_disk_that_is_always_a_little_too_small(
    commands: Commands, tiny_model_folder: Path, tmp_path: Path, growth: int
) -> None:
    """The disk grows by three pages whenever a command has failed, so that every kind of file meets its end once.

    By seven in the fast test, in which large files and some of the small ones do.
    """
    with disk(tmp_path / "disk") as small:
        size, failures = 4, 0
        for command in (train, evaluate):
            while True:
                code, told = command(commands, tiny_model_folder, small)
                assert_whole(small)
                assert leftovers(small) == []
                if code == 0:
                    break
                assert code == 1, told
                assert "Traceback" not in told
                assert told.splitlines()[-1].startswith("ia2: No space left on device: /")
                failures += 1
                size += growth
                resize(small, size)
        assert failures >= 5
        found = results(small)
    roomy = tmp_path / "roomy"
    for command in (train, evaluate):
        assert command(commands, tiny_model_folder, roomy)[0] == 0
    assert results(roomy) == found
