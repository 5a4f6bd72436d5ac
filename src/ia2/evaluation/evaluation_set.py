"""Evaluation sets, read from the store: their queries, the demonstrations before them, and grades of responses to them.

Mistakes in the data (no examples, an answer that is no label, too few demonstrations) are found here, before a model
has worked for it.
"""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from ia2 import store
from ia2.config import Control, StopRule
from ia2.errors import UserError
from ia2.evaluation.metrics import Grades
from ia2.prompts.prompt import Prompt, prompts_after_fresh_draws, prompts_after_shared, with_wrong_answers
from ia2.prompts.splits import load_split
from ia2.tasks.parsers import contains, parse, same
from ia2.tasks.pool import load_pool
from ia2.tasks.task_spec import Example, TaskSpec

MIN_EXAMPLES = 2
"""A smaller split cannot be created; a run of the low-data regime may have fewer labels."""

NO_LABEL = -1
"""In place of a label's index: the response is none of the labels."""


@dataclass(frozen=True)
class EvaluationSet:
    """Prompts with n queries of one dataset."""

    dataset: str
    spec: TaskSpec
    prompts: tuple[Prompt, ...]

    @property
    def queries(self) -> list[Example]:
        return [prompt.query for prompt in self.prompts]


@dataclass(frozen=True)
class EvaluationSpec:
    """Settings of an evaluation, the `eval` part of a record; analyses leave its last two at their defaults."""

    eval_dataset: str
    icl_source_dataset: str
    icl_max_demos: int
    num_train_examples: int
    run_idx: int
    num_generated_tokens_eval: int
    model_id: str
    torch_dtype: str = "auto"
    icl_pool: str = "train"
    stop: StopRule = "separator"
    num_eval_examples: int | None = None
    chat_template: bool = False
    uncertainty_analysis: bool = False
    control: Control = "none"

    @property
    def num_shown(self) -> int:
        """Number of demonstrations before a query: of a run's own N never more than all."""
        return min(self.icl_max_demos, self.num_train_examples) if self.icl_pool == "train" else self.icl_max_demos

    @property
    def response_fields(self) -> dict[str, Any]:
        """Fields that decide the responses of a teacher, as analyses name and store them."""
        own = ("uncertainty_analysis", "control")
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in own}

    @property
    def name(self) -> str:
        """{eval}_on_{source}_demos{k}_T{T}, and a tail for every other setting that is not at its default."""
        unusual = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.default is not MISSING
            and field.name != "uncertainty_analysis"  # which has folders of its own
            and getattr(self, field.name) != field.default
        }
        demonstrations = f"{self.icl_source_dataset}_demos{self.icl_max_demos}"
        return f"{self.eval_dataset}_on_{demonstrations}_T{self.num_generated_tokens_eval}{store.name_tail(unusual)}"

    @property
    def base_name(self) -> str:
        """{model}_{N}_{run}, in place of a run's name for a base model."""
        return f"{store.short_model_name(self.model_id)}_{self.num_train_examples}_{self.run_idx}"

    def split_path(self, root: Path) -> Path:
        """The split that demonstrations come from."""
        return store.split_path(root, self.icl_source_dataset, self.num_train_examples, self.run_idx)

    def existing_path(self, path: Path) -> Path:
        """`path`, whose name has `name` in it, or an existing one beside it with another number of demonstrations that
        shows the same: all N."""
        head, found, tail = path.name.rpartition(f"_demos{self.icl_max_demos}_T")
        if path.exists() or not found or self.icl_pool != "train" or self.icl_max_demos < self.num_train_examples:
            return path
        named = re.compile(rf"{re.escape(head)}_demos(\d+)_T{re.escape(tail)}")
        others = [(match, other) for other in path.parent.glob("*") if (match := named.fullmatch(other.name))]
        return min((other for match, other in others if int(match[1]) >= self.num_train_examples), default=path)


