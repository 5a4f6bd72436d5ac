"""What a run is made of, read from the store, and what each of its phases is to match.

The teacher's targets are collected here when they are first needed, once for all runs that share them.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from ia2 import store
from ia2.config import TrainConfig
from ia2.methods import Kind, Phase
from ia2.models.architecture import select_layers
from ia2.models.generation import GenerationConfig
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import LanguageModel, ModelCache
from ia2.prompts.prompt import Prompt
from ia2.prompts.splits import Split, load_split
from ia2.prompts.tokenization import Ids, PromptTokenizer
from ia2.tasks.base import Example, TaskSpec
from ia2.tasks.pool import load_pool
from ia2.training.dataset import DistillationDataset, Matching, from_answers, from_targets
from ia2.training.targets import Targets, add_kinds, collect, load_usable, register
from ia2.training.trainer import Lesson

log = logging.getLogger(__name__)

TARGETS_FORMAT = 2


@dataclass(frozen=True)
class RunInputs:
    """A run's configuration (T resolved), base model, task and split."""

    root: Path
    config: TrainConfig
    lm: LanguageModel
    spec: TaskSpec
    split: Split

    @property
    def prompts(self) -> list[Prompt]:
        """Training rows, then dev rows, as the teacher sees them."""
        return [prompt.instructed(self.spec) for prompt in (*self.split.train, *self.split.dev)]

    @property
    def prompt_tokenizer(self) -> PromptTokenizer:
        return self.lm.prompt_tokenizer(self.config.chat_template)

    @cached_property
    def split_digest(self) -> str:
        return store.file_digest(store.split_file(self.root, self.config))

    @property
    def num_tokens(self) -> int:
        assert self.config.num_generated_tokens is not None, "T is resolved before a run is trained"
        return self.config.num_generated_tokens

    def student_prompts(self, queries: Sequence[Example]) -> list[Ids]:
        """What the student is asked: the questions alone."""
        return [self.prompt_tokenizer.prompt(Prompt((), query).instructed(self.spec)) for query in queries]


def read_run_inputs(root: Path, config: TrainConfig, models: ModelCache) -> RunInputs:
    """Read a run's task and split, and load its base model if it is not loaded."""
    pool = load_pool(root, config.dataset)
    split = load_split(store.split_file(root, config), pool.train)
    return RunInputs(root, config, models.load(config), pool.spec, split)


def lesson_of(material: RunInputs, phase: Phase) -> Lesson:
    """What a phase is fitted on and judged by.

    With ground truth, the dataset's answers are both. In the low-data regime the dev queries are unlabelled: a phase on
    the N labelled examples is judged by the teacher's answers to those queries, so that no further label enters.
    """
    config = material.config
    if not phase.uses_ground_truth(config.label_type):
        lessons = _teacher_lessons(material, phase.kinds(config.label_type))
    elif not material.split.labelled:
        lessons = _gold_lessons(material, [prompt.query for prompt in material.prompts])
    else:
        dev = _dev_part(material, _teacher_lessons(material, frozenset({"tokens"})))
        return Lesson(_gold_lessons(material, material.split.labelled), dev, phase.weights(config.ce_loss_weight))
    train = lessons.part(0, len(material.split.train))
    return Lesson(train, _dev_part(material, lessons), phase.weights(config.ce_loss_weight))


def _dev_part(material: RunInputs, lessons: DistillationDataset) -> DistillationDataset:
    return lessons.part(len(material.split.train), len(lessons))


def _gold_lessons(material: RunInputs, examples: Sequence[Example]) -> DistillationDataset:
    answers = [
        material.prompt_tokenizer.answer(example.answer, material.num_tokens, material.config.stop)
        for example in examples
    ]
    longest = max(map(len, answers))
    if longest > material.num_tokens:
        log.info("the longest answer has %d tokens, T is %d; it is trained whole", longest, material.num_tokens)
    return from_answers(material.student_prompts(examples), answers)


def _teacher_lessons(material: RunInputs, kinds: frozenset[Kind]) -> DistillationDataset:
    config = material.config
    matching = Matching(
        top_k=None if config.tokl_top_k == "all" else config.tokl_top_k,
        layers=select_layers(config.layers, material.lm.model.config.num_hidden_layers),
        act_norm=config.act_norm,
    )
    prompts = material.student_prompts([prompt.query for prompt in material.prompts])
    return from_targets(prompts, load_or_collect_targets(material, kinds), matching)


# The teacher's targets


def load_or_collect_targets(material: RunInputs, kinds: frozenset[Kind]) -> Targets:
    """The teacher's targets, read from the store or collected into it."""
    folder = targets_place(material)
    with store.file_lock(folder):
        targets = load_usable(folder, kinds)
        missing = kinds - (targets.kinds if targets else set())
        if targets is None or missing:
            started = time.perf_counter()
            if targets is None:
                _tell_short_responses(material)
            folder.mkdir(exist_ok=True)
            targets = _collect(material, targets, kinds, folder)
            seconds = round(_seconds_so_far(folder) + time.perf_counter() - started, 3)
            register(folder, targets, {**_identity(material), "seconds": seconds})
        return targets


def _tell_short_responses(material: RunInputs) -> None:
    """A response of T tokens cannot hold an answer that is longer, and is no mistake: it is said, and trained on."""
    examples = material.split.labelled or [prompt.query for prompt in material.prompts]
    length = median(len(material.prompt_tokenizer.answer_ids(example.answer)) for example in examples)
    if length > material.num_tokens:
        log.info("the median answer has %g tokens, T is %d: the teacher is cut short", length, material.num_tokens)


def targets_place(material: RunInputs) -> Path:
    """The folder of the teacher's targets."""
    return store.targets_folder(material.root, store.value_digest(_identity(material)))


def _identity(material: RunInputs) -> dict[str, Any]:
    """What the targets depend on: equal identities, equal targets."""
    config = material.config
    return {
        "format": TARGETS_FORMAT,
        "model_id": store.short_model_name(config.model_id),
        "model_revision": material.lm.revision,
        "base": {"parts": material.lm.parts},
        "split_sha256": material.split_digest,
        "num_generated_tokens": material.num_tokens,
        "stop": config.stop,
        "dtype": material.lm.dtype,
        "chat_template": config.chat_template,
        "instruction": material.spec.instruction,
    }


def _seconds_so_far(folder: Path) -> float:
    manifest = folder / "manifest.json"
    return float(store.read_object(manifest).get("seconds", 0.0)) if manifest.exists() else 0.0


def _collect(material: RunInputs, known: Targets | None, kinds: frozenset[Kind], folder: Path) -> Targets:
    prompts = [material.prompt_tokenizer.prompt(prompt) for prompt in material.prompts]
    teacher = HookedModel(material.lm.model)
    if known is not None:
        return add_kinds(teacher, prompts, known, kinds - known.kinds, folder)
    stop = material.config.stop
    stopper = material.lm.stopper("eos" if stop == "published" else stop, material.config.chat_template)
    with tqdm(total=len(prompts), desc="targets", unit="example", leave=False, disable=None) as bar:
        how = GenerationConfig(material.num_tokens, stopper)
        return collect(teacher, prompts, how, kinds, folder, progress=bar.update)
