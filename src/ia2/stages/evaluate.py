"""One record: what a model, base or adapted, answers to an evaluation set with and without demonstrations.

The parquet of examples is written first and the JSON last, so a record that can be found is whole.
"""

import dataclasses
import logging
import resource
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ia2 import store
from ia2.config import StopRule
from ia2.errors import UserError
from ia2.icl.prompts import Episode, evaluation_episodes, fresh_episodes
from ia2.icl.splits import load_split
from ia2.lm.adapters import saved_adapter
from ia2.lm.decoding import Decoding, decode
from ia2.lm.forward import Model, Reader, reading
from ia2.lm.label_scores import LabelScores, score_labels
from ia2.lm.loading import LanguageModel
from ia2.lm.scoring import FirstTokenScores
from ia2.measure.accuracy import accuracy, label_accuracy, majority_class_accuracy, parse_rate
from ia2.measure.calibration import (
    brier,
    ece_equal_count,
    ece_equal_width,
    ece_floor,
    ece_published,
    nll,
    reliability_bins,
)
from ia2.tasks.answers import contains, parse, same
from ia2.tasks.base import Example, TaskSpec
from ia2.tasks.pool import load_pool
from ia2.training.trained import Trained

log = logging.getLogger(__name__)

SCHEMA = 1
ENDED = 2
"""A number of tokens (T) above 1, with which the ids of an answer hold what ends it."""


@dataclass(frozen=True)
class Evaluation:
    """What is asked of a model: the `eval` part of a record."""

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
    uncertainty_analysis: bool = False
    chat_template: bool = False


# Where a record lies


def record_path(root: Path, asked: Evaluation, trained: Trained | None) -> Path:
    """{run name or model_N_run}__{eval}_on_{source}_demos{k}_T{T}.json, in the folder of its method and dataset."""
    base = f"{store.short_model_name(asked.model_id)}_{asked.num_train_examples}_{asked.run_idx}"
    name = f"{trained.folder.name if trained else base}__{asked.eval_dataset}_on_{asked.icl_source_dataset}"
    name += f"_demos{asked.icl_max_demos}_T{asked.num_generated_tokens_eval}" + store.name_tail(_unusual(asked))
    method, dataset = (trained.config.training_method, trained.config.dataset) if trained else ("base", "")
    return store.evaluations_folder(root, method, dataset, asked.uncertainty_analysis) / f"{name}.json"


def _unusual(asked: Evaluation) -> dict[str, Any]:
    """Settings that no part of the name says and that are not at their default."""
    return {
        field.name: getattr(asked, field.name)
        for field in dataclasses.fields(Evaluation)
        if field.default is not dataclasses.MISSING
        and field.name != "uncertainty_analysis"
        and getattr(asked, field.name) != field.default
    }


def is_recorded(root: Path, asked: Evaluation, trained: Trained | None, passes: Sequence[bool]) -> bool:
    """Whether the record stands with these passes, of the run and the split as they are now; a cut one is redone.

    UserError where the record of something else has the name, since two models can be called the same.
    """
    path = record_path(root, asked, trained)
    if not path.exists() or not path.with_suffix(".parquet").exists():
        return False
    split = store.split_path(root, asked.icl_source_dataset, asked.num_train_examples, asked.run_idx)
    try:
        record = store.read_object(path)
        same = record["adapter_sha256"] == _adapter_digest(trained)
        same = same and record["split_sha256"] in (None, store.file_digest(split))
        whole = same and all(f"{_prefix(with_icl)}_accuracy" in record["metrics"] for with_icl in passes)
        was, given = record["eval"]["model_id"], asked.model_id
    except (UserError, KeyError, TypeError):
        log.warning("%s is damaged and is made again", path)
        return False
    if was != given:
        raise UserError(f"{path} is of model_id={was!r}, not {given!r}; rename one of them, or use another --root")
    return whole


def _adapter_digest(trained: Trained | None) -> str | None:
    return None if trained is None else store.file_digest(trained.folder / "adapter_model.safetensors")


def _prefix(with_icl: bool) -> str:
    return "with_icl" if with_icl else "without_icl"


# Making one


@dataclass(frozen=True)
class Answering:
    """Who answers: a base model, with the adapter of a run or without; and the padded tokens of one batch at most."""

    lm: LanguageModel
    trained: Trained | None
    token_budget: int = 2048


def evaluate_run(root: Path, asked: Evaluation, model: Answering, passes: Sequence[bool]) -> dict[str, Any]:
    """The record (without its command) of one model on one evaluation set, and its examples under `examples`.

    `passes` says which to make: False without demonstrations, True with. UserError where the adapter belongs to
    another base model.
    """
    lm, trained = model.lm, model.trained
    if trained is not None:
        trained.check_base(lm)
    attached: AbstractContextManager[Model] = (
        nullcontext(lm.model) if trained is None else saved_adapter(lm.model, trained.folder)
    )
    questions = _questions(root, asked, passes)
    with attached as attached_model, reading(attached_model) as reader:
        answered = {with_icl: _answer(reader, model, asked, questions[with_icl]) for with_icl in passes}
    return _record(root, asked, trained, answered)


