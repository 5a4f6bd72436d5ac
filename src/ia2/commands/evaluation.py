"""`ia2 evaluate`: lists what matches and what is done, then makes one record after another.

A record that cannot be made stops no other: it is reported at the end, and the command then fails. Where one failure is
all that results, that is the error. Records are written one by one: a stopped command goes on from there, and a record
that another process has made meanwhile is not made again.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ia2 import store
from ia2.commands.card import is_behind, refresh_card
from ia2.commands.data import ensure_data
from ia2.commands.evaluate import EvaluationJob, evaluate_run, write_record
from ia2.commands.evaluation_plan import Plan, is_made_meanwhile, plan
from ia2.config import EvaluateConfig, ModelConfig
from ia2.errors import Failure, MachineError, UserError, raise_failures
from ia2.models.loading import LanguageModel, ModelCache
from ia2.models.placement import memory_errors
from ia2.training.trained_run import read_trained_run

log = logging.getLogger(__name__)


def evaluate(config: EvaluateConfig, models: ModelCache | None = None) -> list[Path]:
    """Make every record that `config` asks for and that is not there; returns the paths of all of them.

    MachineError, after all others are made, where some could not be; UserError where nothing matches.
    """
    root = store.resolve_root(config)
    planned = plan(root, config)
    if config.dry_run:
        print(planned.text)
        return [job.path for job in planned.jobs]
    log.info("%s", planned.text)
    _ensure_data(root, planned, config.no_prepare)
    failures = [Failure(folder, error) for folder, error in planned.unreadable.items()]
    failures += _Maker(root, config, models or ModelCache()).make(planned.missing)
    _mend_cards(root, planned)
    raise_failures(failures, len(planned.jobs) + len(planned.unreadable))
    return [job.path for job in planned.jobs]


def _ensure_data(root: Path, planned: Plan, no_prepare: bool) -> None:
    """Make every dataset that is named or evaluated, and the splits that demonstrations come from, where missing."""
    evaluated = {job.spec.eval_dataset for job in planned.jobs}
    shown = [job.spec for job in planned.jobs if True in job.conditions]
    splits = {(one.icl_source_dataset, one.num_train_examples, one.run_idx) for one in shown}
    ensure_data(root, [*planned.datasets.values(), *evaluated], splits, no_prepare)


def _mend_cards(root: Path, planned: Plan) -> None:
    """Bring the cards up to date that a stopped command left behind their records."""
    done = [(job.trained.folder, job.path) for job in planned.jobs if job.done and job.trained]
    for folder in dict.fromkeys(folder for folder, record in done if is_behind(folder, record)):
        refresh_card(root, folder)


@dataclass(frozen=True)
class _Maker:
    """Makes records with one base model in memory at a time."""

    root: Path
    config: EvaluateConfig
    models: ModelCache

    def make(self, jobs: list[EvaluationJob]) -> list[Failure]:
        """Make every record that can be made; returns what went wrong with the others."""
        failures = []
        for number, job in enumerate(jobs, 1):
            try:
                record = self._record(job)
            except (UserError, MachineError) as error:
                failures.append(Failure(job.trained.folder if job.trained else job.path, error))
                log.warning("[%d/%d] %s: failed", number, len(jobs), _in_words(job.path))
            else:
                log.info("[%d/%d] %s: %s", number, len(jobs), _in_words(job.path), _accuracies(record))
        return failures

    def _record(self, job: EvaluationJob) -> dict[str, Any]:
        if job.conflict is not None:
            raise job.conflict
        with memory_errors(self.config.device):
            lm = self.models.load(
                ModelConfig(model_id=job.spec.model_id, torch_dtype=self.config.torch_dtype, **self.config.placement())
            )
            with store.file_lock(job.path.with_suffix("")):
                if is_made_meanwhile(self.root, job):
                    return store.read_object(job.path)
                record = self._evaluated(lm, job)
                write_record(job.path, record, self.config.command("evaluate"))
            if job.trained is not None:
                refresh_card(self.root, job.trained.folder)
        return record

    def _evaluated(self, lm: LanguageModel, job: EvaluationJob) -> dict[str, Any]:
        """The record, of one adapter from its digest to its answers: another process may train it anew meanwhile."""

        def make() -> dict[str, Any]:
            trained = None if job.trained is None else read_trained_run(job.trained.folder)
            return evaluate_run(self.root, replace(job, trained=trained), lm, self.config.token_budget)

        return make() if job.trained is None else store.read_steadily(job.trained.folder, make)


def _in_words(path: Path) -> str:
    """A record as a run is named: `tok/gsm8k/{name}`, since names of different methods can be the same."""
    evaluations = next(folder for folder in path.parents if folder.name == "evaluations")
    return str(path.with_suffix("").relative_to(evaluations))


def _accuracies(record: dict[str, Any]) -> str:
    return ", ".join(
        f"{key.removesuffix('_accuracy')} {record['metrics'][key]:.1f}%"
        for key in ("without_icl_accuracy", "with_icl_accuracy")
        if key in record["metrics"]
    )
