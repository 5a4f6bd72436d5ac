"""Data files made where they are missing, so that a first command needs no other before it."""

import logging
from pathlib import Path

from ia2 import store
from ia2.config import CreateConfig, PrepareConfig
from ia2.errors import UserError
from ia2.icl.ldr import LowDataDraw
from ia2.icl.splits import DEFAULT_MAX_ICL_DEMOS, DEFAULT_NUM_DEV_EXAMPLES, Draw
from ia2.stages.create import check_draw, create, create_low_data
from ia2.stages.prepare import prepare

log = logging.getLogger(__name__)


def prepare_all(config: PrepareConfig) -> list[Path]:
    """`ia2 prepare`."""
    root = store.root_of(config)
    return [
        prepare(root, dataset, config.num_train_samples, config.num_val_samples, config.overwrite)
        for dataset in config.datasets
    ]


def create_all(config: CreateConfig) -> list[Path]:
    """`ia2 create`: every dataset, N and run."""
    root = store.root_of(config)
    for dataset in config.datasets:
        ensure_pool(root, dataset)
    if config.ldr_mode:
        draws = [LowDataDraw(config.low_data_sizes, run, config.num_dev_examples) for run in range(config.num_runs)]
        return [create_low_data(root, dataset, draw, config.overwrite) for dataset in config.datasets for draw in draws]
    return [
        create(root, dataset, Draw(num, run, config.max_icl_demos, config.num_dev_examples), config.overwrite)
        for dataset in config.datasets
        for num in config.num_train_examples
        for run in range(config.num_runs)
    ]


def ensure_pool(root: Path, dataset: str, no_prepare: bool = False) -> None:
    """Prepare a dataset at its default size where it is missing; UserError with `no_prepare`."""
    path = store.pool_path(root, dataset)
    if path.exists():
        return
    if no_prepare:
        raise UserError(f"{path} does not exist; `ia2 prepare --datasets {dataset}` makes it")
    sizes = PrepareConfig()
    prepare(root, dataset, sizes.num_train_samples, sizes.num_val_samples)


def ensure_split(
    root: Path, dataset: str, draw: tuple[int, int], given: tuple[int | None, int | None], no_prepare: bool = False
) -> None:
    """Draw the split of (N, run) where it is missing; UserError with `no_prepare`.

    `given` are max_icl_demos and num_dev_examples where the user gave them: a split that is there must agree.
    """
    ensure_pool(root, dataset, no_prepare)
    path = store.split_path(root, dataset, *draw)
    if path.exists():
        check_draw(path, *given)
        return
    if no_prepare:
        raise UserError(f"{path} does not exist; `ia2 create --datasets {dataset}` makes it")
    demos, dev = given
    create(root, dataset, Draw(*draw, demos or DEFAULT_MAX_ICL_DEMOS, DEFAULT_NUM_DEV_EXAMPLES if dev is None else dev))


def ensure_low_data_split(
    root: Path, dataset: str, draw: LowDataDraw, num_dev_given: int | None = None, no_prepare: bool = False
) -> None:
    """Draw the low-data split where it is missing; UserError with `no_prepare`.

    `num_dev_given` is num_dev_examples where the user gave it: a split that is there must agree.
    """
    ensure_pool(root, dataset, no_prepare)
    path = store.low_data_path(root, dataset, draw.sizes, draw.run_idx)
    if path.exists():
        check_draw(path, None, num_dev_given)
        return
    if no_prepare:
        raise UserError(f"{path} does not exist; `ia2 create --datasets {dataset} --ldr_mode` makes it")
    create_low_data(root, dataset, draw)
