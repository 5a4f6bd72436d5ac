"""`ia2 prepare` and `ia2 create`: pools of examples (data/{dataset}/main.json) and splits of runs drawn from them.

Other commands make what they need of both where it is missing, so that a first command needs no other before it.
"""

import logging
import multiprocessing
import os
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from random import Random
from typing import Any

from tqdm import tqdm

from ia2 import store
from ia2.config import CreateConfig, PrepareConfig
from ia2.errors import UserError
from ia2.prompts.splits import LowDataSplitSpec, SplitSpec, draw_low_data_split, draw_split, split_to_json
from ia2.sources.packages import version_of
from ia2.tasks import TASK_FILE_TYPES, task
from ia2.tasks.names import dataset_name
from ia2.tasks.pool import ExamplePool, lengths, load_pool, pool_to_json
from ia2.tasks.task_spec import Example, Row, Task

log = logging.getLogger(__name__)

SEED = 42
FEWEST_FOR_PROCESSES = 16
"""Files to draw below which starting processes costs more than it saves."""


def _check_settings(
    path: Path,
    settings: Mapping[str, object],
    made_with: Mapping[str, object],
    remedy: str,
    means_now: Callable[[str, Any], object] = lambda _key, was: was,
) -> None:
    """UserError where `path` was made with other settings; one that it does not name is no difference.

    `means_now` gives the meaning that a stored setting has for this file.
    """
    for key, value in settings.items():
        if key in made_with and means_now(key, made_with[key]) != value:
            raise UserError(f"{path} was made with {key}={made_with[key]}, not {value}; {remedy.format(key=key)}")


# Pools


def prepare_all(config: PrepareConfig) -> list[Path]:
    """`ia2 prepare`: every dataset; returns the paths of their main.json."""
    root, templates = store.resolve_root(config), (config.prompt_template, config.label_template)
    names = [dataset_name(dataset, config.subset, *templates) for dataset in config.datasets]
    paths = [prepare(root, name, config.num_train_samples, config.num_val_samples, config.overwrite) for name in names]
    if config.model_id is not None:
        for path in paths:
            add_token_lengths(path, config.model_id)
    return paths


def prepare(root: Path, dataset: str, num_train_samples: int, num_val_samples: int, overwrite: bool = False) -> Path:
    """Write main.json, unless it exists with the same settings; UserError where it exists with others.

    `dataset` is a task's name, or a task file, which also has to be the one that main.json was made from.
    """
    chosen = task(dataset)
    path = store.pool_path(root, chosen.name)
    settings = {"num_train_samples": num_train_samples, "num_val_samples": num_val_samples, "seed": SEED}
    with store.file_lock(path.parent):
        if path.exists() and not overwrite:
            made_from = store.read_part(path, "metadata", "provenance")
            _check_settings(path, settings, made_from, "--overwrite replaces it")
            if chosen.name != dataset:  # a task file, which may have changed, or its rows
                again = f"`ia2 prepare --datasets {shlex.quote(dataset)} --overwrite`"
                remedy = f"{again}, or of fit --overwrite, makes it again"
                if store.read_part(path, "metadata", "task") != chosen.spec.model_dump():
                    raise UserError(f"{path} was made from another version of {dataset}; {remedy}")
                if any(made_from.get(key) != value for key, value in chosen.load().provenance.items()):
                    raise UserError(f"{path} was made from other rows than {dataset} names; {remedy}")
            log.info("%s exists", path)
            return path
        rows = chosen.load()
        pool = render_pool(chosen, rows.train, rows.validation, settings)
        provenance = {**settings, "source": chosen.source, "licence": chosen.licence, **rows.provenance}
        store.write_json(path.with_name("provenance.json"), {name: version_of(name) for name in ("ia2", "datasets")})
        store.write_object(path, pool_to_json(pool, provenance))
    log.info("wrote %s: %d training and %d validation examples", path, len(pool.train), len(pool.validation))
    return path


def render_pool(chosen: Task, train: Sequence[Row], validation: Sequence[Row], settings: dict[str, int]) -> ExamplePool:
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
    return ExamplePool(chosen.spec, sample(train, settings["num_train_samples"], questions), queries)


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
        store.write_object(path, pool_to_json(ExamplePool(pool.spec, train, validation), provenance | left))


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


# Splits


