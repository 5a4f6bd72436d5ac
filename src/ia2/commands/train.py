"""One run: targets collected or read, an adapter fitted phase by phase, and its folder written.

The folder is complete or absent. A run that is there is not trained again, and one that is there with another
configuration, or on data that has changed, is an error instead of a result.
"""

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import PeftConfig
from tqdm import tqdm

from ia2 import store
from ia2.config import TrainConfig, absolute_model_id
from ia2.errors import UserError
from ia2.methods import Phase
from ia2.models.adapters import ALONE, Beginning, peft_config, save_adapter, saved_config, trainable_adapters
from ia2.models.generation import check_context
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import ModelCache, parts_on_disk
from ia2.models.model_files import changed_parts
from ia2.report.cards import CARD, model_card, read_subject
from ia2.sources.packages import version_of
from ia2.tasks.pool import read_provenance
from ia2.training.passes import Fit, drive, passes_of
from ia2.training.run_inputs import RunInputs, lesson_of, read_run_inputs
from ia2.training.tracking import check_tracker, tracking
from ia2.training.trained_run import read_trained_run
from ia2.training.trainer import History, Lesson, PhaseArguments, Student, TrainOutput, fitting

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """The adapter that a run begins from, and how many of its phases that has been through."""

    folder: Path
    num_phases: int


@dataclass(frozen=True)
class Assignment:
    """A run to be trained: its configuration (T resolved), and what it begins from if not from a fresh adapter."""

    config: TrainConfig
    start: Start | None = None


def train_run(root: Path, config: TrainConfig, models: ModelCache, start: Start | None = None) -> Path:
    """Train the run that `config` (T resolved) describes, from `start` or a fresh adapter, and return its folder."""
    (outcome,) = train_runs(root, [Assignment(config, start)], models)
    if isinstance(outcome, UserError):
        raise outcome
    return outcome


def train_runs(root: Path, assignments: Sequence[Assignment], models: ModelCache) -> list[Path | UserError]:
    """Train runs, several in the same forward passes, and return the folder of each, or why it came to nothing.

    Several are LoRA runs of one method, model and dataset; they end, and fail, each for itself.
    """
    folders = [store.run_folder(root, assignment.config) for assignment in assignments]
    left = [one for one, folder in zip(assignments, folders, strict=True) if not _stands(root, folder, one)]
    left.sort(key=lambda one: store.run_folder(root, one.config))  # all processes lock in one order
    trained = dict(zip([store.run_folder(root, one.config) for one in left], _trained(root, left, models), strict=True))
    for folder in folders:
        if folder not in trained:
            log.info("%s is there", folder)
    return [trained.get(folder, folder) for folder in folders]


def _stands(root: Path, folder: Path, assignment: Assignment) -> bool:
    """Whether a run is there and wanted as it is; what a killed process left beside it is swept."""
    with store.file_lock(folder):
        stands = not assignment.config.retrain and is_trained(root, assignment.config, assignment.start)
        if not stands:
            store.check_replaceable(folder)
        return stands


def _trained(root: Path, assignments: Sequence[Assignment], models: ModelCache) -> list[Path | UserError]:
    if not assignments:
        return []
    for one in assignments:
        check_tracker(one.config.tracker)
    pupils = [_pupil(read_run_inputs(root, one.config, models), one) for one in assignments]
    lm, config = pupils[0].material.lm, assignments[0].config
    with trainable_adapters(lm.model, [pupil.beginning for pupil in pupils]) as (adapted, names):
        hooked = HookedModel(adapted)
        fits = [_learning(pupil, Student(adapted, name), hooked) for pupil, name in zip(pupils, names, strict=True)]
        return drive(fits, passes_of(hooked, config.micro_batch_size))


@dataclass(frozen=True)
class _Pupil:
    """A run about to be trained: what it learns in each phase, and the adapter that it begins with."""

    material: RunInputs
    assignment: Assignment
    lessons: Mapping[Phase, Lesson]
    beginning: Beginning

    @property
    def config(self) -> TrainConfig:
        return self.material.config

    @property
    def folder(self) -> Path:
        return store.run_folder(self.material.root, self.config)


def _pupil(material: RunInputs, assignment: Assignment) -> _Pupil:
    """Targets that are missing are collected here, while the base model is bare."""
    start, model = assignment.start, material.lm.model
    phases = material.config.method.phases[start.num_phases if start else 0 :]
    beginning = Beginning(peft_config(model, material.config), material.config.run_idx)
    if start is not None:
        saved = saved_config(model, start.folder)
        _check_kind(saved, beginning.config, start.folder)
        beginning = Beginning(saved, material.config.run_idx, start.folder)
    return _Pupil(material, assignment, {phase: lesson_of(material, phase) for phase in phases}, beginning)


def _learning(pupil: _Pupil, student: Student, hooked: HookedModel) -> Fit[Path]:
    """A run under way: its phases one after the other, and its folder, complete or absent."""
    config, start = pupil.config, pupil.assignment.start
    with store.file_lock(pupil.folder):
        if not config.retrain and is_trained(pupil.material.root, config, start):
            return pupil.folder
        for lesson in pupil.lessons.values():
            check_context(hooked, max(map(len, (*lesson.train.examples, *lesson.dev.examples))))
        with store.atomic_write(pupil.folder) as temporary:
            temporary.mkdir()
            fitted: dict[str, TrainOutput] = {}
            with _history(temporary, config) as history:
                learner = _Learner(pupil.material, student, temporary, history)
                for phase, lesson in pupil.lessons.items():
                    fitted[phase.name] = yield from learner.learn(phase, lesson)
                save_adapter(student.model, temporary, pupil.material.lm.source, student.adapter)
            summary = _summary(fitted, student, temporary)
            store.write_json(temporary / "final_loss_statistics.json", summary)
            files = store.list_files(temporary, store.RUN_FILES)
            store.write_object(temporary / store.DESCRIPTION, {**_description(pupil.material, start), "files": files})
            card = model_card(read_subject(temporary, read_trained_run(temporary).labels_used))
            (temporary / CARD).write_text(card, encoding="utf-8")
    log.info("trained %s: %d parameters, %d steps", pupil.folder, summary["trainable_parameters"], summary["num_steps"])
    return pupil.folder


