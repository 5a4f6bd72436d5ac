"""`ia2 evaluate`: answers of models, base or adapted, to evaluation sets, and their metrics: outputs/evaluations/.

The records that match are planned first, then those that are missing are made one after another. One that cannot be
made stops no other: it is reported at the end, and the command then fails. A stopped command goes on from what is
written, and a record that another process has made meanwhile is not made again.

Without --model_id each run is evaluated on its own base model, and the base models are those of the runs; the default
model only where there are no runs. Records of one base model are in a row, so that it is loaded once.
"""

import dataclasses
import logging
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from ia2 import store
from ia2.commands.card import is_behind, refresh_card
from ia2.commands.data_files import ensure_data
from ia2.commands.selection import OF_BASE_TOO, by_name, in_order, run_fields, select
from ia2.config import DEFAULT_MODEL_ID, EvaluateConfig, ModelConfig
from ia2.errors import Failure, MachineError, UserError, memory_errors, raise_failures
from ia2.evaluation.calibration import CONDITIONS
from ia2.evaluation.evaluation_set import EvaluationSpec, grade, read_evaluation_set, with_demonstrations
from ia2.evaluation.metrics import majority_class_accuracy, record_metrics
from ia2.evaluation.scoring import answer, answer_table
from ia2.models.adapters import saved_adapter
from ia2.models.hooked_model import HookedModel, Model
from ia2.models.loading import LanguageModel, ModelCache, parts_on_disk
from ia2.results.records import SCHEMA, Record, read_record
from ia2.store.measurements import why_stale, write_measured
from ia2.tasks import task
from ia2.tasks.pool import load_pool
from ia2.training.trained_run import TrainedRun, read_trained_run

log = logging.getLogger(__name__)


def evaluate(config: EvaluateConfig, models: ModelCache | None = None) -> list[Path]:
    """Make every record that `config` asks for and that is not there; returns the paths of all of them.

    MachineError, after all others are made, where some could not be; UserError where nothing matches.
    """
    root, models = store.resolve_root(config), models or ModelCache()
    planned = plan(root, config)
    jobs, paths = planned.jobs, [job.path for job in planned.jobs]
    if config.dry_run:
        print(describe(planned))
        return paths
    log.info("%s", describe(planned))
    evaluated, shown = {job.spec.eval_dataset for job in jobs}, [job.spec for job in jobs if True in job.conditions]
    splits = {(spec.icl_source_dataset, spec.num_train_examples, spec.run_idx) for spec in shown}
    ensure_data(root, [*planned.datasets.values(), *evaluated], splits, config.no_prepare)
    failures = [Failure(folder, error) for folder, error in planned.unreadable.items()]
    missing = [job for job in jobs if not job.done]
    for number, job in enumerate(missing, 1):
        # As a run is named, since names of different methods can be the same: `tok/gsm8k/{name}`
        place = f"[{number}/{len(missing)}] {job.path.with_suffix('').relative_to(root / 'outputs' / 'evaluations')}"
        try:
            metrics = _make(root, config, models, job)["metrics"]
        except (UserError, MachineError) as error:
            failures.append(Failure(job.trained.folder if job.trained else job.path, error))
            log.warning("%s: failed", place)
        else:
            accuracies = {
                name: metrics[f"{name}_accuracy"] for name in CONDITIONS.values() if f"{name}_accuracy" in metrics
            }
            log.info("%s: %s", place, ", ".join(f"{name} {value:.1f}%" for name, value in accuracies.items()))
    # A stopped command may have left cards behind their records
    done = [(job.trained.folder, job.path) for job in jobs if job.done and job.trained]
    for folder in dict.fromkeys(folder for folder, record in done if is_behind(folder, record)):
        refresh_card(root, folder)
    raise_failures(failures, len(jobs) + len(planned.unreadable))
    return paths


# The plan


@dataclass(frozen=True)
class EvaluationJob:
    """One record to make: of the base model or of a run, under these conditions (False: no demonstrations).

    `conflict` is the error where another model's record has its name. `written` is the time (st_mtime_ns) of the record
    that existed when the job was planned; None where there was none.
    """

    spec: EvaluationSpec
    trained: TrainedRun | None
    path: Path
    conditions: tuple[bool, ...] = (False, True)
    done: bool = False
    conflict: UserError | None = None
    written: int | None = None


@dataclass(frozen=True)
class Plan:
    """Every record requested, the runs that cannot be read, and the datasets as they were given, by their names."""

    jobs: tuple[EvaluationJob, ...]
    unreadable: Mapping[Path, UserError]
    datasets: Mapping[str, str]


