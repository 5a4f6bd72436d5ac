"""One record: what a model, base or adapted, answers to an evaluation set with and without demonstrations.

The parquet of examples is written first and the JSON last, so a record that can be found is whole.
"""

import dataclasses
import logging
import resource
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ia2 import store
from ia2.config import Control
from ia2.evaluation.answer_table import answer_table
from ia2.evaluation.answering import Answers, Asking, answer
from ia2.evaluation.evaluation_set import (
    DemonstrationSpec,
    EvaluationSet,
    EvaluationSpec,
    Grades,
    grade,
    read_evaluation_set,
    with_demonstrations,
)
from ia2.evaluation.metrics import CONDITIONS, Labels, ScoredExamples, majority_class_accuracy, record_metrics
from ia2.models.adapters import saved_adapter
from ia2.models.hooked_model import HookedModel, Model
from ia2.models.loading import LanguageModel, parts_on_disk
from ia2.report.reading import why_stale, write_measured
from ia2.report.results import SCHEMA, Record, read_record
from ia2.training.trained_run import TrainedRun

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation(EvaluationSpec):
    """What is asked of a model: the `eval` part of a record."""

    uncertainty_analysis: bool = False
    control: Control = "none"

    not_in_name: ClassVar[frozenset[str]] = frozenset({"uncertainty_analysis"})

    @property
    def demonstrations(self) -> DemonstrationSpec:
        """Demonstrations that the few-shot condition shows."""
        return dataclasses.replace(super().demonstrations, control=self.control)

    def asking(self, token_budget: int | None) -> Asking:
        """Settings with which a condition puts its questions."""
        return Asking(
            num_generated_tokens=self.num_generated_tokens_eval,
            stop=self.stop,
            chat_template=self.chat_template,
            token_budget=token_budget,
            every_token=self.uncertainty_analysis,
        )


# Where a record lies


def record_path(root: Path, asked: Evaluation, trained: TrainedRun | None) -> Path:
    """{run name or model_N_run}__{eval}_on_{source}_demos{k}_T{T}.json, in the folder of its method and dataset.

    Where a record stands that was asked for with another k and shows the same, its own: there is one.
    """
    name = store.safe_filename(f"{trained.folder.name if trained else asked.base_name}__{asked.name}")
    method, dataset = (trained.config.training_method, trained.config.dataset) if trained else ("base", None)
    folder = store.evaluations_folder(root, method, dataset, asked.uncertainty_analysis)
    return asked.existing_path(folder / f"{name}.json")


def is_recorded(root: Path, asked: Evaluation, trained: TrainedRun | None, conditions: Sequence[bool]) -> bool:
    """Whether the record has these conditions, of the run, evaluation set, split and base model as they are now.

    A record that is damaged, or rests on what has changed since, is made again. UserError where the record of something
    else has the name, since two models can be called the same.
    """
    path = record_path(root, asked, trained)
    if not path.exists():
        return False

    def digests(content: dict[str, Any]) -> dict[str, str | None]:
        found = _rests_on(root, asked, trained)
        if content.get("split_sha256", "") is None:  # nothing was shown, so the split has no part in it
            del found["split_sha256"]
        return found

    found = read_record(path)
    if reason := why_stale(path, found, digests, asked.model_id, parts_on_disk):
        log.warning("%s is made again: %s", path, reason)
        return False
    return isinstance(found, Record) and all(f"{CONDITIONS[one]}_accuracy" in found.metrics for one in conditions)


def _rests_on(root: Path, asked: Evaluation, trained: TrainedRun | None) -> dict[str, str | None]:
    """sha256 of the files that decide a record; None for one that is not there, or has no part in it."""
    adapter = None if trained is None else trained.folder / "adapter_model.safetensors"
    files = {
        "adapter_sha256": adapter,
        "eval_sha256": store.pool_path(root, asked.eval_dataset),
        "split_sha256": asked.split_path(root),
    }
    return {name: store.file_digest(file) if file and file.exists() else None for name, file in files.items()}


# Making one


@dataclass(frozen=True)
class Answering:
    """Who answers: a base model, with the adapter of a run or without; and the padded tokens of one batch at most."""

    lm: LanguageModel
    trained: TrainedRun | None
    token_budget: int | None = None