def create_all(config: CreateConfig) -> list[Path]:
    """`ia2 create`: every dataset, N and run; returns the paths of their splits.

    Where there are many, processes of their own draw them; an interrupted call goes on from what is finished.
    """
    root = store.resolve_root(config)
    wanted = [(ensure_pool(root, dataset), draw) for dataset in config.datasets for draw in _draws(config)]
    missing = sum(not path_of(root, dataset, draw).exists() for dataset, draw in wanted)
    few = (len(wanted) if config.overwrite else missing) < FEWEST_FOR_PROCESSES
    num_workers = config.num_workers or (1 if few else os.cpu_count() or 1)
    if num_workers == 1:
        return [create(root, dataset, draw, config.overwrite) for dataset, draw in wanted]
    datasets, draws = zip(*wanted, strict=True)
    with ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn")) as pool:
        made = pool.map(create, repeat(root), datasets, draws, repeat(config.overwrite))
        paths = list(tqdm(made, total=len(wanted), desc="create", unit="split", leave=False, disable=None))
    log.info("%d splits stand, %d of them new", len(paths), len(paths) if config.overwrite else missing)
    return paths


def _draws(config: CreateConfig) -> list[SplitSpec] | list[LowDataSplitSpec]:
    if config.ldr_mode:
        num_dev = config.num_dev_examples
        return [LowDataSplitSpec(config.low_data_sizes, run, num_dev) for run in range(config.num_runs)]
    return [
        SplitSpec(
            num_train_examples=num,
            run_idx=run,
            max_icl_demos=config.max_icl_demos,
            num_dev_examples=config.num_dev_examples,
            demo_type=config.demo_type,
            num_shuffles=config.num_shuffles if config.shuffle_demos else 1,
            stratified=config.stratified,
        )
        for run in range(config.num_runs)
        for num in config.num_train_examples
    ]


def path_of(root: Path, dataset: str, draw: SplitSpec | LowDataSplitSpec) -> Path:
    """data/{dataset}/train/{N}_{run}.json, beside it train_fixed, and {dataset}-ldr for low data."""
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
            _check_draw(path, draw)
            log.info("%s exists", path)
            return path
        pool = load_pool(root, dataset).train
        if not pool:
            raise UserError(f"dataset {dataset!r} is for evaluation only: it has no training examples to draw from")
        split = draw_low_data_split(pool, draw) if isinstance(draw, LowDataSplitSpec) else draw_split(pool, draw)
        store.write_object(path, split_to_json(split, draw))
    log.info("wrote %s: %d rows", path, len(split.train))
    return path


def _check_draw(path: Path, draw: SplitSpec | LowDataSplitSpec) -> None:
    """UserError where the split at `path` was drawn with other settings than those that were given.

    Numbers count as far as there are examples: one that was drawn with at most 256 demonstrations of 8 has 8.
    """
    given = {key: value for key, value in draw.settings.items() if getattr(draw, key) is not None}
    _check_settings(
        path,
        given,
        store.read_part(path, "settings"),
        "take it without --{key}, or replace it with `ia2 create --overwrite`",
        lambda key, was: replace(draw, **{key: was}).settings[key],
    )


# Made where missing


def name_of(dataset: str) -> str:
    """The name of a dataset; of one that is given as a task file the name in it."""
    return task(dataset).name if dataset.endswith(TASK_FILE_TYPES) else dataset


def ensure_pool(root: Path, dataset: str, no_prepare: bool = False) -> str:
    """Prepare a dataset at its default size where it is missing, and return its name; UserError with `no_prepare`."""
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
        _check_draw(path, draw)
    elif no_prepare:
        more = " --ldr_mode" if isinstance(draw, LowDataSplitSpec) else ""
        raise UserError(f"{path} does not exist; `ia2 create --datasets {shlex.quote(dataset)}{more}` makes it")
    else:
        create(root, dataset, draw)


def ensure_data(
    root: Path, datasets: Iterable[str], splits: Iterable[tuple[str, int, int]], no_prepare: bool = False
) -> None:
    """Every dataset, and every split (dataset, N, run), where missing; UserError with `no_prepare`."""
    for dataset in datasets:
        ensure_pool(root, dataset, no_prepare)
    for source, num, run in sorted(splits):
        ensure_split(root, source, SplitSpec(num, run), no_prepare)