def plan(root: Path, config: EvaluateConfig) -> Plan:
    """The jobs of `config`; UserError where nothing matches, or no evaluation set is named. Nothing is written."""
    config, given = by_name(root, config)
    selection, wants_runs = select(root, config), config.model_types != ("base",)
    if wants_runs and selection.emptied_by:
        # The base model alone is evaluated where no method was named
        if config.model_types or selection.emptied_by not in OF_BASE_TOO:
            raise UserError(f"{selection.told}{selection.told_unreadable}")
        log.warning("%s: the base model alone is evaluated", selection.told)
    jobs = list(_jobs(root, config, selection.runs, given))
    if not jobs:
        raise UserError(f"--control {config.control} changes what is shown: add base, or --eval_with_icl for the runs")
    models = list(dict.fromkeys(job.spec.model_id for job in jobs))
    jobs.sort(key=lambda job: models.index(job.spec.model_id))
    return Plan(tuple(_checked(root, job) for job in jobs), selection.unreadable if wants_runs else {}, given)


def _jobs(
    root: Path, config: EvaluateConfig, runs: Sequence[TrainedRun], given: Mapping[str, str]
) -> Iterator[EvaluationJob]:
    """Jobs over runs, datasets and draws, adapters first; `given` are datasets as they were given, by their names.

    Where the base model alone is requested, datasets and models still follow from the runs.
    """

    @lru_cache
    def declared_tokens(dataset: str) -> int:
        """T as the prepared dataset declares it, or as its task will."""
        prepared = store.pool_path(root, dataset).exists()
        spec = load_pool(root, dataset).spec if prepared else task(given.get(dataset, dataset)).spec
        return spec.num_generated_tokens

    def job(pair: tuple[str, str], draw: tuple[int, int], model_id: str, trained: TrainedRun | None) -> EvaluationJob:
        spec = EvaluationSpec(
            eval_dataset=pair[0],
            icl_source_dataset=pair[1],
            icl_max_demos=config.icl_max_demos,
            num_train_examples=draw[0],
            run_idx=draw[1],
            num_generated_tokens_eval=config.num_generated_tokens_eval or declared_tokens(pair[0]),
            model_id=model_id,
            torch_dtype=config.torch_dtype,
            icl_pool="remaining" if config.protocol == "published" else config.icl_pool,
            stop=config.stop,
            num_eval_examples=config.num_eval_examples,
            uncertainty_analysis=config.uncertainty_analysis,
            chat_template=trained.config.chat_template if trained else config.chat_template,
            control=config.control,
        )
        conditions = (False, True) if trained is None or config.eval_with_icl else (False,)
        return EvaluationJob(spec, trained, record_path(root, spec, trained), conditions)

    wants_runs = config.model_types != ("base",)
    # Without demonstrations nothing is shown that could be wrong: an ordinary record under another name
    if wants_runs and (config.control == "none" or config.eval_with_icl):
        for trained in runs:
            for pair in _pairs(config, trained.config.dataset):
                yield job(pair, (trained.config.num_labels, trained.config.run_idx), trained.config.model_id, trained)
    if "base" in config.model_types or not config.model_types:
        of_runs = list(dict.fromkeys(run.config.model_id for run in runs)) or [DEFAULT_MODEL_ID]
        for model_id in (config.model_id,) if config.model_id else of_runs:
            own = [run for run in runs if run.config.model_id == model_id]
            for pair in _pairs_of_base(config, own if wants_runs or not config.eval_datasets else []):
                for draw in _draws(root, config, pair[1], own if wants_runs else []):
                    yield job(pair, draw, model_id, None)


def _pairs(config: EvaluateConfig, trained_dataset: str) -> Iterator[tuple[str, str]]:
    """Evaluation set and source of demonstrations, both by default what was trained on."""
    own = (trained_dataset,)
    return product(config.eval_datasets or own, config.icl_source_datasets or own)


def _pairs_of_base(config: EvaluateConfig, runs: Sequence[TrainedRun]) -> list[tuple[str, str]]:
    """The same as of the runs beside it, so that they can be compared; without runs, each set shows its own."""
    datasets = config.trained_datasets or tuple(run.config.dataset for run in runs)
    pairs = [pair for dataset in datasets for pair in _pairs(config, dataset)]
    if not datasets:
        pairs = [(one, source) for one in config.eval_datasets for source in config.icl_source_datasets or (one,)]
    if not pairs:
        raise UserError("which evaluation set? Give --eval_datasets; no trained run says it")
    return list(dict.fromkeys(pairs))


