"""One run, or several in the same passes: targets collected or read, adapters trained, and each run's folder written.

The folder is complete or absent. A run that is there is not trained again, and one that is there with another
configuration, or on data that has changed, is an error instead of a result.
"""

import dataclasses
import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from peft import PeftConfig
from tqdm import tqdm

from ia2 import store
from ia2.config import TrainConfig, absolute_model_id
from ia2.errors import UserError
from ia2.methods import Phase
from ia2.models.adapters import SingleAdapter, adapter_errors, peft_config, read_adapter
from ia2.models.generation import check_context
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import ModelCache, changed_parts, parts_on_disk
from ia2.models.stacked_lora import StackedLora, trainable_adapters
from ia2.report.cards import CARD, model_card, read_subject
from ia2.sources.packages import version_of
from ia2.tasks.pool import read_provenance
from ia2.training.run_inputs import RunInputs, read_run_inputs
from ia2.training.tracking import check_tracker, tracking
from ia2.training.trained_run import read_trained_run
from ia2.training.trainer import History, TrainingRun, TrainOutput, train

log = logging.getLogger(__name__)


def train_run(root: Path, config: TrainConfig, models: ModelCache, start: Path | None = None) -> Path:
    """Train the run that `config` (T resolved) describes, from the adapter in `start` or a fresh one; its folder."""
    (outcome,) = train_runs(root, [(config, start)], models)
    if isinstance(outcome, UserError):
        raise outcome
    return outcome


def train_runs(
    root: Path, runs: Sequence[tuple[TrainConfig, Path | None]], models: ModelCache
) -> list[Path | UserError]:
    """Train runs, given with what each starts from, in the same passes: the folder of each, or why it has none.

    Several are LoRA runs of one `stack_key`; they end, and fail, each for itself.
    """
    wanted = {store.run_folder(root, config): (config, start) for config, start in runs}
    outcomes: dict[Path, Path | UserError] = {folder: folder for folder in wanted}
    with ExitStack() as everything:
        left: list[OpenRun] = []
        for folder, (config, start) in sorted(wanted.items()):  # all processes lock in one order
            opened = everything.enter_context(ExitStack())
            opened.enter_context(store.file_lock(folder))
            if not config.retrain and is_trained(root, config, start):
                log.info("%s is there", folder)
                opened.close()
                continue
            store.check_replaceable(folder)
            check_tracker(config.tracker)
            left.append(OpenRun(read_run_inputs(root, config, models), start, len(left), opened))
        if left:
            outcomes |= _train_open(left)
    return [outcomes[store.run_folder(root, config)] for config, _ in runs]


