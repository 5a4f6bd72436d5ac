"""What an evaluation asks, read from the store, and how responses to it are marked.

Whatever is wrong with the data (no examples, an answer that is no label, too few demonstrations) is found here, before
a model has worked for it.
"""

import re
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import ClassVar, Literal

from ia2 import store
from ia2.config import Control, StopRule
from ia2.errors import UserError
from ia2.prompts.controls import with_wrong_answers
from ia2.prompts.prompt import Prompt, prompts_after_fresh_draws, prompts_after_shared
from ia2.prompts.splits import load_split
from ia2.tasks.answers import contains, parse, same
from ia2.tasks.base import Example, TaskSpec
from ia2.tasks.pool import Pool, load_pool

FEWEST_EXAMPLES = 2
"""A split of fewer cannot be created; a run of the low-data regime may have fewer labels."""

NO_LABEL = -1
"""In place of a label's index: the response is none of the labels."""


@dataclass(frozen=True)
class EvaluationSet:
    """n queries of one dataset, each with what stands before it.

    `labels` are those of a closed set as they follow a cue, in the form of the gold answers, and `gold_labels` say
    which is right for each query; both are empty for free text.
    """

    dataset: str
    spec: TaskSpec
    prompts: tuple[Prompt, ...]
    labels: tuple[str, ...]
    gold_labels: tuple[int, ...]

    @property
    def queries(self) -> list[Example]:
        return [prompt.query for prompt in self.prompts]


@dataclass(frozen=True)
class DemonstrationSpec:
    """Where the demonstrations before a query come from: at most `most` of those of the split of (N, run).

    The control `other_demonstrations` shows as many that were drawn anew, from what the split leaves.
    """

    dataset: str
    num_train_examples: int
    run_idx: int
    most: int
    pool: str
    control: Control | Literal["other_demonstrations"]


@dataclass(frozen=True)
class EvaluationSpec:
    """What a model is asked, what may be shown before it, and how its responses end."""

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

    not_in_name: ClassVar[frozenset[str]] = frozenset()
    """Fields that no name needs to say."""

    @property
    def num_shown(self) -> int:
        """Demonstrations before a query: of a run's own N never more than all."""
        return min(self.icl_max_demos, self.num_train_examples) if self.icl_pool == "train" else self.icl_max_demos

    @property
    def name(self) -> str:
        """{eval}_on_{source}_demos{k}_T{T}, and a tail for every other setting that is not at its default."""
        told = f"{self.eval_dataset}_on_{self.icl_source_dataset}_demos{self.icl_max_demos}"
        unusual = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.default is not MISSING
            and field.name not in self.not_in_name
            and getattr(self, field.name) != field.default
        }
        return f"{told}_T{self.num_generated_tokens_eval}{store.name_tail(unusual)}"

    @property
    def base_name(self) -> str:
        """{model}_{N}_{run}: what takes the place of a run's name where no run is meant."""
        return f"{store.short_model_name(self.model_id)}_{self.num_train_examples}_{self.run_idx}"

    @property
    def demonstrations(self) -> DemonstrationSpec:
        """What is shown where anything is."""
        return DemonstrationSpec(
            dataset=self.icl_source_dataset,
            num_train_examples=self.num_train_examples,
            run_idx=self.run_idx,
            most=self.num_shown,
            pool=self.icl_pool,
            control="none",
        )

    def split_path(self, root: Path) -> Path:
        """The split that demonstrations come from."""
        return store.split_path(root, self.icl_source_dataset, self.num_train_examples, self.run_idx)

    def existing_path(self, path: Path) -> Path:
        """`path`, whose name has `name` in it, or one beside it that was asked for with another number and shows the
        same: all N demonstrations."""
        head, found, tail = path.name.rpartition(f"_demos{self.icl_max_demos}_T")
        if path.exists() or not found or self.icl_pool != "train" or self.icl_max_demos < self.num_train_examples:
            return path
        named = re.compile(rf"{re.escape(head)}_demos(\d+)_T{re.escape(tail)}")
        others = [(match, other) for other in path.parent.glob("*") if (match := named.fullmatch(other.name))]
        return min((other for match, other in others if int(match[1]) >= self.num_train_examples), default=path)


def read_evaluation_set(root: Path, dataset: str, most: int | None) -> EvaluationSet:
    """The first `most` (None: all) evaluation examples of a dataset, with nothing before them.

    UserError where there are none, or where an answer is none of the task's labels.
    """
    pool = load_pool(root, dataset)
    queries = pool.validation[:most]
    if not queries:
        raise UserError(f"dataset {dataset!r} has no evaluation examples")
    labels = label_answers(pool.spec)
    bare = tuple(Prompt((), query).instructed(pool.spec) for query in queries)
    return EvaluationSet(dataset, pool.spec, bare, labels, _gold_labels(dataset, queries, labels))