def _draws(root: Path, config: EvaluateConfig, source: str, runs: Sequence[TrainedRun]) -> list[tuple[int, int]]:
    """(N, run) of the demonstrations: as given, else those of the runs evaluated, else every split on disk."""
    if config.num_examples and config.run_indices:
        return list(product(config.num_examples, config.run_indices))
    shown = [run.config for run in runs if source in (config.icl_source_datasets or (run.config.dataset,))]
    draws = {(run.num_labels, run.run_idx) for run in shown} or set(store.splits_on_disk(root, source))
    chosen = [
        (num, run)
        for num, run in sorted(draws)
        if num in (config.num_examples or (num,)) and run in (config.run_indices or (run,))
    ]
    if not chosen:
        raise UserError(
            f"no split of {source!r} to take demonstrations from; give --num_examples and --run_indices, or create one"
        )
    return chosen


def _checked(root: Path, job: EvaluationJob) -> EvaluationJob:
    """The job, done where its record is current."""
    job = replace(job, written=_written(job.path))
    try:
        return replace(job, done=is_recorded(root, job))
    except UserError as error:
        return replace(job, conflict=error)


def _written(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


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


def describe(planned: Plan) -> str:
    """A line on the whole, and one for each kind of model, evaluation set and source of demonstrations."""
    groups: dict[str, list[EvaluationJob]] = {}
    for job in planned.jobs:
        spec, run = job.spec, job.trained.config if job.trained else None
        who = f"{run.training_method} trained on {run.dataset}" if run else "base"
        on = f"evaluated on {spec.eval_dataset}, demonstrations from {spec.icl_source_dataset}"
        groups.setdefault(f"{who} ({store.short_model_name(spec.model_id)}), {on}", []).append(job)

    def counted(jobs: Sequence[EvaluationJob]) -> tuple[str, int]:
        return f"{len(jobs)} record{'' if len(jobs) == 1 else 's'}", sum(job.done for job in jobs)

    records, done = counted(planned.jobs)
    lines = [f"{records} asked for, {done} done, {len(planned.jobs) - done} to make"]
    for title, jobs in groups.items():
        draws = [{"num_labels": job.spec.num_train_examples, "run_idx": job.spec.run_idx} for job in jobs]
        known = [run_fields(job.trained.config) if job.trained else draw for job, draw in zip(jobs, draws, strict=True)]
        values = {word: in_order(one[name] for one in known if name in one) for name, word in VARIED.items()}
        varied = ", ".join(f"{word} {' '.join(map(str, found))}" for word, found in values.items() if found)
        records, done = counted(jobs)
        lines.append(f"  {title}: {records}{f', {done} done' if done else ''}; {varied}")
    return "\n".join([*lines, *(f"  cannot be read: {folder}" for folder in planned.unreadable)])


# One record


def record_path(root: Path, spec: EvaluationSpec, trained: TrainedRun | None) -> Path:
    """{run name or model_N_run}__{eval}_on_{source}_demos{k}_T{T}.json, in the folder of its method and dataset.

    A record that was made with another k and shows the same demonstrations keeps its own name: there is one.
    """
    name = store.safe_filename(f"{trained.folder.name if trained else spec.base_name}__{spec.name}")
    method, dataset = (trained.config.training_method, trained.config.dataset) if trained else ("base", None)
    folder = store.evaluations_folder(root, method, dataset, spec.uncertainty_analysis)
    return spec.existing_path(folder / f"{name}.json")


def is_recorded(root: Path, job: EvaluationJob) -> bool:
    """True where the record has these conditions, of the present run, evaluation set, split and base model.

    A record that is damaged, or rests on what has changed since, is made again. UserError where the record of something
    else has the name, since two models can be called the same.
    """
    if not job.path.exists():
        return False

    def digests(content: dict[str, Any]) -> dict[str, str | None]:
        found = _digests(root, job)
        if content.get("split_sha256", "") is None:  # nothing was shown, so the split has no part in it
            del found["split_sha256"]
        return found

    found = read_record(job.path)
    if reason := why_stale(job.path, found, digests, job.spec.model_id, parts_on_disk):
        log.warning("%s is made again: %s", job.path, reason)
        return False
    return isinstance(found, Record) and all(f"{CONDITIONS[one]}_accuracy" in found.metrics for one in job.conditions)


def _digests(root: Path, job: EvaluationJob) -> dict[str, str | None]:
    """sha256 of the files that decide a record; None for one that does not exist, or has no part in it."""
    files = {
        "adapter_sha256": None if job.trained is None else job.trained.folder / "adapter_model.safetensors",
        "eval_sha256": store.pool_path(root, job.spec.eval_dataset),
        "split_sha256": job.spec.split_path(root),
    }
    return {name: store.file_digest(file) if file and file.exists() else None for name, file in files.items()}


def _make(root: Path, config: EvaluateConfig, models: ModelCache, job: EvaluationJob) -> dict[str, Any]:
    """Make and write a record, or read the one that another process has made since it was planned."""
    if job.conflict is not None:
        raise job.conflict
    base = ModelConfig(model_id=job.spec.model_id, torch_dtype=config.torch_dtype, **config.placement())
    with memory_errors(config.device):
        lm = models.load(base)

        def evaluated() -> dict[str, Any]:
            trained = None if job.trained is None else read_trained_run(job.trained.folder)
            return evaluate_run(root, replace(job, trained=trained), lm, config.token_budget)

        with store.file_lock(job.path.with_suffix("")):
            if _written(job.path) != job.written and _checked(root, job).done:
                return store.read_object(job.path)
            # Of one adapter from its digest to its answers: another process may train it anew meanwhile
            record = store.read_steadily(job.trained.folder, evaluated) if job.trained else evaluated()
            write_record(job.path, record, config.command("evaluate"))
        if job.trained is not None:
            refresh_card(root, job.trained.folder)
    return record


def evaluate_run(root: Path, job: EvaluationJob, lm: LanguageModel, token_budget: int | None = None) -> dict[str, Any]:
    """The record (without its command) of one model on one evaluation set, and its examples under `examples`.

    UserError where the adapter belongs to another base model.
    """
    spec, trained, few_shot = job.spec, job.trained, True in job.conditions
    if trained is not None:
        trained.check_base(lm)
    bare = read_evaluation_set(root, spec.eval_dataset, spec.num_eval_examples)
    sets = {CONDITIONS[one]: with_demonstrations(root, bare, spec) if one else bare for one in job.conditions}
    digests = _digests(root, job) | ({} if few_shot else {"split_sha256": None})
    adapted: AbstractContextManager[Model] = (
        nullcontext(lm.model) if trained is None else saved_adapter(lm.model, trained.folder)
    )
    with adapted as model:
        hooked = HookedModel(model)
        answers = {name: answer(hooked, lm, questions, spec, token_budget) for name, questions in sets.items()}
    golds = [query.answer for query in bare.queries]
    scored = {name: (grade(bare.spec, golds, one.responses), one) for name, one in answers.items()}
    tables = [answer_table(bare, *one).assign(with_icl=name == CONDITIONS[True]) for name, one in scored.items()]
    shown = min(spec.num_shown, spec.num_train_examples) if few_shot else 0
    return {
        "schema": SCHEMA,
        "kind": "base" if trained is None else "adapter",
        "eval": dataclasses.asdict(spec),
        "run": None if trained is None else trained.description["config"],
        "train": None if trained is None else _training(trained.folder),
        "labels_used": {"train": shown, "dev": 0}
        if trained is None
        else trained.config.labels_used(trained.description["num_dev_used"]),
        "base": lm.description,
        "num_examples": len(golds),
        "label_scores": next(iter(answers.values())).label_rule,
        **record_metrics(scored, list(bare.spec.labels), spec.uncertainty_analysis, spec.num_generated_tokens_eval),
        "undecided": {name: grades.num_undecided for name, (grades, _) in scored.items()},
        "majority_class_accuracy": majority_class_accuracy(golds),
        "timings": {f"{name}_seconds": round(one.seconds, 3) for name, one in answers.items()},
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "examples": pd.concat(tables, ignore_index=True),
        **digests,
    }


def _training(folder: Path) -> dict[str, Any]:
    """The outcome of training a run; one of the first edition has no phases and no dev losses."""
    statistics = store.read_object(folder / "final_loss_statistics.json")
    keys = ("best_dev_loss", "final_dev_loss", "best_step", "num_steps", "seconds", "trainable_parameters")
    whole = {key: statistics[key] for key in (*keys, "adapter_bytes")}
    if phases := statistics.get("phases"):
        whole["seconds"] = sum(phase["seconds"] for phase in phases.values())
    return {**whole, "dev_losses": statistics.get("dev_losses")}


def write_record(path: Path, record: dict[str, Any], command: str) -> None:
    """Write the examples and then the record, so that one that can be found is whole."""
    content = {key: value for key, value in record.items() if key != "examples"} | {"command": command}
    write_measured(path, content, "examples_sha256", lambda rows: record["examples"].to_parquet(rows, index=False))