@dataclass(frozen=True)
class _Questions:
    spec: TaskSpec
    episodes: list[Episode]
    title: str

    @property
    def labels(self) -> list[str]:
        """The labels as they follow a cue, in the form of the gold answers."""
        columns = [column for _, column, _, _ in Formatter().parse(self.spec.answer_template) if column]
        return [self.spec.answer(dict.fromkeys(columns, label)) for label in self.spec.labels]

    @property
    def gold_labels(self) -> list[int]:
        """Which of the labels is right, for each query; none for free text, UserError where an answer is no label."""
        labels, golds = self.labels, [episode.query.answer for episode in self.episodes]
        unknown = [gold for gold in golds if labels and gold not in labels]
        if unknown:
            valid = ", ".join(map(repr, labels))
            raise UserError(f"dataset {self.title!r}: the answer {unknown[0]!r} is none of its labels {valid}")
        return [labels.index(gold) for gold in golds] if labels else []


def _questions(root: Path, asked: Evaluation, passes: Sequence[bool]) -> dict[bool, _Questions]:
    pool = load_pool(root, asked.eval_dataset)
    queries = pool.validation[: asked.num_eval_examples]
    if not queries:
        raise UserError(f"dataset {asked.eval_dataset!r} has no evaluation examples")
    bare = [Episode((), query) for query in queries]
    return {
        with_icl: _Questions(
            pool.spec,
            [one.instructed(pool.spec) for one in (_prompted(root, asked, queries) if with_icl else bare)],
            asked.eval_dataset,
        )
        for with_icl in passes
    }


def _prompted(root: Path, asked: Evaluation, queries: Sequence[Example]) -> list[Episode]:
    source = load_pool(root, asked.icl_source_dataset)
    path = store.split_path(root, asked.icl_source_dataset, asked.num_train_examples, asked.run_idx)
    split = load_split(path, source.train)
    if asked.icl_pool == "train":
        return evaluation_episodes(queries, split.train_examples, asked.icl_max_demos, asked.run_idx)
    rest = [source.train[index] for index in split.remaining]
    return fresh_episodes(queries, rest, asked.icl_max_demos, asked.run_idx)


@dataclass(frozen=True)
class _Answered:
    """One pass over the evaluation set."""

    examples: pd.DataFrame
    scores: FirstTokenScores
    labels: LabelScores | None  # None for free text
    gold_labels: list[int]
    seconds: float


def _answer(reader: Reader, model: Answering, asked: Evaluation, questions: _Questions) -> _Answered:
    started, lm, gold_labels = time.perf_counter(), model.lm, questions.gold_labels
    encoder, queries = lm.encoder(asked.chat_template), [episode.query for episode in questions.episodes]
    prompts = [encoder.prompt(episode) for episode in questions.episodes]
    rule: StopRule = "eos" if asked.stop == "eos" else "separator"
    labels = [encoder.answer(label, ENDED, rule) for label in questions.labels]
    scores = FirstTokenScores(
        gold=[encoder.answer_ids(query.answer)[0] for query in queries], labels=[label[0] for label in labels]
    )
    with tqdm(total=len(prompts), desc=questions.title, unit="query", leave=False, disable=None) as bar:
        how = Decoding(asked.num_generated_tokens_eval, lm.stopper(rule), model.token_budget, bar.update)
        responses = [encoder.text(ids) for ids in decode(reader, prompts, how, scores)]
    by_label = score_labels(reader, prompts, labels, scores, model.token_budget) if labels else None
    seconds = time.perf_counter() - started
    return _Answered(_table(queries, responses, questions.spec, scores), scores, by_label, gold_labels, seconds)


def _table(
    queries: Sequence[Example], responses: Sequence[str], spec: TaskSpec, scores: FirstTokenScores
) -> pd.DataFrame:
    golds = [parse(query.answer, spec) for query in queries]
    parsed = [parse(response, spec) for response in responses]
    correct = [same(ours, gold, spec) for ours, gold in zip(parsed, golds, strict=True)]
    anywhere = [
        right or (gold is not None and contains(text, gold))
        for right, text, gold in zip(correct, responses, golds, strict=True)
    ]
    return pd.DataFrame(
        {
            "idx": [query.idx for query in queries],
            "question": [query.question for query in queries],
            "gold": [query.answer for query in queries],
            "response": responses,
            "parsed": parsed,
            "correct": correct,
            "anywhere_correct": anywhere,
            "confidence": scores.confidence,
            "first_token_correct": scores.correct,
            "gold_log_prob": scores.gold_log_probability,
            "entropy": scores.entropy,
        }
    )


