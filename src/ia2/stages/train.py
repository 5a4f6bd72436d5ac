"""One run: targets collected or read, an adapter fitted phase by phase, and its folder written.

The folder is complete or absent. A run that is there is not trained again, and one that is there with another
configuration, or on data that has changed, is an error instead of a result.
"""

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peft import PeftModel
from tqdm import tqdm

from ia2 import store
from ia2.config import TrainConfig
from ia2.errors import UserError
from ia2.icl.encoding import Ids
from ia2.icl.splits import Split, load_split
from ia2.lm.adapters import new_adapter, peft_config, save_adapter, saved_adapter, trainable_parameters
from ia2.lm.decoding import Decoding, check_context
from ia2.lm.forward import Reader, reading
from ia2.lm.loading import LanguageModel
from ia2.lm.shelf import Models
from ia2.tasks.pool import Pool, load_pool
from ia2.training.fit import FitSettings, Fitted, History, Lesson, fit
from ia2.training.lessons import Matching, from_answers, from_targets
from ia2.training.targets import Targets, add_kinds, collect, load_targets, save_targets
from ia2.training.variants import VARIANTS, Kind, Phase

log = logging.getLogger(__name__)

TARGETS_FORMAT = 1
TOKEN_BUDGET = 2048


def train_run(root: Path, config: TrainConfig, models: Models, start: Path | None = None) -> Path:
    """Train the run that `config` (T resolved) describes and return its folder.

    `start` is the folder of the first phase's run, for variants of two phases: only the rest is trained, from there.
    """
    folder = store.run_folder(root, config)
    with store.locked(folder):
        if not config.retrain and is_trained(root, config):
            log.info("%s is there", folder)
            return folder
        material = _gather(root, config, models)
        with store.writing(folder) as temporary:
            temporary.mkdir()
            summary = _fit_phases(material, start, temporary)
            store.write_json(temporary / "final_loss_statistics.json", summary)
            store.write_json(temporary / "config.json", _description(material, start))
    log.info("trained %s", folder)
    return folder


def is_trained(root: Path, config: TrainConfig) -> bool:
    """Whether the run stands in the store; UserError where something else stands in its place."""
    folder = store.run_folder(root, config)
    if not (folder / "config.json").exists():
        return False
    stored = store.read_object(folder / "config.json")
    made_with = stored.get("config", {})
    for key, value in config.applicable().items():
        if made_with.get(key) != value:
            was = made_with.get(key)
            raise UserError(f"{folder} was trained with {key}={was!r}, not {value!r}; --retrain replaces it")
    split = store.split_path(root, config.dataset, config.num_train_examples, config.run_idx)
    if store.file_digest(split) != stored.get("split_sha256"):
        raise UserError(f"{folder} was trained on another {split}; --retrain trains it on the one that is there")
    return True


@dataclass(frozen=True)
class _Material:
    """What a run is made of, read from the store."""

    root: Path
    config: TrainConfig
    lm: LanguageModel
    pool: Pool
    split: Split

    @property
    def prompts(self) -> list[Ids]:
        """The student's inputs: training examples, then dev examples."""
        return [self.lm.encoder.prompt(episode.without_demonstrations()) for episode in self.episodes]

    @property
    def episodes(self) -> list[Any]:
        return [*self.split.train, *self.split.dev]

    @property
    def num_tokens(self) -> int:
        assert self.config.num_generated_tokens is not None, "T is resolved before a run is trained"
        return self.config.num_generated_tokens


def _gather(root: Path, config: TrainConfig, models: Models) -> _Material:
    pool = load_pool(root, config.dataset)
    split = load_split(root, config.dataset, config.num_train_examples, config.run_idx, pool.train)
    return _Material(root, config, models.load(config), pool, split)


# Fitting


def _fit_phases(material: _Material, start: Path | None, folder: Path) -> dict[str, Any]:
    config, lm = material.config, material.lm
    phases = VARIANTS[config.method.variant]
    if start is not None:
        phases = phases[1:]
        adapter = saved_adapter(lm.model, start, trainable=True)
    else:
        adapter = new_adapter(lm.model, peft_config(lm.model, config), config.run_idx)
    with adapter as student, reading(student) as reader, _history(folder) as history:
        lessons = [_lessons(material, phase) for phase in phases]
        for lesson in lessons:
            check_context(reader, max(map(len, (*lesson.train.examples, *lesson.dev.examples))))
        fitted = {
            phase.name: _fit_phase((material, phase), (student, reader), lesson, history)
            for phase, lesson in zip(phases, lessons, strict=True)
        }
        save_adapter(student, folder, config.model_id)
        num_parameters = sum(parameter.numel() for parameter in trainable_parameters(student).values())
    last = fitted[phases[-1].name]
    return {
        **dataclasses.asdict(last),
        "phases": {name: dataclasses.asdict(phase) for name, phase in fitted.items()},
        "trainable_parameters": num_parameters,
        "adapter_bytes": (folder / "adapter_model.safetensors").stat().st_size,
    }


