"""`ia2 similarity`: how alike the activations of trained runs are to their teacher's, and to each other's.

Every run is compared with its teacher, with a teacher that is shown other demonstrations, and with the runs that differ
from it in their method alone. The controls are compared in the same way: the base model without demonstrations says
where students start, the two teachers beside each other how alike another draw of demonstrations would be. All that
rests on one teacher is made together; a stopped command goes on with the next teacher.
"""

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from ia2 import store
from ia2.analysis.comparisons import ComparedModel, Comparison
from ia2.analysis.pairing import pairs, together
from ia2.analysis.shared_prompts import check_other_demonstrations
from ia2.analysis.similarity import MISSING, STANDS, Comparing, check_student, compare, place_of, state_of
from ia2.config import ModelConfig, SimilarityConfig
from ia2.errors import MachineError, UserError
from ia2.evaluation.evaluation_set import EvaluationSpec
from ia2.flows.data import ensure_data
from ia2.flows.evaluation_plan import by_name
from ia2.flows.failures import Failure, raise_failures, telling_memory
from ia2.flows.selection import select_some
from ia2.methods import BASE, OTHER_DEMONSTRATIONS, TEACHER
from ia2.models.loading import LanguageModel, ModelCache
from ia2.report.similarities import Similarity, read_similarity
from ia2.report.similarity_table import similarity_table
from ia2.training.trained_run import TrainedRun

log = logging.getLogger(__name__)


def similarity(config: SimilarityConfig, models: ModelCache | None = None) -> list[Path]:
    """Make every comparison that `config` asks for and that is not there, and show them; returns their paths.

    UserError where no run matches; MachineError, after all others are made, where some could not be.
    """
    root = store.resolve_root(config)
    config, given = by_name(root, config)
    selection = select_some(root, config)
    teachers = _teachers(config, selection.runs)
    splits = {(asked.icl_source_dataset, asked.num_train_examples, asked.run_idx) for asked in teachers}
    ensure_data(root, [*given.values(), *(asked.eval_dataset for asked in teachers)], splits, config.no_prepare)
    maker = _Maker(root, config, models or ModelCache())
    for number, (asked, runs) in enumerate(teachers.items(), 1):
        title = f"{asked.name}, N {asked.num_train_examples}, run {asked.run_idx}"
        log.info("[%d/%d] %s: %d trained runs", number, len(teachers), title, len(runs))
        maker.make(asked, runs)
    made = [one for one in map(read_similarity, maker.paths) if isinstance(one, Similarity)]
    if made:
        print(f"{similarity_table(made)}\n\n{len(made)} comparisons below {root / 'outputs' / 'similarity'}")
    failures = [Failure(folder, error) for folder, error in selection.unreadable.items()] + maker.failures
    told = f"{len(failures)} teachers or runs could not be compared"
    raise_failures(failures, len(failures) + len(maker.paths), told)
    return maker.paths


def _teachers(config: SimilarityConfig, runs: Sequence[TrainedRun]) -> dict[EvaluationSpec, list[TrainedRun]]:
    """Every teacher that is asked for, with the runs that are compared with it; one base model after the other."""
    models = list(dict.fromkeys(run.config.model_id for run in runs))
    teachers: dict[EvaluationSpec, list[TrainedRun]] = {}
    for run in sorted(runs, key=lambda run: (models.index(run.config.model_id), run.config.run_idx, together(run))):
        dataset = run.config.dataset
        for pair in product(config.eval_datasets or (dataset,), config.icl_source_datasets or (dataset,)):
            teachers.setdefault(_asked(config, run, *pair), []).append(run)
    return teachers


def _asked(config: SimilarityConfig, run: TrainedRun, eval_dataset: str, source: str) -> EvaluationSpec:
    """What the teacher of a run is asked: demonstrations of its N and run, responses of its T and stop rule."""
    return EvaluationSpec(
        eval_dataset=eval_dataset,
        icl_source_dataset=source,
        icl_max_demos=config.icl_max_demos,
        num_train_examples=run.config.num_labels,
        run_idx=run.config.run_idx,
        num_generated_tokens_eval=config.num_generated_tokens_eval or run.num_generated_tokens,
        model_id=run.config.model_id,
        torch_dtype=config.torch_dtype,
        icl_pool=config.icl_pool,
        stop=run.stop,
        num_eval_examples=config.num_eval_examples,
        chat_template=run.config.chat_template,
    )


