"""Killed at any moment, a command leaves nothing that counts as complete, and the next start ends as if undisturbed.

Moments are of two kinds: the n-th beginning or end of a write, flush or rename, and a fraction of the time that the
undisturbed command took. Which ones are taken is drawn with a seed.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from commands import Commands, Ended
from tiny_runs import assert_whole, leftovers, results

STAGES = ("prepare", "create", "train", "evaluate", "similarity", "subspace")


@dataclass(frozen=True)
class Undisturbed:
    """What a stage does when nobody disturbs it."""

    before: Path
    ended: Ended
    results: dict[str, Any]


def arguments(stage: str, model: Path) -> list[str]:
    small = ["--num_train_examples", "4", "--num_generated_tokens", "3", "--num_train_epochs", "3"]
    return {
        "prepare": ["prepare", "--datasets", "capitals"],
        "create": ["create", "--datasets", "capitals", "--num_train_examples", "4", "6", "--num_runs", "2"],
        "train": ["train", "--training_method", "a2t", "--dataset", "capitals", "--model_id", str(model), *small],
        "evaluate": ["evaluate", "--model_id", str(model), "--num_eval_examples", "6", "--icl_max_demos", "4"],
        "similarity": ["similarity", "--model_types", "act", "--num_eval_examples", "6", "--icl_max_demos", "4"],
        "subspace": ["subspace"],
    }[stage]


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, commands: Commands
) -> dict[str, Undisturbed]:
    """Each stage after the ones before it, in one root, which is copied before each."""
    root, found = tmp_path_factory.mktemp("undisturbed") / "root", {}
    root.mkdir()
    for stage in STAGES:
        before = shutil.copytree(root, root.with_name(f"before_{stage}"))
        ended = commands.run(*arguments(stage, tiny_model_folder), "--root", root)
        assert ended.code == 0, ended.stderr
        found[stage] = Undisturbed(before, ended, results(root))
    assert_whole(root)
    assert len(list((root / "outputs" / "evaluations").rglob("*.json"))) == 3  # two adapters and their base
    return found


@dataclass(frozen=True)
class Trial:
    """Kills a stage, looks at what is left, starts it again, and compares with the undisturbed results."""

    undisturbed: dict[str, Undisturbed]
    commands: Commands
    model: Path
    folder: Path

    def kill(self, stage: str, name: str = "root", **moment: Any) -> Ended:
        root = shutil.copytree(self.undisturbed[stage].before, self.folder / name)
        killed = self.commands.run(*arguments(stage, self.model), "--root", root, **moment)
        assert_whole(root)
        again = self.commands.run(*arguments(stage, self.model), "--root", root)
        assert again.code == 0, again.stderr
        assert_whole(root)
        assert results(root) == self.undisturbed[stage].results
        assert leftovers(root) == []
        return killed


@pytest.fixture
def trial(undisturbed: dict[str, Undisturbed], commands: Commands, tiny_model_folder: Path, tmp_path: Path) -> Trial:
    return Trial(undisturbed, commands, tiny_model_folder, tmp_path)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("draw", range(3))
def test_killed_at_a_write(stage: str, draw: int, trial: Trial) -> None:
    moments = trial.undisturbed[stage].ended.moments
    chosen = Random(f"moments of {stage}").sample(range(1, moments + 1), 3)
    assert trial.kill(stage, die_at=chosen[draw]).code == -9


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_killed_at_a_time(stage: str, trial: Trial) -> None:
    """In the middle third, where the work is, away from any write."""
    fraction = Random(f"times of {stage}").uniform(1 / 3, 2 / 3)
    trial.kill(stage, die_after=fraction * trial.undisturbed[stage].ended.seconds)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_every_write(stage: str, trial: Trial) -> None:
    for moment in range(1, trial.undisturbed[stage].ended.moments + 1):
        assert trial.kill(stage, str(moment), die_at=moment).code == -9


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_many_times(stage: str, trial: Trial) -> None:
    generator = Random(f"many times of {stage}")
    for index in range(20):
        trial.kill(stage, str(index), die_after=generator.random() * trial.undisturbed[stage].ended.seconds)


def test_killed_twice(
    undisturbed: dict[str, Undisturbed], commands: Commands, tiny_model_folder: Path, tmp_path: Path
) -> None:
    """The second start is killed too, a little later than the first."""
    root = shutil.copytree(undisturbed["train"].before, tmp_path / "root")
    command = [*arguments("train", tiny_model_folder), "--root", root]
    for moment in (9, 14):
        assert commands.run(*command, die_at=moment).code == -9
        assert_whole(root)
    assert commands.run(*command).code == 0
    assert results(root) == undisturbed["train"].results
    assert leftovers(root) == []


def test_a_killed_retraining_is_finished_by_the_next(
    undisturbed: dict[str, Undisturbed], commands: Commands, tiny_model_folder: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(undisturbed["evaluate"].before, tmp_path / "root")
    command = [*arguments("train", tiny_model_folder), "--root", root]
    moments = commands.run(*command, "--retrain").moments
    for moment in Random("retraining").sample(range(1, moments + 1), 3):
        assert commands.run(*command, "--retrain", die_at=moment).code == -9
        assert_whole(root)
    assert commands.run(*command).code == 0
    assert results(root) == undisturbed["train"].results
    assert leftovers(root) == []
