"""`ia2 evaluate`: which runs, on which evaluation sets, then one record after another."""

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ia2 import store
from ia2.config import EvaluateConfig, TrainConfig
from ia2.errors import UserError
from ia2.flows.data import ensure_pool, ensure_split, name_of
from ia2.icl.splits import Draw
from ia2.lm.shelf import Models
from ia2.methods import parse_method
from ia2.stages.evaluate import (
    Answering,
    Evaluation,
    evaluate_run,
    is_recorded,
    record_path,
    write_record,
)
from ia2.tasks.pool import load_pool
from ia2.training.trained import Trained, read_trained

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    asked: Evaluation
    trained: Trained | None
    passes: tuple[bool, ...]
    path: Path


def evaluate(config: EvaluateConfig, models: Models | None = None) -> list[Path]:
    """Make every record that `config` asks for and that is not there; returns the paths of all of them."""
    models, root = models or Models(), store.root_of(config)
    config = _with_names(root, config)
    jobs = list(_jobs(root, config))
    missing = [job for job in jobs if not is_recorded(root, job.asked, job.trained, job.passes)]
    log.info("%d records asked for, %d are there", len(jobs), len(jobs) - len(missing))
    for number, job in enumerate(missing, 1):
        lm = models.load(config)
        with store.locked(job.path.with_suffix("")):
            model = Answering(lm, job.trained, config.token_budget)
            record = evaluate_run(root, job.asked, model, job.passes)
            write_record(job.path, record, config.command("evaluate"))
        accuracies = ", ".join(
            f"{key.removesuffix('_accuracy')} {record['metrics'][key]:.1f}%"
            for key in ("without_icl_accuracy", "with_icl_accuracy")
            if key in record["metrics"]
        )
        log.info("[%d/%d] %s: %s", number, len(missing), job.path.stem, accuracies)
    return [job.path for job in jobs]


def _with_names(root: Path, config: EvaluateConfig) -> EvaluateConfig:
    """The config with names in place of task files."""
    prepared = {
        field: tuple(ensure_pool(root, dataset, config.no_prepare) for dataset in getattr(config, field))
        for field in ("eval_datasets", "icl_source_datasets")
    }
    return config.model_copy(update={**prepared, "trained_datasets": tuple(map(name_of, config.trained_datasets))})


def _jobs(root: Path, config: EvaluateConfig) -> Iterator[_Job]:
    names = [name for name in config.model_types if name != "base"]
    for name in names:
        parse_method(name)
    wants_runs = bool(names) or not config.model_types
    runs = select_runs(root, config) if wants_runs else []
    if wants_runs and not runs and config.model_types:
        raise UserError(f"no trained run below {root / 'outputs'} matches {config.command('evaluate')}")
    for trained in runs:
        yield from _adapter_jobs(root, config, trained)
    if "base" in config.model_types or not config.model_types:
        yield from _base_jobs(root, config, runs)


def select_runs(root: Path, config: EvaluateConfig) -> list[Trained]:
    """The runs whose config fields pass every filter that was given; fields are compared, never names."""
    filters = {
        "training_method": tuple(name for name in config.model_types if name != "base"),
        "dataset": config.trained_datasets,
        "num_labels": config.num_examples,
        "lr": config.lrs,
        "run_idx": config.run_indices,
        "lora_type": config.lora_types,
        "model_id": (config.model_id,),
    }
    runs = [read_trained(folder) for folder in store.run_folders(root)]
    for field, accepted in filters.items():
        runs = [run for run in runs if not accepted or getattr(run.config, field) in accepted]
    return [run for run in runs if _label_type_passes(run.config, config)]


def _label_type_passes(run: TrainConfig, config: EvaluateConfig) -> bool:
    """Methods without a label type pass any filter on it."""
    return not config.label_types or run.applicable().get("label_type", config.label_types[0]) in config.label_types


def _adapter_jobs(root: Path, config: EvaluateConfig, trained: Trained) -> Iterator[_Job]:
    run = trained.config
    for eval_dataset in config.eval_datasets or (run.dataset,):
        for source in config.icl_source_datasets or (run.dataset,):
            asked = _evaluation(root, config, eval_dataset, (source, run.num_labels, run.run_idx))
            asked = dataclasses.replace(asked, chat_template=run.chat_template)
            passes = (False, True) if config.eval_with_icl else (False,)
            yield _Job(asked, trained, passes, record_path(root, asked, trained))


def _base_jobs(root: Path, config: EvaluateConfig, runs: list[Trained]) -> Iterator[_Job]:
    datasets = (
        config.eval_datasets or config.trained_datasets or tuple(dict.fromkeys(run.config.dataset for run in runs))
    )
    if not datasets:
        raise UserError("which evaluation set? Give --eval_datasets; no trained run says it")
    for eval_dataset in datasets:
        for source in config.icl_source_datasets or config.trained_datasets or (eval_dataset,):
            for draw in _draws(root, config, source, runs):
                asked = _evaluation(root, config, eval_dataset, (source, *draw))
                yield _Job(asked, None, (False, True), record_path(root, asked, None))


def _draws(root: Path, config: EvaluateConfig, source: str, runs: list[Trained]) -> list[tuple[int, int]]:
    """(N, run) of the demonstrations: as given, else those of the runs evaluated, else every split on disk."""
    ensure_pool(root, source, config.no_prepare)
    if config.num_examples and config.run_indices:
        return [(num, run) for num in config.num_examples for run in config.run_indices]
    of_runs = {(run.config.num_labels, run.config.run_idx) for run in runs if run.config.dataset == source}
    draws = of_runs or set(store.splits_on_disk(root, source))
    chosen = [
        (num, run)
        for num, run in sorted(draws)
        if (not config.num_examples or num in config.num_examples)
        and (not config.run_indices or run in config.run_indices)
    ]
    if not chosen:
        raise UserError(
            f"no split of {source!r} to take demonstrations from; give --num_examples and --run_indices, or create one"
        )
    return chosen


def _evaluation(root: Path, config: EvaluateConfig, eval_dataset: str, source: tuple[str, int, int]) -> Evaluation:
    ensure_pool(root, eval_dataset, config.no_prepare)
    ensure_split(root, source[0], Draw(*source[1:]), config.no_prepare)
    return Evaluation(
        eval_dataset=eval_dataset,
        icl_source_dataset=source[0],
        icl_max_demos=config.icl_max_demos,
        num_train_examples=source[1],
        run_idx=source[2],
        num_generated_tokens_eval=config.num_generated_tokens_eval
        or load_pool(root, eval_dataset).spec.num_generated_tokens,
        model_id=config.model_id,
        torch_dtype=config.torch_dtype,
        icl_pool="remaining" if config.protocol == "published" else config.icl_pool,
        stop=config.stop,
        num_eval_examples=config.num_eval_examples,
        uncertainty_analysis=config.uncertainty_analysis,
        chat_template=config.chat_template,
    )