def evaluate_run(root: Path, asked: Evaluation, model: Answering, conditions: Sequence[bool]) -> dict[str, Any]:
    """The record (without its command) of one model on one evaluation set, and its examples under `examples`.

    `conditions`: False for zero-shot, True for few-shot. UserError where the adapter belongs to another base model.
    """
    lm, trained = model.lm, model.trained
    if trained is not None:
        trained.check_base(lm)
    bare = read_evaluation_set(root, asked.eval_dataset, asked.num_eval_examples)
    questions = {
        with_icl: with_demonstrations(root, bare, asked.demonstrations) if with_icl else bare for with_icl in conditions
    }
    rests_on, how = _rests_on(root, asked, trained), asked.asking(model.token_budget)
    attached: AbstractContextManager[Model] = (
        nullcontext(lm.model) if trained is None else saved_adapter(lm.model, trained.folder)
    )
    with attached as attached_model:
        hooked = HookedModel(attached_model)
        answers = {CONDITIONS[with_icl]: answer(hooked, lm, asks, how) for with_icl, asks in questions.items()}
    made = {name: _Condition(bare, grade(bare, said.responses), said) for name, said in answers.items()}
    if True not in conditions:
        rests_on["split_sha256"] = None
    described = {**_described(asked, trained, conditions), "base": lm.description}
    return {**described, **_outcome(made, asked), **rests_on}


@dataclass(frozen=True)
class _Condition:
    """The evaluation set under one condition, its responses read."""

    questions: EvaluationSet
    marks: Grades
    answers: Answers

    def scored(self, num_generated_tokens: int) -> ScoredExamples:
        """Examples as `condition_metrics` takes them."""
        labels, tokens, gold = self.answers.labels, self.answers.tokens, self.questions.gold_labels
        return ScoredExamples(
            correct=self.marks.correct,
            anywhere=self.marks.anywhere,
            parsed=self.marks.parsed,
            first=self.answers.first,
            labels=None if labels is None else Labels(labels.log_probabilities, gold, self.marks.labels),
            responses=tokens.responses if tokens and num_generated_tokens > 1 else None,
        )


def _described(asked: Evaluation, trained: TrainedRun | None, conditions: Sequence[bool]) -> dict[str, Any]:
    """Who was asked what."""
    shown = {"train": min(asked.num_shown, asked.num_train_examples) if True in conditions else 0, "dev": 0}
    return {
        "schema": SCHEMA,
        "kind": "base" if trained is None else "adapter",
        "eval": dataclasses.asdict(asked),
        "run": None if trained is None else trained.description["config"],
        "train": None if trained is None else _training(trained.folder),
        "labels_used": trained.labels_used if trained else shown,
    }


def _training(folder: Path) -> dict[str, Any]:
    statistics = store.read_object(folder / "final_loss_statistics.json")
    keys = ("best_dev_loss", "final_dev_loss", "best_step", "num_steps", "seconds", "trainable_parameters")
    whole = {key: statistics[key] for key in (*keys, "adapter_bytes")}
    if phases := statistics.get("phases"):  # a run may be older than they are, and than its dev losses
        whole["seconds"] = sum(phase["seconds"] for phase in phases.values())
    return {**whole, "dev_losses": statistics.get("dev_losses")}


def _outcome(made: Mapping[str, _Condition], asked: Evaluation) -> dict[str, Any]:
    """Results of the conditions, by their names."""
    scored = {name: each.scored(asked.num_generated_tokens_eval) for name, each in made.items()}
    one = next(iter(made.values()))
    tables = [
        answer_table(each.questions, each.marks, each.answers).assign(with_icl=name == CONDITIONS[True])
        for name, each in made.items()
    ]
    return {
        "num_examples": len(one.questions.prompts),
        "label_scores": one.answers.labels.rule if one.answers.labels else None,
        **record_metrics(scored, list(one.questions.spec.labels), asked.uncertainty_analysis),
        "undecided": {name: each.marks.num_undecided for name, each in made.items()},
        "majority_class_accuracy": majority_class_accuracy([query.answer for query in one.questions.queries]),
        "timings": {f"{name}_seconds": round(each.answers.seconds, 3) for name, each in made.items()},
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "examples": pd.concat(tables, ignore_index=True),
    }


def write_record(path: Path, record: dict[str, Any], command: str) -> None:
    """Write the examples and then the record."""
    content = {key: value for key, value in record.items() if key != "examples"} | {"command": command}
    write_measured(path, content, "examples_sha256", lambda rows: record["examples"].to_parquet(rows, index=False))
