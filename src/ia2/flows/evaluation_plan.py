"""The plan of `ia2 evaluate`: every record requested, and which of them are done. Nothing is written or loaded.

Without --model_id each run is evaluated on its own base model, and the base models are those of the runs; the default
model only where there are no runs. Records of one base model are in a row, so that it is loaded once.
"""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

from ia2 import store
from ia2.commands.evaluate import EvaluationJob, is_recorded, record_path
from ia2.config import DEFAULT_MODEL_ID, EvaluateConfig, EvaluationOptions
from ia2.errors import UserError
from ia2.evaluation.evaluation_set import EvaluationSpec
from ia2.flows.data import name_of
from ia2.flows.selection import OF_BASE_TOO, Selection, fields_of, in_order, select
from ia2.methods import parse_method
from ia2.tasks import task
from ia2.tasks.pool import load_pool
from ia2.training.trained_run import TrainedRun

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
    jobs = list(_Jobs(root, config, selection.runs, given).all(wants_runs))
    if not jobs:
        raise UserError(f"--control {config.control} changes what is shown: add base, or --eval_with_icl for the runs")
    models = list(dict.fromkeys(job.spec.model_id for job in jobs))
    jobs.sort(key=lambda job: models.index(job.spec.model_id))
    return Plan(tuple(_checked(root, job) for job in jobs), selection.unreadable if wants_runs else {}, given)


AnyOptions = TypeVar("AnyOptions", bound=EvaluationOptions)


def by_name(root: Path, config: AnyOptions) -> tuple[AnyOptions, dict[str, str]]:
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


class _Jobs:
    """Jobs over runs, datasets and draws. `given` holds the datasets as they were given, by their names."""

    def __init__(
        self, root: Path, config: EvaluateConfig, runs: Sequence[TrainedRun], given: Mapping[str, str]
    ) -> None:
        self.root = root
        self.config = config
        self.runs = runs
        self.given = given
        self._num_tokens: dict[str, int] = {}

    def all(self, wants_runs: bool) -> Iterator[EvaluationJob]:
        """Adapters first. Where the base model alone is requested, datasets and models still follow from the runs."""
        if wants_runs:
            for trained in self.runs:
                yield from self._of_run(trained)
        if "base" in self.config.model_types or not self.config.model_types:
            models = (self.config.model_id,) if self.config.model_id else self._models_of_runs()
            for model_id in models:
                yield from self._of_base(model_id, wants_runs)

    def _models_of_runs(self) -> list[str]:
        return list(dict.fromkeys(run.config.model_id for run in self.runs)) or [DEFAULT_MODEL_ID]

    def _of_run(self, trained: TrainedRun) -> Iterator[EvaluationJob]:
        run, conditions = trained.config, (False, True) if self.config.eval_with_icl else (False,)
        if self.config.control != "none" and True not in conditions:
            return  # nothing is shown that could be wrong: it would be the ordinary record under another name
        for eval_dataset, source in self._pairs(run.dataset):
            spec = self._spec(eval_dataset, source, (run.num_labels, run.run_idx), run.model_id)
            spec = dataclasses.replace(spec, chat_template=run.chat_template)
            yield EvaluationJob(spec, trained, record_path(self.root, spec, trained), conditions)

    def _of_base(self, model_id: str, wants_runs: bool) -> Iterator[EvaluationJob]:
        runs = [run for run in self.runs if run.config.model_id == model_id]
        for eval_dataset, source in self._pairs_of_base(runs if wants_runs or not self.config.eval_datasets else []):
            for draw in self._draws(source, runs if wants_runs else []):
                spec = self._spec(eval_dataset, source, draw, model_id)
                yield EvaluationJob(spec, None, record_path(self.root, spec, None))

    def _pairs(self, trained_dataset: str) -> Iterator[tuple[str, str]]:
        """Evaluation set and source of demonstrations, both by default what was trained on."""
        evaluated = self.config.eval_datasets or (trained_dataset,)
        yield from product(evaluated, self.config.icl_source_datasets or (trained_dataset,))

    def _pairs_of_base(self, runs: Sequence[TrainedRun]) -> list[tuple[str, str]]:
        """The same as of the runs beside it, so that they can be compared; without runs, each set shows its own."""
        config, of_runs = self.config, tuple(run.config.dataset for run in runs)
        pairs = [pair for dataset in config.trained_datasets or of_runs for pair in self._pairs(dataset)]
        if not config.trained_datasets and not of_runs:
            pairs = [(one, source) for one in config.eval_datasets for source in config.icl_source_datasets or (one,)]
        if not pairs:
            raise UserError("which evaluation set? Give --eval_datasets; no trained run says it")
        return list(dict.fromkeys(pairs))

    def _draws(self, source: str, runs: Sequence[TrainedRun]) -> list[tuple[int, int]]:
        """(N, run) of the demonstrations: as given, else those of the runs evaluated, else every split on disk."""
        config = self.config
        if config.num_examples and config.run_indices:
            return list(product(config.num_examples, config.run_indices))
        shown = [run.config for run in runs if source in (config.icl_source_datasets or (run.config.dataset,))]
        draws = {(run.num_labels, run.run_idx) for run in shown} or set(store.splits_on_disk(self.root, source))
        chosen = [
            (num, run)
            for num, run in sorted(draws)
            if num in (config.num_examples or (num,)) and run in (config.run_indices or (run,))
        ]
        if not chosen:
            raise UserError(
                f"no split of {source!r} to take demonstrations from; give --num_examples and --run_indices, "
                "or create one"
            )
        return chosen

    def _spec(self, eval_dataset: str, source: str, draw: tuple[int, int], model_id: str) -> EvaluationSpec:
        config = self.config
        return EvaluationSpec(
            eval_dataset=eval_dataset,
            icl_source_dataset=source,
            icl_max_demos=config.icl_max_demos,
            num_train_examples=draw[0],
            run_idx=draw[1],
            num_generated_tokens_eval=config.num_generated_tokens_eval or self._declared_tokens(eval_dataset),
            model_id=model_id,
            torch_dtype=config.torch_dtype,
            icl_pool="remaining" if config.protocol == "published" else config.icl_pool,
            stop=config.stop,
            num_eval_examples=config.num_eval_examples,
            uncertainty_analysis=config.uncertainty_analysis,
            chat_template=config.chat_template,
            control=config.control,
        )

    def _declared_tokens(self, dataset: str) -> int:
        """T as the prepared dataset declares it, or as its task will."""
        if dataset not in self._num_tokens:
            prepared = store.pool_path(self.root, dataset).exists()
            spec = load_pool(self.root, dataset).spec if prepared else task(self.given.get(dataset, dataset)).spec
            self._num_tokens[dataset] = spec.num_generated_tokens
        return self._num_tokens[dataset]