def comparisons_with(asked: EvaluationSpec, runs: Sequence[TrainedRun], with_others: bool) -> list[Comparison]:
    """Everything that is compared on the responses of one teacher."""
    base, teacher, others = ComparedModel(BASE), ComparedModel(TEACHER), ComparedModel(OTHER_DEMONSTRATIONS)
    references = [teacher, others] if with_others else [teacher]
    found = [(teacher, others)] if with_others else []
    found += product([base, *(ComparedModel(run.config.training_method, run) for run in runs)], references)
    for pair in pairs(runs):
        if pair.relation == "methods":
            one, other = (ComparedModel(run.config.training_method, run) for run in (pair.one, pair.other))
            found.append((one, other))
    return [Comparison(asked, *sides) for sides in found]


@dataclass
class _Maker:
    """Makes comparisons with one base model in memory at a time; what cannot be made stops nothing else."""

    root: Path
    config: SimilarityConfig
    models: ModelCache
    paths: list[Path] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def make(self, asked: EvaluationSpec, runs: Sequence[TrainedRun]) -> None:
        """Make what is missing beside one teacher."""
        wanted = comparisons_with(asked, runs, self._can_show_others(asked))
        revision = str(runs[0].description["base"]["revision"])
        failing: dict[str, UserError] = {}
        try:
            if missing := self._missing(wanted, revision):
                failing = self._compare(missing)
        except (UserError, MachineError) as error:
            self.failures.append(Failure(Path(asked.name), error))
            return
        self.failures += [Failure(Path(folder), error) for folder, error in failing.items()]
        self.paths += [one.path(self.root) for one in _without(wanted, failing)]

    def _missing(self, wanted: Sequence[Comparison], revision: str) -> list[Comparison]:
        """What does not stand; what did, and is to be made again, is told."""
        states = [state_of(self.root, one, revision) for one in wanted]
        for state, number in Counter(states).items():
            if state not in (STANDS, MISSING):
                log.warning("%d comparison%s made again: %s", number, "s are" if number > 1 else " is", state)
        return [one for one, state in zip(wanted, states, strict=True) if state != STANDS]

    def _can_show_others(self, asked: EvaluationSpec) -> bool:
        try:
            check_other_demonstrations(self.root, asked)
        except UserError as error:
            log.warning("the control of other demonstrations is left out: %s", error)
            return False
        return True

    def _compare(self, wanted: Sequence[Comparison]) -> dict[str, UserError]:
        """Make comparisons with one teacher; returns the sides that cannot be read, by their keys, and why."""
        asked, config = wanted[0].asked, self.config
        with telling_memory(config.device):
            lm = self.models.load(
                ModelConfig(model_id=asked.model_id, torch_dtype=config.torch_dtype, **config.placement())
            )
            failing = _failing(wanted, lm)
            with store.file_lock(place_of(self.root, asked)):
                usable = _without(wanted, failing)
                left = [one for one in usable if state_of(self.root, one, lm.revision) != STANDS]
                if left:
                    compare(self.root, left, Comparing(lm, config.token_budget, config.command("similarity")))
        return failing


def _without(wanted: Sequence[Comparison], failing: Collection[str]) -> list[Comparison]:
    return [one for one in wanted if not any(side.key in failing for side in one.sides)]


def _failing(wanted: Sequence[Comparison], lm: LanguageModel) -> dict[str, UserError]:
    """Sides whose adapters do not load on this model, by their keys."""
    errors: dict[str, UserError] = {}
    for side in {side.key: side for one in wanted for side in one.sides}.values():
        try:
            check_student(side, lm)
        except UserError as error:
            errors[side.key] = error
    return errors
