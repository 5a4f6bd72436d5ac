"""`ia2 train`: one run, or several in the same passes; data, targets and a first phase are made where they are missing.

The folder of a run is complete or absent. A run that exists is not trained again, and one that exists with another
configuration, or on data that has changed, is an error instead of a result.
"""

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from peft import PeftConfig
from tqdm import tqdm

from ia2 import store
from ia2.commands.data_files import ensure_pool, ensure_split
from ia2.config import CONTINUE_SAME, TrainConfig, absolute_model_id
from ia2.errors import UserError
from ia2.methods import Kind, Phase
from ia2.models.adapters import SingleAdapter, adapter_errors, peft_config, read_adapter
from ia2.models.generation import check_context
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import ModelCache, changed_parts, parts_on_disk
from ia2.models.stacked_lora import StackedLora, trainable_adapters
from ia2.page.card import CARD, model_card
from ia2.prompts.splits import LowDataSplitSpec, SplitSpec
from ia2.sources.packages import version_of
from ia2.tasks.pool import load_pool, read_provenance
from ia2.training.run_inputs import RunInputs, read_run_inputs
from ia2.training.targets import kinds_on_disk
from ia2.training.tracking import check_tracker, tracking
from ia2.training.trainer import History, TrainingRun, train_in_lockstep

log = logging.getLogger(__name__)

WEIGHTS = "adapter_model.safetensors"
STACKED = frozenset({"lr", "run_idx", "lora_r", "lora_alpha", "ce_loss_weight"})
"""Fields in which runs may differ that are trained in the same passes: those of the arithmetic of one run alone."""


def train(config: TrainConfig, models: ModelCache | None = None, keep_first: bool = False) -> Path:
    """Train one run, after its first phase where the method has two, unless it exists; return its folder.

    With `keep_first` the first phase of two is kept, even where the run is trained again.
    """
    models = models or ModelCache()
    if config.ignored_fields():
        log.info("%s ignores %s", config.training_method, ", ".join(f"--{key}" for key in config.ignored_fields()))
    runs = [config]
    if config.continue_training is None and (first := first_phase(config)) is not None:
        runs.insert(0, first.model_copy(update={"retrain": first.retrain and not keep_first}))
    for run in runs:
        (outcome,) = train_runs([run], models)
        if isinstance(outcome, UserError):
            raise outcome
    assert isinstance(outcome, Path)
    return outcome


def train_runs(configs: Sequence[TrainConfig], models: ModelCache) -> list[Path | UserError]:
    """Train runs of one `stack_key`, whose first phases exist, in the same passes: each one's folder, or its error.

    The result of each is the one that it would have alone, up to rounding. They end, and fail, each for itself.
    """
    root, configs = store.resolve_root(configs[0]), [resolve(config) for config in configs]
    wanted = {store.run_folder(root, config): config for config in configs}
    outcomes: dict[Path, Path | UserError] = {folder: folder for folder in wanted}
    with ExitStack() as everything:
        left: list[OpenRun] = []
        for folder, config in sorted(wanted.items(), key=lambda pair: pair[0]):  # all processes lock in one order
            start = start_of(root, config)
            opened = everything.enter_context(ExitStack())
            opened.enter_context(store.file_lock(folder))
            if not config.retrain and is_trained(root, config, start):
                log.info("%s is there", folder)
                opened.close()
                continue
            store.check_replaceable(folder)
            if config.tracker != "none":
                check_tracker(config.tracker)
            left.append(OpenRun(read_run_inputs(root, config, models), start, folder, len(left), opened))
        if left:
            outcomes |= _train_open(left)
    return [outcomes[store.run_folder(root, config)] for config in configs]


