"""The inputs of a run, read from the store, and the datasets that each of its phases trains on and is judged by.

The teacher's targets are collected here when they are first needed, once for all runs that share them.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from ia2 import store
from ia2.config import TrainConfig
from ia2.methods import Kind, Phase
from ia2.models.generation import GenerationConfig
from ia2.models.hooked_model import HookedModel, select_layers
from ia2.models.loading import LanguageModel, ModelCache
from ia2.prompts.prompt import Prompt
from ia2.prompts.splits import Split, load_split
from ia2.prompts.tokenization import Ids, PromptTokenizer
from ia2.tasks.base import Example, TaskSpec
from ia2.tasks.pool import load_pool
from ia2.training.dataset import DistillationDataset, Matching, from_targets
from ia2.training.targets import Targets, load_or_collect

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
        """Prompts of the student: the questions alone."""
        return [self.prompt_tokenizer.prompt(Prompt((), query).instructed(self.spec)) for query in queries]

    def datasets(self, phase: Phase) -> tuple[DistillationDataset, DistillationDataset]:
        """The train and dev examples of a phase.

        With ground truth, the dataset's answers are both. In the low-data regime the dev queries are unlabelled: a
        phase on the N labelled examples is judged by the teacher's answers to those queries, so that no further label
        enters.
        """
        num_train, queries = len(self.split.train), [prompt.query for prompt in self.prompts]
        gold = phase.uses_ground_truth(self.config.label_type)
        if gold and not self.split.labelled:
            examples = self._labelled(queries)
        else:
            kinds = frozenset[Kind]({"tokens"}) if gold else phase.kinds(self.config.label_type)
            matching = Matching(
                top_k=None if self.config.tokl_top_k == "all" else self.config.tokl_top_k,
                layers=select_layers(self.config.layers, self.lm.model.config.num_hidden_layers),
                act_norm=self.config.act_norm,
            )
            examples = from_targets(self.student_prompts(queries), self.targets(kinds), matching)
        dev = examples.part(num_train, len(examples))
        if gold and self.split.labelled:
            return self._labelled(self.split.labelled), dev
        return examples.part(0, num_train), dev

    def _labelled(self, examples: Sequence[Example]) -> DistillationDataset:
        """Examples whose responses are the dataset's own answers."""
        config = self.config
        answers = [self.prompt_tokenizer.answer(one.answer, self.num_tokens, config.stop) for one in examples]
        longest = max(map(len, answers))
        if longest > self.num_tokens:
            log.info("the longest answer has %d tokens, T is %d; it is trained whole", longest, self.num_tokens)
        return from_targets(self.student_prompts(examples), Targets(tuple(answers)))

    # The teacher's targets

    @property
    def targets_folder(self) -> Path:
        return store.targets_folder(self.root, store.value_digest(self._targets_identity))

    @property
    def _targets_identity(self) -> dict[str, Any]:
        """All that the targets depend on: equal identities, equal targets."""
        config, lm = self.config, self.lm
        return {
            "format": TARGETS_FORMAT,
            "model_id": store.short_model_name(config.model_id),
            "model_revision": lm.revision,
            "base": {"parts": lm.parts},
            "split_sha256": self.split_digest,
            "num_generated_tokens": self.num_tokens,
            "stop": config.stop,
            "dtype": lm.dtype,
            "chat_template": config.chat_template,
            "instruction": self.spec.instruction,
        }

    def targets(self, kinds: Collection[Kind]) -> Targets:
        """The teacher's targets, read from the store or collected into it."""
        prompts = [self.prompt_tokenizer.prompt(prompt) for prompt in self.prompts]
        hooked = HookedModel(self.lm.model)
        place = self.targets_folder, self._targets_identity
        return load_or_collect(*place, kinds, hooked=hooked, prompts=prompts, how=self._generation)

    def _generation(self) -> GenerationConfig:
        """Options of the teacher's decoding. Answers longer than T tokens are no mistake: they are trained on."""
        examples = self.split.labelled or [prompt.query for prompt in self.prompts]
        length = median(len(self.prompt_tokenizer.answer_ids(example.answer)) for example in examples)
        if length > self.num_tokens:
            log.info("the median answer has %g tokens, T is %d: the teacher is cut short", length, self.num_tokens)
        stop = "eos" if self.config.stop == "published" else self.config.stop
        return GenerationConfig(self.num_tokens, self.lm.stopper(stop, self.config.chat_template))


def read_run_inputs(root: Path, config: TrainConfig, models: ModelCache) -> RunInputs:
    """Read a run's task and split, and load its base model if it is not loaded."""
    pool = load_pool(root, config.dataset)
    split = load_split(store.split_file(root, config), pool.train)
    return RunInputs(root, config, models.load(config), pool.spec, split)
