"""Data files made where they are missing, so that a first command needs no other before it."""

import logging
import multiprocessing
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

from tqdm import tqdm

from ia2 import store
from ia2.commands.create import check_draw, create, path_of
from ia2.commands.prepare import add_token_lengths, prepare
from ia2.config import CreateConfig, PrepareConfig
from ia2.errors import UserError
from ia2.prompts.splits import LowDataSplitSpec, SplitSpec
from ia2.tasks import dataset_name, task
from ia2.tasks.task_files import TASK_FILE_TYPES

log = logging.getLogger(__name__)

FEWEST_FOR_PROCESSES = 16
"""Files to draw below which starting processes costs more than it saves."""


def prepare_all(config: PrepareConfig) -> list[Path]:
    """`ia2 prepare`: every dataset; returns the paths of their main.json."""
    root = store.resolve_root(config)
    names = [
        dataset_name(dataset, config.subset, config.prompt_template, config.label_template)
        for dataset in config.datasets
    ]
    paths = [prepare(root, name, config.num_train_samples, config.num_val_samples, config.overwrite) for name in names]
    if config.model_id is not None:
        for path in paths:
            add_token_lengths(path, config.model_id)
    return paths


def create_all(config: CreateConfig) -> list[Path]:
    """`ia2 create`: every dataset, N and run; returns the paths of their splits."""
    root = store.resolve_root(config)
    wanted = [(ensure_pool(root, dataset), draw) for dataset in config.datasets for draw in _draws(config)]
    missing = sum(not path_of(root, dataset, draw).exists() for dataset, draw in wanted)
    few = (len(wanted) if config.overwrite else missing) < FEWEST_FOR_PROCESSES
    num_workers = config.num_workers or (1 if few else os.cpu_count() or 1)
    if num_workers == 1:
        return [create(root, dataset, draw, config.overwrite) for dataset, draw in wanted]
    paths = _create_in_processes(root, wanted, config.overwrite, num_workers)
    log.info("%d splits stand, %d of them new", len(paths), len(paths) if config.overwrite else missing)
    return paths


def _draws(config: CreateConfig) -> Iterator[SplitSpec | LowDataSplitSpec]:
    for run in range(config.num_runs):
        if config.ldr_mode:
            yield LowDataSplitSpec(config.low_data_sizes, run, config.num_dev_examples)
            continue
        for num in config.num_train_examples:
            yield SplitSpec(
                num_train_examples=num,
                run_idx=run,
                max_icl_demos=config.max_icl_demos,
                num_dev_examples=config.num_dev_examples,
                demo_type=config.demo_type,
                num_shuffles=config.num_shuffles if config.shuffle_demos else 1,
                stratified=config.stratified,
            )


def _create_in_processes(
    root: Path, wanted: Sequence[tuple[str, SplitSpec | LowDataSplitSpec]], overwrite: bool, num_workers: int
) -> list[Path]:
    """Draw the splits in processes of their own. What is finished stands, so an interrupted call goes on from there."""
    context = multiprocessing.get_context("spawn")
    datasets, draws = zip(*wanted, strict=True)
    with ProcessPoolExecutor(num_workers, context) as pool:
        made = pool.map(create, repeat(root), datasets, draws, repeat(overwrite))
        return list(tqdm(made, total=len(wanted), desc="create", unit="split", leave=False, disable=None))


def name_of(dataset: str) -> str:
    """The name of a dataset, which is what a task file says where `dataset` is one."""
    return task(dataset).name if dataset.endswith(TASK_FILE_TYPES) else dataset


def ensure_pool(root: Path, dataset: str, no_prepare: bool = False) -> str:
    """Prepare a dataset at its default size where it is missing; UserError with `no_prepare`.

    Returns the name under which it lies.
    """
    name = name_of(dataset)
    path = store.pool_path(root, name)
    if path.exists() and name == dataset:
        return name
    if no_prepare and not path.exists():
        raise UserError(f"{path} does not exist; `ia2 prepare --datasets {shlex.quote(dataset)}` makes it")
    sizes = PrepareConfig()
    prepare(root, dataset, sizes.num_train_samples, sizes.num_val_samples)
    return name


def ensure_split(root: Path, dataset: str, draw: SplitSpec | LowDataSplitSpec, no_prepare: bool = False) -> None:
    """Draw a split where it is missing; UserError with `no_prepare`, or where it was drawn with other settings."""
    ensure_pool(root, dataset, no_prepare)
    path = path_of(root, dataset, draw)
    if path.exists():
        check_draw(path, draw)
        return
    if no_prepare:
        more = " --ldr_mode" if isinstance(draw, LowDataSplitSpec) else ""
        raise UserError(f"{path} does not exist; `ia2 create --datasets {shlex.quote(dataset)}{more}` makes it")
    create(root, dataset, draw)


def ensure_data(
    root: Path, datasets: Iterable[str], splits: Iterable[tuple[str, int, int]], no_prepare: bool = False
) -> None:
    """Every dataset, and every split (dataset, N, run), where missing; UserError with `no_prepare`."""
    for dataset in datasets:
        ensure_pool(root, dataset, no_prepare)
    for source, num, run in sorted(splits):
        ensure_split(root, source, SplitSpec(num, run), no_prepare)
