"""The split of one run, drawn from a prepared dataset: data/{dataset}/train, train_fixed and {dataset}-ldr/train."""

import logging
from dataclasses import replace
from pathlib import Path

from ia2 import store
from ia2.errors import UserError
from ia2.prompts.splits import LowDataSplitSpec, SplitSpec, draw_low_data_split, draw_split, split_to_json
from ia2.tasks.pool import load_pool

log = logging.getLogger(__name__)


def path_of(root: Path, dataset: str, draw: SplitSpec | LowDataSplitSpec) -> Path:
    """The file of the split of a draw."""
    if isinstance(draw, LowDataSplitSpec):
        return store.low_data_path(root, dataset, draw.sizes, draw.run_idx)
    demos = {"unique": "", "fixed": "fixed", "shuffled": f"shuffled_{draw.num_shuffles}"}[draw.demo_type]
    return store.split_path(root, dataset, draw.num_train_examples, draw.run_idx, demos)


def create(root: Path, dataset: str, draw: SplitSpec | LowDataSplitSpec, overwrite: bool = False) -> Path:
    """Write the split, unless it exists with the same settings; UserError where it exists with others."""
    if isinstance(draw, SplitSpec) and draw.num_train_examples < 2:
        raise UserError(
            f"num_train_examples={draw.num_train_examples}: a teacher's demonstrations are the other training "
            "examples, so at least 2 are needed"
        )
    path = path_of(root, dataset, draw)
    with store.file_lock(path):
        if path.exists() and not overwrite:
            check_draw(path, draw)
            log.info("%s exists", path)
            return path
        pool = load_pool(root, dataset).train
        if not pool:
            raise UserError(f"dataset {dataset!r} is for evaluation only: it has no training examples to draw from")
        split = draw_low_data_split(pool, draw) if isinstance(draw, LowDataSplitSpec) else draw_split(pool, draw)
        store.write_object(path, split_to_json(split, draw))
    log.info("wrote %s: %d rows", path, len(split.train))
    return path


def check_draw(path: Path, draw: SplitSpec | LowDataSplitSpec) -> None:
    """UserError where the split at `path` was drawn with other settings than those that were given.

    Numbers count as far as there are examples: one that was drawn with at most 256 demonstrations of 8 has 8.
    """
    made_with = store.read_part(path, "settings")
    for key, value in draw.settings.items():
        was = made_with.get(key, value)
        if getattr(draw, key) is not None and replace(draw, **{key: was}).settings[key] != value:
            raise UserError(
                f"{path} was drawn with {key}={was}, not {value}; take it without --{key}, or replace it with "
                "`ia2 create --overwrite`"
            )