def read_evaluation_set(root: Path, dataset: str, most: int | None) -> EvaluationSet:
    """The first `most` (None: all) evaluation examples of a dataset, without demonstrations.

    UserError where there are none, or where an answer is none of the task's labels.
    """
    pool = load_pool(root, dataset)
    queries = pool.validation[:most]
    if not queries:
        raise UserError(f"dataset {dataset!r} has no evaluation examples")
    labels = label_answers(pool.spec)
    if unknown := [query.answer for query in queries if labels and query.answer not in labels]:
        valid = ", ".join(map(repr, labels))
        raise UserError(f"dataset {dataset!r}: the answer {unknown[0]!r} is none of its labels {valid}")
    return EvaluationSet(dataset, pool.spec, tuple(Prompt((), query).instructed(pool.spec) for query in queries))


def label_answers(spec: TaskSpec) -> tuple[str, ...]:
    """The labels of a task as they follow a cue; none for free text."""
    return tuple(spec.answer(dict.fromkeys(spec.answer_fields, label)) for label in spec.labels)


def with_demonstrations(
    root: Path, questions: EvaluationSet, spec: EvaluationSpec, others: bool = False
) -> EvaluationSet:
    """The same queries, each after the demonstrations that `spec` gives it.

    With `others` as many are drawn anew from what the split leaves, one list for all queries or one for each: the
    control of similarity. UserError where their split is missing or damaged, or leaves too few.
    """
    if spec.num_train_examples < MIN_EXAMPLES:
        raise UserError(
            f"demonstrations come from a split of at least {MIN_EXAMPLES} training examples, and this run has "
            f"{spec.num_train_examples}: evaluate it without demonstrations, or take those of a larger N"
        )
    source, path, shared = load_pool(root, spec.icl_source_dataset), spec.split_path(root), spec.icl_pool == "train"
    split, size = load_split(path, source.train), spec.num_shown
    rest = [source.train[index] for index in split.remaining]
    if others:
        size = min(size, len(split.train_examples if shared else rest))
        if len(rest) < size or not size:
            raise UserError(
                f"{len(rest)} examples of {spec.icl_source_dataset!r} are neither training nor dev examples, "
                f"{size or 1} are needed to show other demonstrations; prepare more, or lower --icl_max_demos"
            )
    elif not shared and not rest:
        raise UserError(
            f"icl_pool=remaining: {path} leaves no examples to draw from; prepare more, or take icl_pool=train"
        )
    if shared:
        prompts = prompts_after_shared(questions.queries, rest if others else split.train_examples, size, spec.run_idx)
    else:
        purpose = "other" if others else "fresh"
        prompts = prompts_after_fresh_draws(questions.queries, rest, size, spec.run_idx, purpose)
    if spec.control == "wrong_labels":
        labels = label_answers(source.spec)
        lists = {prompt.demonstrations for prompt in prompts}
        wrong = {demos: with_wrong_answers(demos, labels, spec.run_idx) for demos in lists}
        prompts = [dataclasses.replace(prompt, demonstrations=wrong[prompt.demonstrations]) for prompt in prompts]
    return dataclasses.replace(questions, prompts=tuple(prompt.instructed(questions.spec) for prompt in prompts))


def grade(spec: TaskSpec, answers: Sequence[str], responses: Sequence[str]) -> Grades:
    """Parse each response and compare it with the gold one of `answers`; one that cannot be parsed is wrong.

    A response that is right is of the gold label, even where it is written in another way.
    """
    golds, parsed = ([parse(text, spec) for text in texts] for texts in (answers, responses))
    verdicts = [same(ours, gold, spec) for ours, gold in zip(parsed, golds, strict=True)]
    correct = [verdict is True for verdict in verdicts]
    anywhere = [
        right or (gold is not None and contains(text, gold))
        for right, text, gold in zip(correct, responses, golds, strict=True)
    ]
    labels = label_answers(spec)
    gold_labels = [labels.index(answer) for answer in answers] if labels and {*answers} <= {*labels} else []
    given = zip(given_labels(spec, parsed), gold_labels, correct, strict=False)
    given_or_right = [gold if right else label for label, gold, right in given]
    return Grades(parsed, correct, anywhere, gold_labels, given_or_right, verdicts.count(None))


def given_labels(spec: TaskSpec, parsed: Sequence[str | None]) -> list[int]:
    """The index of the label that each parsed response is, NO_LABEL where it is none."""
    indices = {parse(label, spec): index for index, label in reversed(list(enumerate(label_answers(spec))))}
    return [NO_LABEL if answer is None else indices.get(answer, NO_LABEL) for answer in parsed]