def _train_open(runs: Sequence["OpenRun"]) -> dict[Path, Path | UserError]:
    """Train runs phase by phase, and close each when it has ended."""
    config, lm = runs[0].inputs.config, runs[0].inputs.lm
    # A second phase alone where a run of the first is what it starts from.
    fresh = runs[0].start is None or config.continue_training is not None
    phases = config.method.phases if fresh else config.method.phases[1:]
    # Targets that are missing are collected here, while the base model is bare.
    datasets = {phase: [run.inputs.datasets(phase) for run in runs] for phase in phases}
    starts = [run.inputs.config.run_idx if run.start is None else run.start for run in runs]
    outcomes: dict[Path, Path | UserError] = {}
    with trainable_adapters(lm.model, [run.adapter_config() for run in runs], starts) as adapters:
        sizes = [len(one) for pairs in datasets.values() for pair in pairs for part in pair for one in part.examples]
        check_context(HookedModel(adapters.model), max(sizes))
        for run in runs:
            run.open(adapters)
        for phase in phases:
            left = [run for run in runs if run.folder not in outcomes]
            if not left:
                break  # all have failed in the first phase
            hidden = None if len(left) == 1 else True  # bars of several workers would overwrite each other
            with tqdm(desc=f"{config.training_method} {phase.name}", unit="step", leave=False, disable=hidden) as bar:
                training = [
                    TrainingRun(
                        run.inputs.config,
                        phase,
                        *datasets[phase][run.number],
                        parameters=adapters.parameters[run.number],
                        adapter=run.number,
                        note=partial(run.note, phase, bar),
                    )
                    for run in left
                ]
                bar.reset(max(len(one.batches) for one in training))
                for one in train_in_lockstep(training, adapters):
                    run = runs[one.adapter]
                    run.results[phase.name] = one.finish()
                    if one.error is not None or phase is phases[-1]:
                        outcomes[run.folder] = run.close(one.error)
    return outcomes


@dataclass
class OpenRun:
    """A run that is being trained: its inputs, what it starts from, its folder, and what is open until it has ended.

    `number` is its place among the adapters that are trained together.
    """

    inputs: RunInputs
    start: Path | None
    folder: Path
    number: int
    opened: ExitStack
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    track: Callable[[History], object] = dict

    def adapter_config(self) -> PeftConfig:
        """PEFT's description of the adapter; UserError where the one to start from is of another kind or size."""
        wanted = peft_config(self.inputs.lm.model, self.inputs.config)
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
        """Open the temporary folder, its history, and the tracker if it has one."""
        self.adapters, config = adapters, self.inputs.config
        self.temporary = self.opened.enter_context(store.atomic_write(self.folder))
        self.temporary.mkdir()
        if config.tracker != "none":
            name, place = store.run_name(config), self.temporary / "tracking"
            self.track = self.opened.enter_context(tracking(config.tracker, name, place, config.relevant_fields()))
        self.history = self.opened.enter_context((self.temporary / "history.jsonl").open("w", encoding="utf-8"))

    def note(self, phase: Phase, bar: "tqdm[Any]", entry: History) -> None:
        """Write an entry of the history, line by line since others watch it, and a checkpoint where one is due."""
        step, config = int(entry["step"]), self.inputs.config
        bar.update(step - bar.n)
        bar.set_postfix({key: f"{entry[key]:.4f}" for key in ("train_loss", "dev_loss") if key in entry})
        print(json.dumps({"phase": phase.name, **entry}), file=self.history, flush=True)
        self.track({"phase": phase.name, **entry})
        if config.log_checkpoints and step and step % config.checkpoint_frequency == 0:
            folder = self.temporary / "checkpoints" / f"{phase.name}_{step}"
            folder.mkdir(parents=True)
            self.adapters.save(self.number, folder, self.inputs.lm.source)

    def close(self, error: UserError | None) -> Path | UserError:
        """Write the rest of the folder and let it count, or remove it where the run has failed."""
        inputs, config, temporary = self.inputs, self.inputs.config, self.temporary
        try:
            with self.opened:
                if error is not None:
                    raise error
                self.adapters.save(self.number, temporary, inputs.lm.source)
                result = {
                    **list(self.results.values())[-1],
                    "phases": self.results,
                    "trainable_parameters": self.adapters.num_parameters[self.number],
                    "adapter_bytes": (temporary / WEIGHTS).stat().st_size,
                }
                store.write_json(temporary / "final_loss_statistics.json", result)
                # All that the result rests on, and what its settings were resolved to
                description = {
                    "config": config.relevant_fields(),
                    "base": inputs.lm.description,
                    "split_sha256": inputs.targets_identity["split_sha256"],
                    "starts_from": None if self.start is None else store.file_digest(self.start / WEIGHTS),
                    "task": inputs.spec.model_dump(),
                    "data": read_provenance(inputs.root, config.dataset),
                    "num_dev_used": 0 if config.ldr_mode else len(inputs.split.dev),
                    "versions": {name: version_of(name) for name in ("ia2", "torch", "transformers", "peft")},
                    "files": store.list_files(temporary, store.RUN_FILES),
                }
                store.write_object(temporary / store.DESCRIPTION, description)
                (temporary / CARD).write_text(model_card(description, result), encoding="utf-8")
        except UserError as failure:
            return failure
        numbers = result["trainable_parameters"], result["num_steps"]
        log.info("trained %s: %d parameters, %d steps", self.folder, *numbers)
        return self.folder