def _fit_phase(
    what: tuple[_Material, Phase], who: tuple[PeftModel, Reader], lesson: Lesson, history: Callable[[History], None]
) -> Fitted:
    config, phase = what[0].config, what[1]
    total = config.num_train_epochs * -(-len(lesson.train) // config.batch_size)
    settings = FitSettings(
        lr=config.lr,
        batch_size=config.batch_size,
        num_train_epochs=config.num_train_epochs,
        patience=config.patience,
        dev_eval_steps=config.dev_eval_steps,
        keep=config.keep,
        seed=f"{config.run_idx}/{phase.name}",
    )
    with tqdm(
        total=total, desc=f"{config.training_method} {phase.name}", unit="step", leave=False, disable=None
    ) as bar:

        def note(entry: History) -> None:
            bar.update(int(entry["step"]) - bar.n)
            bar.set_postfix({key: f"{entry[key]:.4f}" for key in ("train_loss", "dev_loss") if key in entry})
            history({"phase": phase.name, **entry})

        return fit(who[0], who[1], lesson, settings, note)


@contextmanager
def _history(folder: Path) -> Iterator[Callable[[History], None]]:
    with (folder / "history.jsonl").open("w", encoding="utf-8") as stream:
        yield lambda entry: print(json.dumps(entry), file=stream, flush=True)


# What is matched


def _lessons(material: _Material, phase: Phase) -> Lesson:
    config, num_train = material.config, len(material.split.train)
    if phase.uses_ground_truth(config.label_type):
        lessons = from_answers(material.prompts, _answers(material))
    else:
        matching = Matching(top_k=None if config.tokl_top_k == "all" else config.tokl_top_k)
        lessons = from_targets(material.prompts, _targets(material, phase.kinds(config.label_type)), matching)
    return Lesson(
        train=lessons.part(0, num_train),
        dev=lessons.part(num_train, len(lessons)),
        weights={loss: weight for loss, weight in phase.weights(config.ce_loss_weight).items() if weight},
    )


def _answers(material: _Material) -> list[Ids]:
    config = material.config
    answers = [
        material.lm.encoder.answer(episode.query.answer, material.num_tokens, config.stop)
        for episode in material.episodes
    ]
    longest = max(map(len, answers))
    if longest > material.num_tokens:
        log.info("the longest answer has %d tokens, T is %d; it is trained whole", longest, material.num_tokens)
    return answers


def _targets(material: _Material, kinds: frozenset[Kind]) -> Targets:
    """The teacher's targets, read from the store or collected into it."""
    provenance = _targets_identity(material)
    folder = store.targets_folder(material.root, store.value_digest(provenance))
    with store.locked(folder):
        targets = load_targets(folder, kinds)
        missing = kinds - (targets.kinds if targets else set())
        if targets is None or missing:
            started = time.perf_counter()
            targets = _collect(material, targets, kinds)
            seconds = round(_seconds_so_far(folder) + time.perf_counter() - started, 3)
            folder.mkdir(exist_ok=True)
            save_targets(folder, targets, {**provenance, "seconds": seconds})
        return targets


def _seconds_so_far(folder: Path) -> float:
    manifest = folder / "manifest.json"
    return float(store.read_json(manifest).get("seconds", 0.0)) if manifest.exists() else 0.0


def _collect(material: _Material, known: Targets | None, kinds: frozenset[Kind]) -> Targets:
    lm = material.lm
    prompts = [lm.encoder.prompt(episode) for episode in material.episodes]
    with reading(lm.model) as teacher:
        if known is not None:
            return add_kinds(teacher, prompts, known, kinds - known.kinds, TOKEN_BUDGET)
        stopper = lm.stopper("eos" if material.config.stop == "published" else material.config.stop)
        with tqdm(total=len(prompts), desc="targets", unit="example", leave=False, disable=None) as bar:
            how = Decoding(material.num_tokens, stopper, TOKEN_BUDGET, bar.update)
            return collect(teacher, prompts, how, kinds)


def _targets_identity(material: _Material) -> dict[str, Any]:
    config = material.config
    return {
        "format": TARGETS_FORMAT,
        "model_id": store.short_model_name(config.model_id),
        "model_revision": material.lm.revision,
        "split_sha256": _split_digest(material),
        "num_generated_tokens": material.num_tokens,
        "stop": config.stop,
        "dtype": material.lm.dtype,
    }


def _split_digest(material: _Material) -> str:
    config = material.config
    return store.file_digest(store.split_path(material.root, config.dataset, config.num_train_examples, config.run_idx))


def _description(material: _Material, start: Path | None) -> dict[str, Any]:
    """config.json: what was asked for, what it was resolved to, and all that the result rests on."""
    lm = material.lm
    return {
        "config": material.config.applicable(),
        "base": {"model_id": lm.model_id, "revision": lm.revision, "dtype": lm.dtype},
        "split_sha256": _split_digest(material),
        "starts_from": None if start is None else store.file_digest(start / "adapter_model.safetensors"),
        "task": material.pool.spec.model_dump(),
        "num_dev_used": len(material.split.dev),
        "versions": {name: version(name) for name in ("ia2", "torch", "transformers", "peft")},
    }
