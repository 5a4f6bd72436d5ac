"""Killed at any moment, a command leaves nothing that counts as complete, and the next start ends as if undisturbed.

Before each file operation of an undisturbed run the folder is copied: that is what SIGKILL would have left there, and
each copy is looked at and gone on from. Beside that, some commands are really killed, before an operation or at a
fraction of the time that the undisturbed one took. Which of them in `make test` is drawn with a seed.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from commands import Commands, Ended
from tiny_runs import assert_whole, leftovers, results

SMALL = ("--num_train_examples", 4, "--num_generated_tokens", 3, "--num_train_epochs", 2)
FEW = ("--num_eval_examples", 6, "--icl_max_demos", 4)
LABELS = [("word", "a" if i % 3 else "b") for i in range(18)]


def rows(folder: Path, word: str) -> None:
    lines = [f"{word} number {i} of these,{label}" for i, (_, label) in enumerate(LABELS)]
    (folder.parent / "rows.csv").write_text("text,label\n" + "\n".join(lines) + "\n")


@dataclass(frozen=True)
class Scenario:
    """A command in a root (`{root}`), after another scenario; what is changed before it; whether done is refused."""

    command: tuple[object, ...]
    after: str | None
    before: Callable[[Path], None] = lambda _: None
    may_refuse: bool = False


TRAIN = ("train", "--training_method", "a2t", "--dataset", "capitals", "--model_id", "{model}", *SMALL)
FIT = ("fit", "{root}/../rows.csv", "--model_id", "{model}", "--num_train_epochs", 1, "--lrs")
ADAPTER = ("--adapter", "{root}/outputs/a2t/capitals/{run}")
RUN = "tiny-llama_qkv_8_8_3_4_0.0001_0_icl_outputs+num_train_epochs=2"
SCENARIOS = {
    "prepare": Scenario(("prepare", "--datasets", "capitals"), None),
    "prepare anew": Scenario(("prepare", "--datasets", "capitals", "--num_val_samples", 9, "--overwrite"), "prepare"),
    "create": Scenario(
        ("create", "--datasets", "capitals", "--num_train_examples", 4, 6, "--num_runs", 2, "--num_workers", 1),
        "prepare",
    ),
    "create anew": Scenario(
        ("create", "--datasets", "capitals", "--num_train_examples", 4, 6, "--num_dev_examples", 1, "--overwrite"),
        "create",
    ),
    "train": Scenario(TRAIN, "create"),
    "retrain": Scenario((*TRAIN, "--retrain"), "train"),
    "evaluate": Scenario(("evaluate", "--model_id", "{model}", *FEW), "train"),
    "evaluate anew": Scenario(
        ("evaluate", "--model_id", "{model}", *FEW),
        "evaluate",
        lambda root: touch(root / "data" / "capitals" / "main.json"),
    ),
    "similarity": Scenario(("similarity", "--model_types", "act", *FEW), "evaluate"),
    "subspace": Scenario(("subspace",), "evaluate"),
    "reparse": Scenario(("reparse", "--parser", "exact"), "evaluate"),
    "reparse anew": Scenario(("reparse", "--parser", "number"), "reparse"),
    "merge": Scenario(("merge", *ADAPTER, "--out", "{root}/merged"), "train"),
    "predict": Scenario(
        ("predict", *ADAPTER, "--file", "{root}/new.csv", "--out", "{root}/out.csv"),
        "train",
        lambda root: (root / "new.csv").write_text("country\nFrance\nSpain\n") and None,
        may_refuse=True,
    ),
    "fit": Scenario((*FIT, 1e-2), None, lambda root: rows(root, "sentence")),
    "fit again": Scenario((*FIT, 3e-2), "fit"),
    "fit overwrite": Scenario((*FIT, 1e-2, "--overwrite"), "fit", lambda root: rows(root, "phrase")),
}


def touch(main: Path) -> None:
    """Another file for the same questions: what rests on it is made again."""
    main.write_text(main.read_text(encoding="utf-8") + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Undisturbed:
    """What a scenario does when nobody disturbs it; `states` are what kills would have left, in their order."""

    before: Path
    ended: Ended
    results: dict[str, Any]
    states: tuple[Path, ...]


class Stage:
    """Runs scenarios, each undisturbed once, in folders beside each other."""

    def __init__(self, folder: Path, model: Path, commands: Commands) -> None:
        self.folder, self.model, self.commands = folder, model, commands
        self.known: dict[str, Undisturbed] = {}

    def run(self, name: str, root: Path, **how: Any) -> Ended:
        words = [str(word).format(root=root, model=self.model, run=RUN) for word in SCENARIOS[name].command]
        return self.commands.run(*words, *(() if words[0] in ("merge", "predict") else ("--root", root)), **how)

    def undisturbed(self, name: str) -> Undisturbed:
        if name not in self.known:
            scenario = SCENARIOS[name]
            place = self.folder / name.replace(" ", "_")
            place.mkdir()
            root = place / "root"
            if scenario.after is None:
                root.mkdir()
            else:
                before = self.undisturbed(scenario.after)
                for path in before.before.parent.glob("*.csv"):
                    shutil.copy(path, place)
                shutil.copytree(before.before.with_name("root"), root)
            scenario.before(root)
            shutil.copytree(root, place / "before")
            ended = self.run(name, root, watched=root)
            assert ended.code == 0, ended.stderr
            assert_whole(root)
            states = sorted(place.glob("root@*"), key=lambda state: int(state.name.partition("@")[2]))
            self.known[name] = Undisturbed(place / "before", ended, results(root), tuple(states))
        return self.known[name]

    def go_on(self, name: str, root: Path) -> None:
        """Look at what a kill left, run the command again, and compare."""
        assert_whole(root)
        again = self.run(name, root)
        expected = self.undisturbed(name).results
        if again.code == 2 and SCENARIOS[name].may_refuse:
            assert results(root) == expected
            return
        assert again.code == 0, again.stderr
        assert_whole(root)
        assert results(root) == expected
        assert leftovers(root) == []

    def kill(self, name: str, **moment: Any) -> Ended:
        root = self.folder / name.replace(" ", "_") / "killed"
        shutil.copytree(self.undisturbed(name).before, root)
        killed = self.run(name, root, **moment)
        self.go_on(name, root)
        shutil.rmtree(root)
        return killed


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, commands: Commands) -> Stage:
    return Stage(tmp_path_factory.mktemp("killed"), tiny_model_folder, commands)


def sample(name: str, number: int, of: int) -> list[int]:
    return sorted(Random(f"sample of {name}").sample(range(of), min(number, of)))


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_a_kill_leaves_is_gone_on_from(name: str, stage: Stage) -> None:
    states = stage.undisturbed(name).states
    (index,) = sample(name, 1, len(states))
    stage.go_on(name, shutil.copytree(states[index], states[index].with_name(f"sample_{index}")))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SCENARIOS)
def test_what_every_kill_leaves_is_gone_on_from(name: str, stage: Stage) -> None:
    for state in stage.undisturbed(name).states:
        stage.go_on(name, shutil.copytree(state, state.with_name(f"every_{state.name}")))


@pytest.mark.parametrize("name", ["retrain", "merge", "fit again"])
def test_killed_before_an_operation(name: str, stage: Stage) -> None:
    operations = stage.undisturbed(name).ended.moments
    assert stage.kill(name, die_at=1 + sample(name, 1, operations)[0]).code == -9


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_killed_at_a_time(name: str, stage: Stage) -> None:
    """In the middle third, where the work is, away from any write."""
    fraction = Random(f"times of {name}").uniform(1 / 3, 2 / 3)
    stage.kill(name, die_after=fraction * stage.undisturbed(name).ended.seconds)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["train", "evaluate", "similarity", "fit"])
def test_killed_at_many_times(name: str, stage: Stage) -> None:
    generator = Random(f"many times of {name}")
    for _ in range(20):
        stage.kill(name, die_after=generator.random() * stage.undisturbed(name).ended.seconds)


def test_killed_twice(stage: Stage, tmp_path: Path) -> None:
    """The second start is killed too, a little later than the first."""
    root = shutil.copytree(stage.undisturbed("retrain").before, tmp_path / "root")
    for moment in (9, 14, 40):
        assert stage.run("retrain", root, die_at=moment).code == -9
        assert_whole(root)
    stage.go_on("retrain", root)