# What a run rests on


def resolve(config: TrainConfig) -> TrainConfig:
    """The config with the dataset's name and T as the task declares it, its data files in place."""
    root = store.resolve_root(config)
    dataset = ensure_pool(root, config.dataset, config.no_prepare)
    if config.ldr_mode:
        spec: SplitSpec | LowDataSplitSpec = LowDataSplitSpec(
            config.low_data_sizes, config.run_idx, config.num_dev_examples
        )
    else:
        spec = SplitSpec(
            num_train_examples=config.num_train_examples,
            run_idx=config.run_idx,
            max_icl_demos=config.max_icl_demos,
            num_dev_examples=config.num_dev_examples,
            demo_type=config.demo_type,
            num_shuffles=config.num_shuffles if config.shuffle_demos else 1,
        )
    ensure_split(root, dataset, spec, config.no_prepare)
    num_tokens = config.num_generated_tokens or load_pool(root, dataset).spec.num_generated_tokens
    return config.model_copy(update={"dataset": dataset, "num_generated_tokens": num_tokens})


def first_phase(config: TrainConfig) -> TrainConfig | None:
    """The run that a method of two phases starts from: the same in all but the method."""
    first = config.method.first
    return None if first is None else config.model_copy(update={"training_method": str(first)})


def start_of(root: Path, config: TrainConfig) -> Path | None:
    """The folder of the run that a run (T resolved) starts from: of its first phase, or as `continue_training` says."""
    if config.continue_training is None:
        first = first_phase(config)
        return None if first is None else store.run_folder(root, first)
    folder = Path(config.continue_training)
    if config.continue_training == CONTINUE_SAME:
        folder = store.run_folder(root, config.model_copy(update={"continue_training": None}))
    if not (folder / "adapter_config.json").exists():
        raise UserError(f"PEFT model not found: {folder}; train it first, or give its folder to --continue_training")
    return folder


def stack_key(config: TrainConfig) -> str | None:
    """The settings that runs must share to be trained in the same passes; None for a run that is trained alone.

    Only LoRA adapters of several runs are one batched product.
    """
    if config.method.adapter != "lora" or config.continue_training is not None or config.tracker != "none":
        return None
    shared = {name: value for name, value in config.relevant_fields().items() if name not in STACKED}
    return store.value_digest({**shared, "retrain": config.retrain, "micro_batch_size": config.micro_batch_size})


def is_trained(root: Path, config: TrainConfig, start: Path | None) -> bool:
    """True where the run (T resolved) is in the store, whole; UserError where something else is in its place.

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
    if start is not None and stored.get("starts_from") != store.file_digest(start / WEIGHTS):
        raise UserError(f"{folder} was trained from another adapter than {start} holds now; --retrain")
    return True


# Targets alone


def kinds_of(config: TrainConfig) -> frozenset[Kind]:
    """Kinds of targets that a run needs; none where it is trained on the dataset's own answers alone."""
    phases = config.method.phases
    kinds = frozenset[Kind]().union(*(phase.kinds(config.label_type) for phase in phases))
    judged_by_teacher = config.ldr_mode and any(phase.uses_ground_truth(config.label_type) for phase in phases)
    return kinds | {"tokens"} if judged_by_teacher else kinds


def collect_targets(root: Path, config: TrainConfig, kinds: frozenset[Kind], models: ModelCache) -> bool | None:
    """Collect these kinds for the split of `config` (T resolved); False where none were missing.

    None, at once, where another process is at them.
    """
    inputs = read_run_inputs(root, config, models)
    with store.try_lock(inputs.targets_folder) as ours:
        if not ours:
            return None
        missing = not kinds <= kinds_on_disk(inputs.targets_folder)
        inputs.targets(kinds)
    log.info("targets of %s: %s", config.dataset, ", ".join(sorted(kinds)))
    return missing
