"""The split of one run, drawn from a prepared dataset: data/{dataset}/train, data/{dataset}-ldr/train."""

import logging
from pathlib import Path

from ia2 import store
from ia2.errors import UserError
from ia2.icl.ldr import LowDataDraw, draw_low_data_split, low_data_to_json
from ia2.icl.splits import Draw, draw_split, split_to_json
from ia2.tasks.base import Example
from ia2.tasks.pool import load_pool

log = logging.getLogger(__name__)


def create(root: Path, dataset: str, draw: Draw, overwrite: bool = False) -> Path:
    """Write the split, unless it is there with the same settings; UserError where it is there with others."""
    if draw.num_train_examples < 2:
        raise UserError(
            f"num_train_examples={draw.num_train_examples}: a teacher's demonstrations are the other training "
            "examples, so at least 2 are needed"
        )
    path = store.split_path(root, dataset, draw.num_train_examples, draw.run_idx)
    with store.locked(path):
        if path.exists() and not overwrite:
            check_draw(path, draw.max_icl_demos, draw.num_dev_examples)
            log.info("%s is there", path)
            return path
        store.write_json(path, split_to_json(draw_split(_pool(root, dataset), draw), draw))
    log.info("wrote %s", path)
    return path


def create_low_data(root: Path, dataset: str, draw: LowDataDraw, overwrite: bool = False) -> Path:
    """Write the low-data split, as `create` does."""
    path = store.low_data_path(root, dataset, draw.sizes, draw.run_idx)
    with store.locked(path):
        if path.exists() and not overwrite:
            check_draw(path, None, draw.num_dev_examples)
            log.info("%s is there", path)
            return path
        split, labelled = draw_low_data_split(_pool(root, dataset), draw)
        store.write_json(path, low_data_to_json(split, labelled, draw))
    log.info("wrote %s: %d rows", path, len(split.train))
    return path


def _pool(root: Path, dataset: str) -> tuple[Example, ...]:
    pool = load_pool(root, dataset)
    if not pool.train:
        raise UserError(f"dataset {dataset!r} is for evaluation only: it has no training examples to draw from")
    return pool.train


def check_draw(path: Path, max_icl_demos: int | None, num_dev_examples: int | None) -> None:
    """UserError where the split at `path` says it was drawn with other settings than those given."""
    made_with = store.read_object(path).get("settings", {})
    for key, value in {"max_icl_demos": max_icl_demos, "num_dev_examples": num_dev_examples}.items():
        if value is not None and made_with.get(key, value) != value:
            raise UserError(f"{path} was drawn with {key}={made_with[key]}, not {value}; --overwrite replaces it")