def _record(root: Path, asked: Evaluation, trained: Trained | None, answered: dict[bool, _Answered]) -> dict[str, Any]:
    named = {_prefix(with_icl): answers for with_icl, answers in answered.items()}
    metrics = {f"{prefix}_{key}": value for prefix, one in named.items() for key, value in _metrics(one, asked).items()}
    if len(answered) == 2:
        metrics["accuracy_delta"] = metrics["with_icl_accuracy"] - metrics["without_icl_accuracy"]
    first = next(iter(answered.values()))
    source = store.split_path(root, asked.icl_source_dataset, asked.num_train_examples, asked.run_idx)
    return {
        "schema": SCHEMA,
        "kind": "base" if trained is None else "adapter",
        "eval": dataclasses.asdict(asked),
        "run": None if trained is None else trained.description["config"],
        "train": None if trained is None else _training(trained.folder),
        "labels_used": trained.labels_used if trained else _shown(asked, answered),
        "num_examples": len(first.examples),
        "label_scores": None if first.labels is None else first.labels.rule,
        "metrics": metrics,
        "reliability": {
            prefix: [
                dataclasses.asdict(one) for one in reliability_bins(answers.scores.confidence, answers.scores.correct)
            ]
            for prefix, answers in named.items()
        },
        "majority_class_accuracy": majority_class_accuracy(first.examples["gold"].tolist()),
        "ece_floor": {prefix: ece_floor(answers.scores.confidence) for prefix, answers in named.items()},
        "timings": {f"{prefix}_seconds": round(answers.seconds, 3) for prefix, answers in named.items()},
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "adapter_sha256": _adapter_digest(trained),
        "split_sha256": store.file_digest(source) if True in answered else None,
        "examples": pd.concat(
            [answers.examples.assign(with_icl=with_icl) for with_icl, answers in answered.items()], ignore_index=True
        ),
    }


def _shown(asked: Evaluation, answered: dict[bool, _Answered]) -> dict[str, int]:
    return {"train": min(asked.icl_max_demos, asked.num_train_examples) if True in answered else 0, "dev": 0}


def _training(folder: Path) -> dict[str, Any]:
    statistics = store.read_json(folder / "final_loss_statistics.json")
    keys = ("best_dev_loss", "final_dev_loss", "best_step", "num_steps", "seconds", "trainable_parameters")
    return {key: statistics[key] for key in (*keys, "adapter_bytes")}


def _metrics(answered: _Answered, asked: Evaluation) -> dict[str, float]:
    examples, scores = answered.examples, answered.scores
    metrics = {
        "accuracy": accuracy(examples["correct"]),
        "parse_rate": parse_rate(examples["parsed"].tolist()),
        "first_token_accuracy": accuracy(scores.correct),
        "nll": nll(scores.gold_log_probability),
        "brier": brier(np.exp(scores.gold_log_probability), scores.sum_of_squares),
        "ece_equal_count": ece_equal_count(scores.confidence, scores.correct),
        "ece_equal_width": ece_equal_width(scores.confidence, scores.correct),
        "ece_published": ece_published(scores.top_confidence, scores.correct),
    }
    if answered.labels is not None:
        metrics |= _label_metrics(answered.labels, answered.gold_labels)
    else:
        metrics["anywhere_accuracy"] = accuracy(examples["anywhere_correct"])
    if asked.uncertainty_analysis:
        metrics |= {"entropy": float(scores.entropy.mean()), "uncertainty": float(1 - scores.confidence.mean())}
    return metrics


def _label_metrics(labels: LabelScores, gold_labels: Sequence[int]) -> dict[str, float]:
    """Over the label set alone: the labels' probabilities renormalised to sum to one."""
    logs, gold = labels.log_probabilities, np.array(gold_labels)
    shares = np.exp(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True))
    predicted = shares.argmax(axis=1)
    confidence = shares[np.arange(len(shares)), predicted]
    return {
        "label_accuracy": label_accuracy(shares, gold),
        "label_ece_equal_count": ece_equal_count(confidence, predicted == gold),
        "label_ece_equal_width": ece_equal_width(confidence, predicted == gold),
    }


def write_record(path: Path, record: dict[str, Any], command: str) -> None:
    """Write the examples and then the record."""
    examples: pd.DataFrame = record["examples"]
    with store.writing(path.with_suffix(".parquet")) as temporary:
        examples.to_parquet(temporary, index=False)
    store.write_json(path, {**{key: value for key, value in record.items() if key != "examples"}, "command": command})
