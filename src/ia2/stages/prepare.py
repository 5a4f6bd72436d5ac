"""Rows of a source, sampled, rendered, and written as data/{dataset}/main.json."""

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

from ia2 import store
from ia2.errors import UserError
from ia2.tasks import task
from ia2.tasks.base import Example, Row, Task
from ia2.tasks.pool import Pool, pool_to_json

log = logging.getLogger(__name__)

SEED = 42


def prepare(root: Path, dataset: str, num_train_samples: int, num_val_samples: int, overwrite: bool = False) -> Path:
    """Write main.json, unless it is there with the same settings; UserError where it is there with others."""
    path = store.pool_path(root, dataset)
    settings = {"num_train_samples": num_train_samples, "num_val_samples": num_val_samples, "seed": SEED}
    chosen = task(dataset)
    with store.locked(path.parent):
        if path.exists() and not overwrite:
            _check_settings(path, settings)
            log.info("%s is there", path)
            return path
        rows = chosen.load()
        pool = render_pool(chosen, rows.train, rows.validation, settings)
        provenance = {**settings, "source": chosen.source, "licence": chosen.licence, **rows.provenance}
        store.write_json(path.with_name("provenance.json"), {name: version(name) for name in ("ia2", "datasets")})
        store.write_json(path, pool_to_json(pool, provenance))
    log.info("wrote %s: %d training and %d validation examples", path, len(pool.train), len(pool.validation))
    return path


def _check_settings(path: Path, settings: dict[str, int]) -> None:
    made_with: dict[str, Any] = store.read_object(path).get("metadata", {}).get("provenance", {})
    for key, value in settings.items():
        if made_with.get(key, value) != value:
            raise UserError(f"{path} was made with {key}={made_with[key]}, not {value}; --overwrite replaces it")


def render_pool(chosen: Task, train: Sequence[Row], validation: Sequence[Row], settings: dict[str, int]) -> Pool:
    """A seeded sample of both splits as examples; a training row that asks a validation question is left out."""
    asked = _sample(_render(chosen, validation), settings["num_val_samples"], settings["seed"])
    questions = {example.question for example in asked}
    free = [example for example in _render(chosen, train) if example.question not in questions]
    return Pool(chosen.spec, tuple(_sample(free, settings["num_train_samples"], settings["seed"])), tuple(asked))


def _render(chosen: Task, rows: Sequence[Row]) -> list[Example]:
    return [Example(index, chosen.spec.question(row), chosen.spec.answer(row)) for index, row in enumerate(rows)]


def _sample(examples: Sequence[Example], size: int, seed: int) -> list[Example]:
    order = list(examples)
    Random(seed).shuffle(order)
    return order[:size]
