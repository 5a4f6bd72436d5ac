"""Trackers: none is imported unasked, one that is missing is named, and what is sent is the history."""

import importlib.util
import json
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import accelerate.utils
import pytest
from tiny_runs import RUN_FILES, training
from tiny_sweeps import grid

from ia2.commands.sweep.sweep import sweep
from ia2.commands.train import train
from ia2.errors import UserError
from ia2.models.loading import ModelCache
from ia2.training.tracking import tracking

TRACKERS = ("wandb", "tensorboard", "tensorboardX", "torch.utils.tensorboard")


class Forbidding(MetaPathFinder):
    """Fails whoever imports a tracker."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        assert not fullname.startswith(TRACKERS), fullname


@pytest.fixture
def forbidding(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(TRACKERS)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Forbidding(), *sys.meta_path])


@pytest.mark.usefixtures("forbidding")
def test_without_a_tracker_none_is_imported(tmp_path: Path, tiny_model_folder: Path) -> None:
    folder = train(training(tmp_path, tiny_model_folder), ModelCache())
    assert {path.name for path in folder.iterdir()} == RUN_FILES
    with pytest.raises(AssertionError, match="wandb"):
        import wandb  # type: ignore[import-not-found]  # noqa: F401, PLC0415


@pytest.mark.parametrize("tracker", ["wandb", "tensorboard"])
def test_a_tracker_that_is_missing_is_named(
    tmp_path: Path, tiny_model_folder: Path, tracker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerate.utils, f"is_{tracker}_available", lambda: False)
    says = rf"--track {tracker}: {tracker} is not installed; pip install 'ia2\[{tracker}\]'"
    with pytest.raises(UserError, match=says):
        train(training(tmp_path, tiny_model_folder, track=tracker), ModelCache())
    assert not list((tmp_path / "outputs").rglob("*.json")), "no targets either"


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_sweep_misses_its_tracker_before_it_begins(
    tmp_path: Path, tiny_model_folder: Path, dry_run: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerate.utils, "is_wandb_available", lambda: False)
    with pytest.raises(UserError, match="--track wandb: wandb is not installed"):
        sweep(grid(tmp_path, tiny_model_folder, wandb_log=True, dry_run=dry_run, max_parallel=2))
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("extra", ["wandb", "tensorboard"])
def test_the_extra_that_is_named_exists(extra: str) -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\n{extra} = ["{extra}' in text


class FakeRun:
    """What accelerate calls of a wandb run."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, Any]]] = []
        self.finished = False
        self.config: dict[str, Any] = {}

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        assert step is not None
        assert not self.finished
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished = True


class FakeWandb(ModuleType):
    """wandb as far as accelerate uses it; it counts its runs."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.__spec__ = ModuleSpec("wandb", None)
        self.run = FakeRun()
        self.config = self.run.config
        self.started: list[dict[str, Any]] = []

    def init(self, **named: Any) -> FakeRun:
        self.started.append(named)
        return self.run


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setattr(accelerate.utils, "is_wandb_available", lambda: True)
    return fake


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def as_sent(entries: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    hidden = ("phase", "step", "epoch")
    return [
        (entry["step"], {f"{entry['phase']}/{key}": value for key, value in entry.items() if key not in hidden})
        for entry in entries
    ]


@pytest.mark.parametrize("asked", [{"track": "wandb"}, {"wandb_log": True}], ids=str)
def test_wandb_is_sent_the_history(
    tmp_path: Path, tiny_model_folder: Path, wandb: FakeWandb, asked: dict[str, Any]
) -> None:
    folder = train(training(tmp_path, tiny_model_folder, **asked), ModelCache())
    (started,) = wandb.started
    assert started["project"] == "ia2"
    assert started["name"] == folder.name
    assert wandb.run.logged == as_sent(history(folder))
    assert len(wandb.run.logged) == 3
    assert wandb.run.finished
    config = json.loads((folder / "run.json").read_text(encoding="utf-8"))["config"]
    wandb.config.pop("allow_val_change")  # accelerate's
    assert wandb.config == {key: value for key, value in config.items() if value is not None}


def test_a_tracker_is_closed_where_training_fails(
    tmp_path: Path, tiny_model_folder: Path, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ia2.models.stacked_lora.StackedLora.save", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(training(tmp_path, tiny_model_folder, track="wandb"), ModelCache())
    assert wandb.run.finished


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline(tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    train(training(tmp_path, tiny_model_folder, track="wandb"), ModelCache())
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_holds_the_history(tmp_path: Path, tiny_model_folder: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    folder = train(training(tmp_path, tiny_model_folder, track="tensorboard"), ModelCache())
    assert {path.name for path in folder.iterdir()} == RUN_FILES | {"tracking"}
    (run,) = (folder / "tracking").iterdir()
    events = EventAccumulator(str(run)).Reload()
    for key in ("train_loss", "dev_loss"):
        expected = [(entry["step"], entry[key]) for entry in history(folder) if key in entry]
        found = [(event.step, event.value) for event in events.Scalars(f"act/{key}")]
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert [value for _, value in found] == pytest.approx([value for _, value in expected], rel=1e-6)


def test_a_tracker_that_refuses_the_configuration_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Refusing:
        def __init__(self, *_: object, **__: object) -> None:
            self.start = lambda: told.append("started")

        def store_init_configuration(self, _: dict[str, Any]) -> None:
            raise ConnectionError("no route to the tracker")

        def finish(self) -> None:
            told.append("closed")

    monkeypatch.setattr("accelerate.tracking.WandBTracker", Refusing)
    with pytest.raises(ConnectionError), tracking("wandb", "run", tmp_path, {"lr": 1.0}):
        pass
    assert told == ["started", "closed"]
