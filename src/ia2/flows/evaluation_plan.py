"""The plan of `ia2 evaluate`: every record requested, and which of them are done. Nothing is written or loaded.

Records of one base model are in a row, so that it is loaded once.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ia2 import store
from ia2.commands.evaluate import EvaluationJob, is_recorded
from ia2.config import AskingConfig, EvaluateConfig
from ia2.errors import UserError
from ia2.flows.data import name_of
from ia2.flows.evaluation_jobs import Jobs
from ia2.flows.selection import OF_BASE_TOO, Selection, fields_of, in_order, select
from ia2.methods import parse_method
from ia2.tasks import task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """Every record requested, the runs that cannot be read, and the datasets as they were given, by their names."""

    jobs: tuple[EvaluationJob, ...]
    unreadable: Mapping[Path, UserError]
    datasets: Mapping[str, str]

    @property
    def missing(self) -> list[EvaluationJob]:
        return [job for job in self.jobs if not job.done]

    @property
    def text(self) -> str:
        """A line on the whole, and one for each kind of model, evaluation set and source of demonstrations."""
        groups: dict[str, list[EvaluationJob]] = {}
        for job in self.jobs:
            groups.setdefault(_title(job), []).append(job)
        done = len(self.jobs) - len(self.missing)
        whole = f"{_records(self.jobs)} asked for, {done} done, {len(self.missing)} to make"
        lines = [f"  {title}: {_counts(jobs)}; {_varied(jobs)}" for title, jobs in groups.items()]
        return "\n".join([whole, *lines, *(f"  cannot be read: {folder}" for folder in self.unreadable)])


VARIED = {
    "num_labels": "N",
    "lr": "lr",
    "run_idx": "run",
    "label_type": "label_type",
    "lora_type": "lora_type",
    "ce_loss_weight": "ce_loss_weight",
    "tokl_top_k": "tokl_top_k",
    "num_generated_tokens": "T",
}
"""Fields of the runs of a group that the plan shows, and their words."""


def _title(job: EvaluationJob) -> str:
    spec, run = job.spec, job.trained.config if job.trained else None
    who = f"{run.training_method} trained on {run.dataset}" if run else "base"
    model = store.short_model_name(spec.model_id)
    return f"{who} ({model}), evaluated on {spec.eval_dataset}, demonstrations from {spec.icl_source_dataset}"


def _counts(jobs: Sequence[EvaluationJob]) -> str:
    done = sum(job.done for job in jobs)
    return _records(jobs) + (f", {done} done" if done else "")


def _records(jobs: Sequence[EvaluationJob]) -> str:
    return f"{len(jobs)} record{'' if len(jobs) == 1 else 's'}"


def _varied(jobs: Sequence[EvaluationJob]) -> str:
    draws = [{"num_labels": job.spec.num_train_examples, "run_idx": job.spec.run_idx} for job in jobs]
    known = [fields_of(job.trained.config) if job.trained else draw for job, draw in zip(jobs, draws, strict=True)]
    values = {word: in_order(one[name] for one in known if name in one) for name, word in VARIED.items()}
    return ", ".join(f"{word} {' '.join(map(str, found))}" for word, found in values.items() if found)


def plan(root: Path, config: EvaluateConfig) -> Plan:
    """The jobs of `config`; UserError where nothing matches, or no evaluation set is named."""
    config, given = by_name(root, config)
    selection = select(root, config)
    wants_runs = config.model_types != ("base",)
    if wants_runs and selection.emptied_by:
        _check_empty(config, selection)
    jobs = list(Jobs(root, config, selection.runs, given).all(wants_runs))
    if not jobs:
        raise UserError(f"--control {config.control} changes what is shown: add base, or --eval_with_icl for the runs")
    models = list(dict.fromkeys(job.spec.model_id for job in jobs))
    jobs.sort(key=lambda job: models.index(job.spec.model_id))
    return Plan(tuple(_checked(root, job) for job in jobs), selection.unreadable if wants_runs else {}, given)


AnyAsking = TypeVar("AnyAsking", bound=AskingConfig)


def by_name(root: Path, config: AnyAsking) -> tuple[AnyAsking, dict[str, str]]:
    """The config with datasets by their names, and how each was given; UserError for methods and datasets unknown."""
    for name in set(config.model_types) - {"base"}:
        parse_method(name)
    given = {name_of(dataset): dataset for dataset in (*config.eval_datasets, *config.icl_source_datasets)}
    for name, dataset in given.items():
        if not store.pool_path(root, name).exists():
            task(dataset)  # refuses what it does not know
    fields = ("trained_datasets", "eval_datasets", "icl_source_datasets")
    return config.model_copy(update={field: tuple(map(name_of, getattr(config, field))) for field in fields}), given


def _check_empty(config: EvaluateConfig, selection: Selection) -> None:
    """UserError where no run matches, but for the base model alone that is evaluated where no method was named."""
    if config.model_types or selection.emptied_by not in OF_BASE_TOO:
        raise UserError(f"{selection.told}{selection.told_unreadable}")
    log.warning("%s: the base model alone is evaluated", selection.told)


def _checked(root: Path, job: EvaluationJob) -> EvaluationJob:
    """The job, done where its record is current."""
    job = dataclasses.replace(job, written=_written(job))
    try:
        return dataclasses.replace(job, done=is_recorded(root, job))
    except UserError as error:
        return dataclasses.replace(job, conflict=error)


def is_made_meanwhile(root: Path, job: EvaluationJob) -> bool:
    """True where another process has made the record since it was planned; to be called with the record locked."""
    return _written(job) != job.written and _checked(root, job).done


def _written(job: EvaluationJob) -> int | None:
    try:
        return job.path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
