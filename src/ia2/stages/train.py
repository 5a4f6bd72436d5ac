"""One run: targets collected or read, an adapter fitted phase by phase, and its folder written.

The folder is complete or absent. A run that is there is not trained again, and one that is there with another
configuration, or on data that has changed, is an error instead of a result.
"""

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel
from tqdm import tqdm

from ia2 import store
from ia2.config import TrainConfig
from ia2.errors import UserError
from ia2.lm.adapters import new_adapter, peft_config, save_adapter, saved_adapter, trainable_parameters
from ia2.lm.decoding import check_context
from ia2.lm.forward import Reader, reading
from ia2.lm.shelf import Models
from ia2.training.fit import FitSettings, Fitted, History, Lesson, fit
from ia2.training.material import Material, lesson_of, read_material
from ia2.training.tracking import tracking
from ia2.training.variants import VARIANTS, Phase

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """The adapter that a run begins from, and how many of its phases that has been through."""

    folder: Path
    num_phases: int


def train_run(root: Path, config: TrainConfig, models: Models, start: Start | None = None) -> Path:
    """Train the run that `config` (T resolved) describes, from `start` or a fresh adapter, and return its folder."""
    folder = store.run_folder(root, config)
    with store.locked(folder):
        if not config.retrain and is_trained(root, config, start):
            log.info("%s is there", folder)
            return folder
        material = read_material(root, config, models)
        with store.writing(folder) as temporary:
            temporary.mkdir()
            summary = _fit_phases(material, start, temporary)
            store.write_json(temporary / "final_loss_statistics.json", summary)
            store.write_json(temporary / "config.json", _description(material, start))
    log.info("trained %s: %d parameters, %d steps", folder, summary["trainable_parameters"], summary["num_steps"])
    return folder


def is_trained(root: Path, config: TrainConfig, start: Start | None = None) -> bool:
    """Whether the run stands in the store; UserError where something else stands in its place."""
    folder = store.run_folder(root, config)
    if not (folder / "config.json").exists():
        return False
    stored = store.read_object(folder / "config.json")
    made_with = stored.get("config", {})
    defaults = TrainConfig(training_method=config.training_method).applicable()
    for key, value in config.applicable().items():
        was = made_with.get(key, defaults.get(key))  # a config.json may be older than a field
        if was != value:
            raise UserError(f"{folder} was trained with {key}={was!r}, not {value!r}; --retrain replaces it")
    split = store.split_file(root, config)
    if store.file_digest(split) != stored.get("split_sha256"):
        raise UserError(f"{folder} was trained on another {split}; --retrain trains it on the one that is there")
    if start is not None and stored.get("starts_from") != _adapter_digest(start.folder):
        raise UserError(f"{folder} was trained from another adapter than {start.folder} holds now; --retrain")
    return True


def _adapter_digest(folder: Path) -> str:
    return store.file_digest(folder / "adapter_model.safetensors")


def _fit_phases(material: Material, start: Start | None, folder: Path) -> dict[str, Any]:
    config, lm = material.config, material.lm
    phases = VARIANTS[config.method.variant][start.num_phases if start else 0 :]
    if start is not None:
        adapter = saved_adapter(lm.model, start.folder, trainable=True)
    else:
        adapter = new_adapter(lm.model, peft_config(lm.model, config), config.run_idx)
    with adapter as student, reading(student) as reader, _history(folder, config) as history:
        if start is not None:
            _check_kind(student.active_peft_config, peft_config(lm.model, config), start.folder)
        lessons = [lesson_of(material, phase) for phase in phases]
        for lesson in lessons:
            check_context(reader, max(map(len, (*lesson.train.examples, *lesson.dev.examples))))
        learner = _Learner(config, student, reader, folder, history)
        fitted = {phase.name: learner.learn(phase, lesson) for phase, lesson in zip(phases, lessons, strict=True)}
        save_adapter(student, folder, config.model_id)
        num_parameters = sum(parameter.numel() for parameter in trainable_parameters(student).values())
    return {
        **dataclasses.asdict(fitted[phases[-1].name]),
        "phases": {name: dataclasses.asdict(phase) for name, phase in fitted.items()},
        "trainable_parameters": num_parameters,
        "adapter_bytes": (folder / "adapter_model.safetensors").stat().st_size,
    }


def _check_kind(found: PeftConfig, wanted: PeftConfig, folder: Path) -> None:
    """UserError where the adapter to start from is not of the kind and size that the run says it trains."""
    for field in ("peft_type", "r", "lora_alpha", "target_modules", "num_virtual_tokens"):
        has, asked = getattr(found, field, None), getattr(wanted, field, None)
        if has != asked:
            raise UserError(
                f"{folder} holds an adapter with {field}={has}, not {asked}; give the settings that it was trained with"
            )


@dataclass(frozen=True)
class _Learner:
    """A student on its way through the phases of a run."""

    config: TrainConfig
    student: PeftModel
    reader: Reader
    folder: Path
    history: Callable[[History], None]

    def learn(self, phase: Phase, lesson: Lesson) -> Fitted:
        total = self.config.num_train_epochs * -(-len(lesson.train) // self.config.batch_size)
        title = f"{self.config.training_method} {phase.name}"
        with tqdm(total=total, desc=title, unit="step", leave=False, disable=None) as bar:

            def note(entry: History) -> None:
                bar.update(int(entry["step"]) - bar.n)
                bar.set_postfix({key: f"{entry[key]:.4f}" for key in ("train_loss", "dev_loss") if key in entry})
                self.history({"phase": phase.name, **entry})
                self._checkpoint(phase, int(entry["step"]))

            return fit(self.student, self.reader, lesson, self._settings(phase), note)

    def _settings(self, phase: Phase) -> FitSettings:
        names = {field.name for field in dataclasses.fields(FitSettings)}
        given = {name: value for name, value in self.config if name in names}
        return FitSettings(**given, seed=f"{self.config.run_idx}/{phase.name}")

    def _checkpoint(self, phase: Phase, step: int) -> None:
        if self.config.log_checkpoints and step and step % self.config.checkpoint_frequency == 0:
            folder = self.folder / "checkpoints" / f"{phase.name}_{step}"
            folder.mkdir(parents=True)
            save_adapter(self.student, folder, self.config.model_id)


@contextmanager
def _history(folder: Path, config: TrainConfig) -> Iterator[Callable[[History], None]]:
    """Writes history.jsonl, line by line, and tells the tracker if there is one."""
    name = store.run_name(config)
    with (
        tracking(config.tracker, name, folder / "tracking", config.applicable()) as track,
        (folder / "history.jsonl").open("w", encoding="utf-8") as stream,
    ):

        def note(entry: History) -> None:
            print(json.dumps(entry), file=stream, flush=True)
            track(entry)

        yield note


def _description(material: Material, start: Start | None) -> dict[str, Any]:
    """config.json: what was asked for, what it was resolved to, and all that the result rests on."""
    lm = material.lm
    return {
        "config": material.config.applicable(),
        "base": {"model_id": lm.model_id, "revision": lm.revision, "dtype": lm.dtype},
        "split_sha256": material.split_digest,
        "starts_from": None if start is None else _adapter_digest(start.folder),
        "task": material.spec.model_dump(),
        "num_dev_used": 0 if material.config.ldr_mode else len(material.split.dev),
        "versions": {name: version(name) for name in ("ia2", "torch", "transformers", "peft")},
    }