def is_trained(root: Path, config: TrainConfig, start: Start | None = None) -> bool:
    """Whether the run is in the store, whole; UserError where something else is in its place.

    One of which a file is damaged or missing is named, and trained again.
    """
    folder = store.run_folder(root, config)
    if not store.description_path(folder).exists():
        return False
    try:
        stored = store.read_description(folder)
    except UserError as error:
        log.warning("%s; the run is trained again", error)
        return False
    made_with = stored.get("config", {})
    defaults = TrainConfig(training_method=config.training_method).relevant_fields()
    for key, value in config.relevant_fields().items():
        was = made_with.get(key, defaults.get(key))  # a description may be older than a field
        if key == "model_id" and isinstance(was, str):
            was = absolute_model_id(was)  # a run may be older than absolute paths
        if was != value:
            raise UserError(f"{folder} was trained with {key}={was!r}, not {value!r}; --retrain replaces it")
    split = store.split_file(root, config)
    if store.file_digest(split) != stored.get("split_sha256"):
        raise UserError(f"{folder} was trained on another {split}; --retrain trains it on the one that is there")
    if changed := changed_parts(stored.get("base", {}).get("parts"), parts_on_disk(config.model_id)):
        raise UserError(
            f"{folder} was trained on another base model: the {' and '.join(changed)} of {config.model_id!r} have "
            "changed since; give the model as it was, or train again with --retrain (ia2 fit: --overwrite)"
        )
    if start is not None and stored.get("starts_from") != _adapter_digest(start.folder):
        raise UserError(f"{folder} was trained from another adapter than {start.folder} holds now; --retrain")
    return True


def _adapter_digest(folder: Path) -> str:
    return store.file_digest(folder / "adapter_model.safetensors")


def _summary(fitted: Mapping[str, TrainOutput], student: Student, folder: Path) -> dict[str, Any]:
    """final_loss_statistics.json: what the last phase came to, what each did, and the size of the adapter."""
    last = list(fitted.values())[-1]
    return {
        **dataclasses.asdict(last),
        "phases": {name: dataclasses.asdict(phase) for name, phase in fitted.items()},
        "trainable_parameters": sum(parameter.numel() for parameter in student.parameters),
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

    material: RunInputs
    student: Student
    folder: Path
    history: Callable[[History], None]

    @property
    def config(self) -> TrainConfig:
        return self.material.config

    def learn(self, phase: Phase, lesson: Lesson) -> Fit[TrainOutput]:
        total = self.config.num_train_epochs * -(-len(lesson.train) // self.config.batch_size)
        title = f"{self.config.training_method} {phase.name}"
        hidden = None if self.student.adapter == ALONE else True  # bars of several runs would overwrite each other
        with tqdm(total=total, desc=title, unit="step", leave=False, disable=hidden) as bar:

            def note(entry: History) -> None:
                bar.update(int(entry["step"]) - bar.n)
                bar.set_postfix({key: f"{entry[key]:.4f}" for key in ("train_loss", "dev_loss") if key in entry})
                self.history({"phase": phase.name, **entry})
                self._checkpoint(phase, int(entry["step"]))

            return (yield from fitting(self.student, lesson, self._settings(phase), note))

    def _settings(self, phase: Phase) -> PhaseArguments:
        names = {field.name for field in dataclasses.fields(PhaseArguments)}
        given = {name: value for name, value in self.config if name in names}
        return PhaseArguments(**given, seed=f"{self.config.run_idx}/{phase.name}")

    def _checkpoint(self, phase: Phase, step: int) -> None:
        if self.config.log_checkpoints and step and step % self.config.checkpoint_frequency == 0:
            folder = self.folder / "checkpoints" / f"{phase.name}_{step}"
            folder.mkdir(parents=True)
            save_adapter(self.student.model, folder, self.material.lm.source, self.student.adapter)


@contextmanager
def _history(folder: Path, config: TrainConfig) -> Iterator[Callable[[History], None]]:
    """Writes history.jsonl, line by line, and tells the tracker if there is one."""
    name = store.run_name(config)
    with (
        tracking(config.tracker, name, folder / "tracking", config.relevant_fields()) as track,
        (folder / "history.jsonl").open("w", encoding="utf-8") as stream,
    ):

        def note(entry: History) -> None:
            print(json.dumps(entry), file=stream, flush=True)
            track(entry)

        yield note


def _description(material: RunInputs, start: Start | None) -> dict[str, Any]:
    """run.json: what was asked for, what it was resolved to, and all that the result rests on."""
    lm = material.lm
    return {
        "config": material.config.relevant_fields(),
        "base": lm.description,
        "split_sha256": material.split_digest,
        "starts_from": None if start is None else _adapter_digest(start.folder),
        "task": material.spec.model_dump(),
        "data": read_provenance(material.root, material.config.dataset),
        "num_dev_used": 0 if material.config.ldr_mode else len(material.split.dev),
        "versions": {name: version_of(name) for name in ("ia2", "torch", "transformers", "peft")},
    }
