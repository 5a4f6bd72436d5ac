"""One record: answers of a model, base or adapted, to an evaluation set without and with demonstrations, and metrics.

The parquet of examples is written first and the JSON last, so a record that can be found is whole.
"""

import dataclasses
import logging
import resource
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ia2 import store
from ia2.errors import UserError
from ia2.evaluation.evaluation_set import EvaluationSpec, grade, read_evaluation_set, with_demonstrations
from ia2.evaluation.metrics import CONDITIONS, Labels, ScoredExamples, majority_class_accuracy, record_metrics
from ia2.evaluation.scoring import answer, answer_table
from ia2.models.adapters import saved_adapter
from ia2.models.hooked_model import HookedModel, Model
from ia2.models.loading import LanguageModel, parts_on_disk
from ia2.results.records import SCHEMA, Record, read_record
from ia2.store.measurements import why_stale, write_measured
from ia2.training.trained_run import TrainedRun

log = logging.getLogger(__name__)


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
    adapter = None if job.trained is None else job.trained.folder / "adapter_model.safetensors"
    files = {
        "adapter_sha256": adapter,
        "eval_sha256": store.pool_path(root, job.spec.eval_dataset),
        "split_sha256": job.spec.split_path(root),
    }
    return {name: store.file_digest(file) if file and file.exists() else None for name, file in files.items()}


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
    grades = {name: grade(bare, one.responses) for name, one in answers.items()}
    scored = {
        name: ScoredExamples(
            correct=grades[name].correct,
            anywhere=grades[name].anywhere,
            parsed=grades[name].parsed,
            first=one.first,
            labels=Labels(one.labels.log_probabilities, bare.gold_labels, grades[name].labels) if one.labels else None,
            responses=one.every_token if spec.num_generated_tokens_eval > 1 else None,
        )
        for name, one in answers.items()
    }
    tables = [
        answer_table(bare, grades[name], one).assign(with_icl=name == CONDITIONS[True]) for name, one in answers.items()
    ]
    labels = next(iter(answers.values())).labels
    shown = min(spec.num_shown, spec.num_train_examples) if few_shot else 0
    return {
        "schema": SCHEMA,
        "kind": "base" if trained is None else "adapter",
        "eval": dataclasses.asdict(spec),
        "run": None if trained is None else trained.description["config"],
        "train": None if trained is None else _training(trained.folder),
        "labels_used": trained.labels_used if trained else {"train": shown, "dev": 0},
        "base": lm.description,
        "num_examples": len(bare.prompts),
        "label_scores": labels and labels.rule,
        **record_metrics(scored, list(bare.spec.labels), spec.uncertainty_analysis),
        "undecided": {name: one.num_undecided for name, one in grades.items()},
        "majority_class_accuracy": majority_class_accuracy([query.answer for query in bare.queries]),
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
    """Write the examples and then the record."""
    content = {key: value for key, value in record.items() if key != "examples"} | {"command": command}
    write_measured(path, content, "examples_sha256", lambda rows: record["examples"].to_parquet(rows, index=False))
