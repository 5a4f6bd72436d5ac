"""The inputs of a run, read from the store, and the datasets that each of its phases trains on and is judged by.

The teacher's targets are collected here when they are first needed, once for all runs that share them.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ia2 import store
from ia2.config import TrainConfig
from ia2.methods import Kind, Phase
from ia2.models.generation import GenerationConfig
from ia2.models.hooked_model import HookedModel, select_layers
from ia2.models.loading import LanguageModel, ModelCache
from ia2.prompts.prompt import Prompt, PromptTokenizer
from ia2.prompts.splits import Split, load_split
from ia2.tasks.pool import load_pool
from ia2.tasks.task_spec import Example, TaskSpec
from ia2.training.dataset import DistillationDataset, from_targets
from ia2.training.targets import Targets, load_or_collect

log = logging.getLogger(__name__)

TARGETS_FORMAT = 2


@dataclass(frozen=True)
class RunInputs:
    """A run's configuration, its T (`num_tokens`), base model, task and split, and the place of its targets.

    `prompts` are the training rows, then the dev rows, as the teacher sees them. `targets_identity` is all that the
    targets depend on: equal identities, equal targets.
    """

    root: Path
    config: TrainConfig
    num_tokens: int
    lm: LanguageModel
    prompt_tokenizer: PromptTokenizer
    spec: TaskSpec
    split: Split
    prompts: list[Prompt]
    targets_identity: dict[str, Any]
    targets_folder: Path

    def datasets(self, phase: Phase) -> tuple[DistillationDataset, DistillationDataset]:
        """The train and dev examples of a phase.

        With ground truth, the dataset's answers are both. In the low-data regime the dev queries are unlabelled: a
        phase on the N labelled examples is judged by the teacher's answers to those queries, so that no further label
        enters.
        """
        num_train, labelled = len(self.split.train), self.split.labelled
        queries = [prompt.query for prompt in self.prompts]
        gold = phase.uses_ground_truth(self.config.label_type)
        if gold and not labelled:
            examples = self.student_dataset(queries, self.answers(queries))
        else:
            kinds = frozenset[Kind]({"tokens"}) if gold else phase.kinds(self.config.label_type)
            examples = self.student_dataset(queries, self.targets(kinds))
        dev = examples.part(num_train, len(examples))
        if gold and labelled:
            return self.student_dataset(labelled, self.answers(labelled)), dev
        return examples.part(0, num_train), dev

    def student_dataset(self, queries: Sequence[Example], targets: Targets) -> DistillationDataset:
        """Targets after the prompts of the student: the questions alone."""
        prompts = (Prompt((), query).instructed(self.spec) for query in queries)
        return from_targets([self.prompt_tokenizer.prompt(prompt) for prompt in prompts], targets)

    def answers(self, examples: Sequence[Example]) -> Targets:
        """Targets that are the dataset's own answers."""
        answers = [self.prompt_tokenizer.answer(one.answer, self.num_tokens, self.config.stop) for one in examples]
        longest = max(map(len, answers))
        if longest > self.num_tokens:
            log.info("the longest answer has %d tokens, T is %d; it is trained whole", longest, self.num_tokens)
        return Targets(tuple(answers))

    def targets(self, kinds: Collection[Kind]) -> Targets:
        """The teacher's targets for training rows, then dev rows, read from the store or collected into it."""
        return load_or_collect(
            self.targets_folder,
            self.targets_identity,
            kinds,
            hooked=HookedModel(self.lm.model),
            prompts=[self.prompt_tokenizer.prompt(prompt) for prompt in self.prompts],
            how=self._generation,
        )

    def _generation(self) -> GenerationConfig:
        """Options of the teacher's decoding. Answers longer than T tokens are no mistake: they are trained on."""
        examples = self.split.labelled or [prompt.query for prompt in self.prompts]
        length = median(len(self.prompt_tokenizer.answer_ids(example.answer)) for example in examples)
        if length > self.num_tokens:
            log.info("the median answer has %g tokens, T is %d: the teacher is cut short", length, self.num_tokens)
        stop = "eos" if self.config.stop == "published" else self.config.stop
        return GenerationConfig(self.num_tokens, self.lm.stopper(stop, self.config.chat_template))


def read_run_inputs(root: Path, config: TrainConfig, models: ModelCache) -> RunInputs:
    """Read the task and split of a run (T resolved), and load its base model if it is not loaded."""
    assert config.num_generated_tokens is not None
    pool, split_file = load_pool(root, config.dataset), store.split_file(root, config)
    split, lm = load_split(split_file, pool.train), models.load(config)
    select_layers(config.layers, lm.model.config.num_hidden_layers)  # UserError now, before anything is collected
    identity = {
        "format": TARGETS_FORMAT,
        "model_id": store.short_model_name(config.model_id),
        "model_revision": lm.revision,
        "base": {"parts": lm.parts},
        "split_sha256": store.file_digest(split_file),
        "num_generated_tokens": config.num_generated_tokens,
        "stop": config.stop,
        "dtype": lm.dtype,
        "chat_template": config.chat_template,
        "instruction": pool.spec.instruction,
    }
    return RunInputs(
        root=root,
        config=config,
        num_tokens=config.num_generated_tokens,
        lm=lm,
        prompt_tokenizer=lm.prompt_tokenizer(config.chat_template),
        spec=pool.spec,
        split=split,
        prompts=[prompt.instructed(pool.spec) for prompt in (*split.train, *split.dev)],
        targets_identity=identity,
        targets_folder=store.targets_folder(root, store.value_digest(identity)),
    )
