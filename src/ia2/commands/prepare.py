"""Rows of a source, sampled, rendered, and written as data/{dataset}/main.json."""

import logging
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from random import Random
from typing import Any

from ia2 import store
from ia2.errors import UserError
from ia2.sources.packages import version_of
from ia2.tasks import task
from ia2.tasks.base import Example, Row, Task
from ia2.tasks.pool import Pool, lengths, load_pool, pool_to_json

log = logging.getLogger(__name__)

SEED = 42


def prepare(root: Path, dataset: str, num_train_samples: int, num_val_samples: int, overwrite: bool = False) -> Path:
    """Write main.json, unless it exists with the same settings; UserError where it exists with others.

    `dataset` is a task's name, or a task file, which also has to be the one that main.json was made from.
    """
    chosen = task(dataset)
    path = store.pool_path(root, chosen.name)
    settings = {"num_train_samples": num_train_samples, "num_val_samples": num_val_samples, "seed": SEED}
    with store.file_lock(path.parent):
        if path.exists() and not overwrite:
            _check_made_from(path, settings, chosen, dataset)
            log.info("%s exists", path)
            return path
        rows = chosen.load()
        pool = render_pool(chosen, rows.train, rows.validation, settings)
        provenance = {**settings, "source": chosen.source, "licence": chosen.licence, **rows.provenance}
        store.write_json(path.with_name("provenance.json"), {name: version_of(name) for name in ("ia2", "datasets")})
        store.write_object(path, pool_to_json(pool, provenance))
    log.info("wrote %s: %d training and %d validation examples", path, len(pool.train), len(pool.validation))
    return path


def leave_out(root: Path, dataset: str, questions: Collection[str]) -> None:
    """Write main.json without the examples of these questions, and their number into its provenance."""
    path = store.pool_path(root, dataset)
    with store.file_lock(path.parent):
        pool, provenance = load_pool(root, dataset), store.read_object(path)["metadata"].get("provenance", {})
        train, validation = (
            tuple(example for example in part if example.question not in questions)
            for part in (pool.train, pool.validation)
        )
        num_before = len(pool.train) + len(pool.validation) + int(provenance.get("rows_left_out", 0))
        left = {"rows_left_out": str(num_before - len(train) - len(validation))}
        store.write_object(path, pool_to_json(Pool(pool.spec, train, validation), provenance | left))


def _check_made_from(path: Path, settings: dict[str, int], chosen: Task, dataset: str) -> None:
    """UserError where `path` was made with other settings, or of a task file that has changed, or whose rows have."""
    made_from: dict[str, Any] = store.read_part(path, "metadata", "provenance")
    for key, value in settings.items():
        if made_from.get(key, value) != value:
            raise UserError(f"{path} was made with {key}={made_from[key]}, not {value}; --overwrite replaces it")
    if chosen.name == dataset:
        return
    remedy = f"`ia2 prepare --datasets {shlex.quote(dataset)} --overwrite`, or of fit --overwrite, makes it again"
    if store.read_part(path, "metadata", "task") != chosen.spec.model_dump():
        raise UserError(f"{path} was made from another version of {dataset}; {remedy}")
    if any(made_from.get(key) != value for key, value in chosen.load().provenance.items()):
        raise UserError(f"{path} was made from other rows than {dataset} names; {remedy}")


def render_pool(chosen: Task, train: Sequence[Row], validation: Sequence[Row], settings: dict[str, int]) -> Pool:
    """A seeded sample of both splits as examples; a question is never in both, and stays in validation.

    Of rows that render to the same question the first is kept: a demonstration must not be its own query.
    """

    def sample(rows: Sequence[Row], size: int, taken: Collection[str]) -> tuple[Example, ...]:
        found: dict[str, Example] = {}
        for index, row in enumerate(rows):
            example = Example(index, chosen.spec.question(row), chosen.spec.answer(row))
            if example.question not in taken:
                found.setdefault(example.question, example)
        order = list(found.values())
        Random(settings["seed"]).shuffle(order)
        return tuple(order[:size])

    queries = sample(validation, settings["num_val_samples"], ())
    questions = {query.question for query in queries}
    return Pool(chosen.spec, sample(train, settings["num_train_samples"], questions), queries)


def add_token_lengths(path: Path, model_id: str) -> None:
    """Write into main.json how long its questions and answers are in a model's tokens, and which model's."""
    from ia2.models.loading import load_tokenizer  # noqa: PLC0415  # torch, which nothing else here needs

    with store.file_lock(path.parent):  # or what another process writes meanwhile would be lost
        pool, data = load_pool(path.parents[2], path.parent.name), store.read_object(path)
        if data["metadata"].get("tokenizer") == model_id:
            return
        tokenizer = load_tokenizer(model_id)
        for part in ("question", "answer"):
            texts = [getattr(example, part) for example in (*pool.train, *pool.validation)]
            counts = [len(ids) for ids in tokenizer(texts, add_special_tokens=False).input_ids] if texts else []
            data["metadata"][f"{part}_tokens"] = lengths(counts)
        data["metadata"]["tokenizer"] = model_id
        store.write_object(path, data)
    log.info("%s: answers have %s tokens (median)", path, data["metadata"]["answer_tokens"]["median"])