@dataclass
class OpenRun:
    """A run that is being trained: its inputs, what it starts from, and what is open until it has ended.

    `number` is its place among the adapters that are trained together.
    """

    inputs: RunInputs
    start: Path | None
    number: int
    opened: ExitStack
    outputs: dict[str, TrainOutput] = field(default_factory=dict)

    @property
    def config(self) -> TrainConfig:
        return self.inputs.config

    @property
    def folder(self) -> Path:
        return store.run_folder(self.inputs.root, self.config)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """All phases of the method, or the second where a run of the first is what this one starts from."""
        every = self.config.method.phases
        return every if self.start is None or self.config.continue_training is not None else every[1:]

    def adapter_config(self) -> PeftConfig:
        """PEFT's description of the adapter; UserError where the one to start from is of another kind or size."""
        wanted = peft_config(self.inputs.lm.model, self.config)
        if self.start is None:
            return wanted
        with adapter_errors(self.start, self.inputs.lm.model):
            found, _ = read_adapter(self.start)
        for name in ("peft_type", "r", "lora_alpha", "target_modules", "num_virtual_tokens"):
            has, asked = getattr(found, name, None), getattr(wanted, name, None)
            if has != asked:
                raise UserError(
                    f"{self.start} holds an adapter with {name}={has}, not {asked}; give the settings that it was "
                    "trained with"
                )
        return found

    def open(self, adapters: StackedLora | SingleAdapter) -> None:
        """Open the temporary folder, its history, and the tracker if there is one."""
        self.adapters = adapters
        self.temporary = self.opened.enter_context(store.atomic_write(self.folder))
        self.temporary.mkdir()
        name, place = store.run_name(self.config), self.temporary / "tracking"
        self.track = self.opened.enter_context(
            tracking(self.config.tracker, name, place, self.config.relevant_fields())
        )
        self.history = self.opened.enter_context((self.temporary / "history.jsonl").open("w", encoding="utf-8"))

    def note(self, phase: Phase, bar: "tqdm[Any]", entry: History) -> None:
        """Write an entry of the history, line by line since others watch it, and a checkpoint where one is due."""
        step = int(entry["step"])
        bar.update(step - bar.n)
        bar.set_postfix({key: f"{entry[key]:.4f}" for key in ("train_loss", "dev_loss") if key in entry})
        print(json.dumps({"phase": phase.name, **entry}), file=self.history, flush=True)
        self.track({"phase": phase.name, **entry})
        if self.config.log_checkpoints and step and step % self.config.checkpoint_frequency == 0:
            folder = self.temporary / "checkpoints" / f"{phase.name}_{step}"
            folder.mkdir(parents=True)
            self.adapters.save(self.number, folder, self.inputs.lm.source)

    def close(self, error: UserError | None) -> Path | UserError:
        """Write the rest of the folder and let it count, or remove it where the run has failed."""
        temporary = self.temporary
        try:
            with self.opened:
                if error is not None:
                    raise error
                self.adapters.save(self.number, temporary, self.inputs.lm.source)
                summary = self._summary()
                store.write_json(temporary / "final_loss_statistics.json", summary)
                files = store.list_files(temporary, store.RUN_FILES)
                store.write_object(temporary / store.DESCRIPTION, {**self._description(), "files": files})
                card = model_card(read_subject(temporary, read_trained_run(temporary).labels_used))
                (temporary / CARD).write_text(card, encoding="utf-8")
        except UserError as failure:
            return failure
        numbers = summary["trainable_parameters"], summary["num_steps"]
        log.info("trained %s: %d parameters, %d steps", self.folder, *numbers)
        return self.folder

    def _summary(self) -> dict[str, Any]:
        """final_loss_statistics.json: the result of the last phase, that of each, and the size of the adapter."""
        phases = {name: dataclasses.asdict(output) for name, output in self.outputs.items()}
        return {
            **list(phases.values())[-1],
            "phases": phases,
            "trainable_parameters": self.adapters.num_parameters[self.number],
            "adapter_bytes": (self.temporary / "adapter_model.safetensors").stat().st_size,
        }

    def _description(self) -> dict[str, Any]:
        """run.json: the settings, what they were resolved to, and all that the result rests on."""
        inputs, config = self.inputs, self.config
        return {
            "config": config.relevant_fields(),
            "base": inputs.lm.description,
            "split_sha256": inputs.split_digest,
            "starts_from": None if self.start is None else _adapter_digest(self.start),
            "task": inputs.spec.model_dump(),
            "data": read_provenance(inputs.root, config.dataset),
            "num_dev_used": 0 if config.ldr_mode else len(inputs.split.dev),
            "versions": {name: version_of(name) for name in ("ia2", "torch", "transformers", "peft")},
        }


def _train_open(runs: Sequence[OpenRun]) -> dict[Path, Path | UserError]:
    """Train runs phase by phase, and close each when it has ended."""
    config, lm, phases = runs[0].config, runs[0].inputs.lm, runs[0].phases
    # Targets that are missing are collected here, while the base model is bare.
    datasets = {phase: [run.inputs.datasets(phase) for run in runs] for phase in phases}
    starts = [run.config.run_idx if run.start is None else run.start for run in runs]
    outcomes: dict[Path, Path | UserError] = {}
    with trainable_adapters(lm.model, [run.adapter_config() for run in runs], starts) as adapters:
        sizes = [len(one) for pairs in datasets.values() for pair in pairs for part in pair for one in part.examples]
        check_context(HookedModel(adapters.model), max(sizes))
        for run in runs:
            run.open(adapters)
        for phase in phases:
            left = [run for run in runs if run.folder not in outcomes]
            hidden = None if len(left) == 1 else True  # bars of several workers would overwrite each other
            with tqdm(desc=f"{config.training_method} {phase.name}", unit="step", leave=False, disable=hidden) as bar:
                training = [
                    TrainingRun(
                        run.config,
                        phase,
                        *datasets[phase][run.number],
                        parameters=adapters.parameters[run.number],
                        adapter=run.number,
                        note=partial(run.note, phase, bar),
                    )
                    for run in left
                ]
                bar.reset(max((len(one.batches) for one in training), default=0))
                for one in train(training, adapters, config.micro_batch_size):
                    run = runs[one.adapter]
                    run.outputs[phase.name] = one.finish()
                    if one.error is not None or phase is phases[-1]:
                        outcomes[run.folder] = run.close(one.error)
    return outcomes


def is_trained(root: Path, config: TrainConfig, start: Path | None = None) -> bool:
    """True where the run is in the store, whole; UserError where something else is in its place.

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
    if start is not None and stored.get("starts_from") != _adapter_digest(start):
        raise UserError(f"{folder} was trained from another adapter than {start} holds now; --retrain")
    return True


def _adapter_digest(folder: Path) -> str:
    return store.file_digest(folder / "adapter_model.safetensors")