def label_answers(spec: TaskSpec) -> tuple[str, ...]:
    """The labels of a task as they follow a cue; none for free text."""
    return tuple(spec.answer(dict.fromkeys(spec.answer_fields, label)) for label in spec.labels)


def _gold_labels(dataset: str, queries: Sequence[Example], labels: Sequence[str]) -> tuple[int, ...]:
    unknown = [query.answer for query in queries if labels and query.answer not in labels]
    if unknown:
        valid = ", ".join(map(repr, labels))
        raise UserError(f"dataset {dataset!r}: the answer {unknown[0]!r} is none of its labels {valid}")
    return tuple(labels.index(query.answer) for query in queries) if labels else ()


def with_demonstrations(root: Path, questions: EvaluationSet, shown: DemonstrationSpec) -> EvaluationSet:
    """The same queries, each after its demonstrations; UserError where their split is missing or damaged."""
    source = load_pool(root, shown.dataset)
    prompts = _prompted(root, questions.queries, source, shown)
    if shown.control == "wrong_labels":
        labels = label_answers(source.spec)
        lists = {prompt.demonstrations for prompt in prompts}
        wrong = {demos: with_wrong_answers(demos, labels, shown.run_idx) for demos in lists}
        prompts = [replace(prompt, demonstrations=wrong[prompt.demonstrations]) for prompt in prompts]
    return replace(questions, prompts=tuple(prompt.instructed(questions.spec) for prompt in prompts))


def _prompted(root: Path, queries: Sequence[Example], source: Pool, shown: DemonstrationSpec) -> list[Prompt]:
    path = store.split_path(root, shown.dataset, shown.num_train_examples, shown.run_idx)
    if shown.num_train_examples < FEWEST_EXAMPLES:
        raise UserError(
            f"demonstrations come from a split of at least {FEWEST_EXAMPLES} training examples, and this run has "
            f"{shown.num_train_examples}: evaluate it without demonstrations, or take those of a larger N"
        )
    split = load_split(path, source.train)
    rest = [source.train[index] for index in split.remaining]
    if shown.control == "other_demonstrations":
        return _prompts_after_others(queries, rest, split.train_examples, shown)
    if shown.pool == "train":
        return prompts_after_shared(queries, split.train_examples, shown.most, shown.run_idx)
    if not rest:
        raise UserError(
            f"icl_pool=remaining: {path} leaves no examples to draw from; prepare more, or take icl_pool=train"
        )
    return prompts_after_fresh_draws(queries, rest, shown.most, shown.run_idx)


def _prompts_after_others(
    queries: Sequence[Example], rest: Sequence[Example], own: Sequence[Example], shown: DemonstrationSpec
) -> list[Prompt]:
    """As many demonstrations as otherwise, drawn anew from `rest`: one list for all queries, or one for each."""
    size = min(shown.most, len(own if shown.pool == "train" else rest))
    if len(rest) < size or not size:
        raise UserError(
            f"{len(rest)} examples of {shown.dataset!r} are neither training nor dev examples, {size or 1} are needed "
            "to show other demonstrations; prepare more, or lower --icl_max_demos"
        )
    if shown.pool == "train":
        return prompts_after_shared(queries, rest, size, shown.run_idx)
    return prompts_after_fresh_draws(queries, rest, size, shown.run_idx, purpose="other")


@dataclass(frozen=True)
class Grades:
    """What n responses come to. `labels` [n] are indices of the labels given, NO_LABEL for none; empty for free text.

    `anywhere` is the lenient counterpart of `correct`: the gold answer stands somewhere in the response.
    `num_undecided` answers could not be compared in time; they are not correct.
    """

    parsed: list[str | None]
    correct: list[bool]
    anywhere: list[bool]
    labels: list[int]
    num_undecided: int = 0


def grade(questions: EvaluationSet, responses: Sequence[str]) -> Grades:
    """Read and judge the response to each query; one that cannot be read is wrong."""
    spec = questions.spec
    golds = [parse(query.answer, spec) for query in questions.queries]
    parsed = [parse(response, spec) for response in responses]
    verdicts = [same(ours, gold, spec) for ours, gold in zip(parsed, golds, strict=True)]
    correct = [verdict is True for verdict in verdicts]
    anywhere = [
        right or (gold is not None and contains(text, gold))
        for right, text, gold in zip(correct, responses, golds, strict=True)
    ]
    labels = [
        gold if right else label
        for label, right, gold in zip(given_labels(spec, parsed), correct, questions.gold_labels, strict=False)
    ]
    return Grades(parsed, correct, anywhere, labels, verdicts.count(None))


def given_labels(spec: TaskSpec, parsed: Sequence[str | None]) -> list[int]:
    """The index of the label that each parsed response is, NO_LABEL where it is none."""
    indices = {parse(label, spec): index for index, label in reversed(list(enumerate(label_answers(spec))))}
    return [NO_LABEL if answer is None else indices.get(answer, NO_LABEL) for answer in parsed]
